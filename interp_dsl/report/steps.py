"""A step's results as panels: what the page shows of a table, a metric or a circuit at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.report import factored, further
from interp_dsl.report.curves import MOST, charts, found_circuits
from interp_dsl.report.features import Features, features
from interp_dsl.report.figures.bars import bars
from interp_dsl.report.figures.heatmap import heatmap
from interp_dsl.report.figures.histogram import histogram
from interp_dsl.report.figures.lines import lines
from interp_dsl.report.highlight import Piece, highlighted, statement
from interp_dsl.report.maps import maps
from interp_dsl.report.patterns import Example, recorded
from interp_dsl.report.quantities import units
from interp_dsl.report.ranking import ranking
from interp_dsl.report.reading import Reading, step_of
from interp_dsl.report.samples import Texts, texts
from interp_dsl.report.tables import Table, table, values
from interp_dsl.report.training import training_charts
from interp_dsl.report.walk import Walk, walk
from interp_dsl.runs import samples
from interp_dsl.runs.bases import findings, kind
from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.circuit_file import circuits_of
from interp_dsl.runs.circuit_rows import is_edge_table, kept_edges, strength
from interp_dsl.runs.curve_rows import alike, curve_rows, parts
from interp_dsl.runs.curves import is_curve_table
from interp_dsl.runs.draw.marks import strength_column
from interp_dsl.runs.draw.svg import svg
from interp_dsl.runs.feature_rows import feature_selection
from interp_dsl.runs.features import densities
from interp_dsl.runs.rank import metrics, ranked, ranking_column
from interp_dsl.runs.schema import (
    is_density_table,
    is_example_table,
    is_score_table,
    is_training_table,
    reading_of,
)
from interp_dsl.runs.select import Selection, select
from interp_dsl.runs.text import count, short_duration
from interp_dsl.runs.training import collapsed

if TYPE_CHECKING:
    import polars as pl

    from interp_dsl.runs.folder import RunFolder

HELPERS = (".positions", ".keys", "vocabulary", "vocabulary.text", "vocabulary.end")
"""What the names of arrays end in that say where and of what others are."""
DRAWN = 300
"""Edges of a drawn circuit."""
BINS = 48
"""Bins of a histogram of densities."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A drawn circuit; `strength` is the column that widths show."""

    svg: str
    strength: str


@dataclass(frozen=True, slots=True)
class Panel:
    """Figures (SVG) and a table that belong together, under one name."""

    name: str
    figures: list[str] = field(default_factory=list)
    graph: Graph | None = None
    table: Table | None = None
    notes: list[str] = field(default_factory=list)
    patterns: tuple[Example, ...] = ()
    features: Features | None = None
    texts: Texts | None = None
    walk: Walk | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A step's section: its statement, what it took, its panels."""

    name: str
    statement: list[list[Piece]]
    took: str
    panels: list[Panel]


def steps(reading: Reading) -> list[Step]:
    """The sections of all steps that have results; tables behind a step's name are in its own."""
    folder = reading.folder
    behind = (factored.parent, samples.parent)
    own = [n for n in reading.steps if all(parent(folder, n) is None for parent in behind)]
    return [_step(reading, name) for name in own]


def _step(reading: Reading, name: str) -> Step:
    written = statement(reading.text, name)
    tasks = reading.plan.tasks if reading.plan else ()
    ids = [task.id for task in tasks if step_of(task) == name]
    seconds = reading.seconds(ids[0]) if ids else None
    took = "" if seconds is None else short_duration(seconds)
    return Step(name, highlighted(written) if written else [], took, list(_panels(reading, name)))


def _panels(reading: Reading, name: str) -> Iterator[Panel]:
    if not reading.folder.has_table(name):
        yield _recording(reading, name)
        return
    held = reading.folder.read_table(name)
    if kind(held):
        yield from _factored(reading, name, held)
    elif is_edge_table(held):
        yield from _circuits(reading, name, held)
    elif is_score_table(held):
        if reading.folder.has_table(f"{name}.{samples.TEXTS}"):
            yield Panel("texts", texts=texts(reading.folder, name))
        yield from _scores(reading, name, held)
    elif is_training_table(held):
        yield _training(reading.folder, name, held)
    elif is_density_table(held):
        rows, what = feature_selection(held)
        found = densities(held["density"].to_list(), BINS)
        drawn = histogram(found, f"{name}: how often features fire")
        yield Panel("density", [drawn], table=table(rows, what))
    elif reading_of(held) == "norms":
        yield Panel("norms", table=table(*feature_selection(held)))
    elif is_example_table(held):
        yield Panel("features", features=features(reading, name, held))
    else:
        pictured = further.figures(reading, name, held)
        shown = further.with_meanings(reading, name, held)
        listed = table(shown, count(len(held), "row"))
        yield Panel("table", pictured, table=listed, walk=walk(reading, name))


# ---- factorings


