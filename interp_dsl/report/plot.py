"""A step's result as one figure for a paper: SVG of its own, PNG and PDF by vl-convert."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.report import factored, further
from interp_dsl.report.curves import charts, found_circuits
from interp_dsl.report.figures.bars import bars
from interp_dsl.report.figures.heatmap import heatmap
from interp_dsl.report.figures.lines import lines
from interp_dsl.report.figures.style import PAPER, element
from interp_dsl.report.maps import maps
from interp_dsl.report.quantities import units
from interp_dsl.report.ranking import ranking
from interp_dsl.report.reading import Reading
from interp_dsl.runs.bases import kind
from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.circuit_rows import is_edge_table
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.rank import metrics
from interp_dsl.runs.schema import is_score_table

if TYPE_CHECKING:
    import polars as pl

FORMS = ("heatmap", "bars", "curve", "graph")
SUFFIXES = (".svg", ".png", ".pdf")
SCALE = 3
"""Pixels of a PNG for a pixel of the figure: 300 dots an inch at a column's width."""
STACKED = 6
"""Maps that one figure holds."""
_SIZE = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')


def figure(
    folder: RunFolder,
    step: str,
    metric: str | None = None,
    form: str | None = None,
    circuit: Circuit | None = None,
) -> str:
    """A step's figure as SVG. `metric` is the first where it is None; `form` what the text's `show`
    says, else a map, a curve or bars, whichever the table makes first; `circuit` is drawn as
    graph. InterpError E740 where the step makes no such figure."""
    reading = Reading(folder)
    table = folder.read_table(step)
    if form in (None, "curve", "graph") and (behind := _factored(folder, step, table)):
        return stacked(behind)
    if form is None and (drawn := further.figures(reading, step, table)):
        return stacked(drawn)
    forms = (form,) if form else _usual(reading, step, table)
    if forms == ("graph",):
        if circuit is None:
            raise _nothing(step, "has found no circuit")
        return circuit.to_svg()
    made = (_drawn(reading, step, table, one, metric) for one in forms)
    if first := next(filter(None, made), None):
        return stacked(first)
    if len(forms) > 1:
        raise _nothing(step, "makes no figure", f"interp show {folder.path.name} {step} prints it")
    raise _nothing(step, f"makes no {forms[0]}")


def _factored(folder: RunFolder, step: str, table: pl.DataFrame) -> list[str]:
    """The figures of a factoring: its spectra, or those of the table that is named."""
    whole = factored.parent(folder, step)
    if whole is not None:
        return factored.figures(folder, whole, step.removeprefix(f"{whole}."))
    names = [n for n in factored.tables(folder, step) if n in factored.SPECTRA]
    return factored.figures(folder, step, names[0]) if kind(table) and names else []


def encoded(svg: str, suffix: str) -> bytes:
    """A figure in the format of a suffix. InterpError E740 for an unknown one, E741 where the
    library for it is not installed."""
    if suffix == ".svg":
        return svg.encode()
    if suffix not in SUFFIXES:
        raise InterpError(
            Diagnostic(
                "E740",
                f"a figure is no {suffix or 'file without an ending'}",
                help=f"name a file that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}",
            )
        )
    try:
        import vl_convert
    except ImportError:
        raise InterpError(
            Diagnostic(
                "E741",
                f"for {suffix} a further package is needed",
                notes=("an .svg is drawn without it",),
                help="pip install 'interp-dsl[plot]'",
            ),
            exit_code=3,
        ) from None
    made = vl_convert.svg_to_pdf(svg) if suffix == ".pdf" else vl_convert.svg_to_png(svg, SCALE)
    return bytes(made)


def write(svg: str, to: Path) -> None:
    """A figure in the format of the file's name, whole or not at all."""
    from interp_dsl.runs.files import replacing

    data = encoded(svg, to.suffix.lower())
    with replacing(to) as temporary:
        temporary.write_bytes(data)


def _usual(reading: Reading, step: str, table: pl.DataFrame) -> tuple[str, ...]:
    """The forms that a step is drawn in where nobody says: the first that it makes."""
    said = reading.forms.get(step, "")
    said = {"curves": "curve"}.get(said, said)
    if said in FORMS:
        return (said,)
    return ("graph",) if is_edge_table(table) else ("curve", "heatmap", "bars")


def _drawn(
    reading: Reading, step: str, table: pl.DataFrame, form: str, metric: str | None
) -> list[str]:
    """The figures of a form that a table makes."""
    counted = units(reading.plan)
    if is_edge_table(table):
        curves = found_circuits(step, reading.found(step), counted)
        return [lines(chart) for chart in curves if form == "curve"]
    if not is_score_table(table):
        return []
    chosen = metric or metrics(table)[0]
    match form:
        case "heatmap":
            return [
                heatmap(grid)
                for grid in maps(table, step, chosen, counted.get(chosen))[0][:STACKED]
            ]
        case "curve":
            made = charts(table, step, reading.sizes(step), counted)
            asked = [metric] if metric else list(made)
            return [lines(chart) for name in asked for chart in made.get(name, ())][:STACKED]
        case _:
            held = ranking(table, chosen, step, counted.get(chosen))
            return [bars(held)] if held.bars else []


def stacked(figures: Sequence[str]) -> str:
    """Figures one below the other."""
    if len(figures) == 1:
        return figures[0]
    sizes = [tuple(map(float, found.groups())) for f in figures if (found := _SIZE.search(f))]
    width, height = max(w for w, _ in sizes), sum(h for _, h in sizes)
    parts, top = [element("rect", width=width, height=height, fill=PAPER)], 0.0
    for drawn, (_, high) in zip(figures, sizes, strict=True):
        parts.append(drawn.replace("<svg ", f'<svg y="{top:.0f}" ', 1))
        top += high
    box = f"0 0 {width:.0f} {height:.0f}"
    xmlns = "http://www.w3.org/2000/svg"
    return element("svg", *parts, xmlns=xmlns, viewBox=box, width=width, height=height)


def _nothing(step: str, what: str, help_: str | None = None) -> InterpError:
    return InterpError(
        Diagnostic(
            "E740",
            f"step {step} {what}",
            help=help_ or f"name another of {', '.join(FORMS)} with --as, or another step",
        )
    )