def _factored(reading: Reading, name: str, held: pl.DataFrame) -> Iterator[Panel]:
    """The findings side by side, then a panel a table behind the step's name."""
    found = findings(held)
    yield Panel("findings", table=table(found, count(len(found), "finding")))
    for behind in factored.tables(reading.folder, name):
        rows = reading.folder.read_table(f"{name}.{behind}")
        drawn = factored.figures(reading.folder, name, behind) if behind != "modules" else []
        yield Panel(behind, drawn, None, table(rows, count(len(rows), "row")))


# ---- scores


def _scores(reading: Reading, name: str, held: pl.DataFrame) -> Iterator[Panel]:
    """A panel a metric; the metrics of a single row share one."""
    names = metrics(held)
    alone = [m for m in names if len(held.filter(metric=m)) == 1]
    if alone:
        import polars as pl

        rows = held.filter(pl.col("metric").is_in(alone))
        yield Panel("values", table=values(rows, count(len(rows), "value")))
    counted = units(reading.plan)
    curves = charts(held, name, reading.sizes(name), counted)
    is_curve = is_curve_table(held)
    for metric in names:
        if metric in alone:
            continue
        figures = [lines(chart) for chart in curves.get(metric, ())]
        drawn, left = ([], 0) if is_curve else maps(held, name, metric, counted.get(metric))
        figures += [heatmap(grid) for grid in drawn]
        if reading.forms.get(name) == "bars":
            figures.insert(0, bars(ranking(held, metric, name, counted.get(metric))))
        more = f"{count(left, 'further map')} not drawn: too many cells for a page"
        notes = [more] if left else []
        if not is_curve:
            yield Panel(metric, figures, None, _ranked(held, metric), notes)
            continue
        whole, points = parts(curve_rows(held, metric)[0])
        yield Panel(metric, figures, None, table(whole, f"curves as a whole: {alike(whole)}"))
        yield Panel(f"{metric}, points", table=table(points, count(len(points), "point")))


def _ranked(held: pl.DataFrame, metric: str) -> Table:
    """The rows of a metric, effects by size, values as they stand."""
    rows = held.filter(metric=metric)
    if ranking_column(held) == "value":
        return table(rows, count(len(rows), "row"))
    return table(ranked(rows, metric), f"{count(len(rows), 'row')} by |effect|")


# ---- dictionaries


def _training(folder: RunFolder, name: str, held: pl.DataFrame) -> Panel:
    """The curves of a fit, then its points, the newest first."""
    charts, left = training_charts(held, name)
    rows, what = select(held, name, Selection())
    drawn = f"only the first {MOST} dictionaries are drawn; {left:,} more are fitted"
    notes = [drawn] * bool(left) + collapsed(folder, name)
    return Panel("training", [lines(chart) for chart in charts], None, table(rows, what), notes)


# ---- circuits and recordings


def _circuits(reading: Reading, name: str, held: pl.DataFrame) -> Iterator[Panel]:
    """A panel a circuit, the curve over all of them in the first."""
    notes = []
    try:
        found: dict[float | None, Circuit] = circuits_of(reading.folder.path, name)
    except InterpError as error:
        found, notes = {}, [f"the circuit's file cannot be read: {error}"]
    curves = found_circuits(name, reading.found(name), units(reading.plan))
    figures = [lines(chart) for chart in curves]
    if not found:
        rows, what = kept_edges(held, strength(held))
        yield Panel("edges", figures, None, table(rows, what), notes)
    for threshold, circuit in found.items():
        own = held if threshold is None else held.filter(threshold=threshold)
        rows, what = kept_edges(own, strength(own))
        label = "circuit" if threshold is None else f"threshold {threshold:g}"
        graph = Graph(svg(circuit, DRAWN), strength_column(circuit)) if circuit.size else None
        yield Panel(label, figures, graph, table(rows, what), [] if graph else ["no edge is kept"])
        figures = []


def _recording(reading: Reading, name: str) -> Panel:
    """What a recording holds, array by array, and the patterns that it has of all queries."""
    import polars as pl

    arrays = reading.folder.read_tensors(name)
    shown = {n: arrays[n] for n in sorted(arrays) if not n.endswith(HELPERS)}
    shapes = [" × ".join(map(str, array.shape)) for array in shown.values()]
    kinds = [str(array.dtype) for array in shown.values()]
    rows = pl.DataFrame({"recorded": list(shown), "shape": shapes, "type": kinds})
    held = table(rows, f"{count(len(rows), 'array')} in {_file(reading, name)}")
    run = reading.recorded_run(name)
    patterns, left_out = recorded(arrays, run.side if run else "prompt")
    more = f"further patterns are in {_file(reading, name)}: they are too large for a page"
    return Panel("recording", table=held, patterns=patterns, notes=[more] if left_out else [])


def _file(reading: Reading, name: str) -> str:
    return f"tensors/{reading.folder.tensors_path(name).name}"
