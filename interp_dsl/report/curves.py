"""Tables as curves: a metric over thresholds, sizes, shares of the edges, a parameter."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from interp_dsl.report.figures.lines import Chart, Line, Point
from interp_dsl.report.quantities import named, row_name
from interp_dsl.runs.bands import Bands, bands, places, quantities
from interp_dsl.runs.curves import is_curve_table
from interp_dsl.runs.rank import metrics, ranking_column
from interp_dsl.runs.schema import extra_columns, is_score_table

if TYPE_CHECKING:
    import polars as pl

MOST = 6
"""Lines of a chart, those with the largest values."""
COUNTED = ("effect", "median")
"""What counts in the metric's unit."""
_QUANTITIES = {
    "effect": "mean effect on {}",
    "median": "median effect on {}",
    "relative": "{} as a share of the way",
    "ratio": "{} ÷ the baseline's",
}
_SHARE = re.compile(r"(\d+(?:\.\d+)?)%")


def charts(
    table: pl.DataFrame, step: str, sizes: Mapping[float, int], units: Mapping[str, str]
) -> dict[str, list[Chart]]:
    """The charts of a score table by metric. `sizes`: how many edges the circuit of a threshold
    has; `units`: what metrics count in."""
    if not is_score_table(table):
        return {}
    if is_curve_table(table):
        return {metric: banded(table, step, metric, units.get(metric)) for metric in metrics(table)}
    found: dict[str, list[Chart]] = {}
    for metric in metrics(table):
        rows = table.filter(metric=metric)
        label = named(metric, units.get(metric))
        charted = [*_shares(rows, step), *_swept(rows, step, metric, label, sizes)]
        if charted:
            found[metric] = charted
    return found


def banded(table: pl.DataFrame, step: str, metric: str, unit: str | None) -> list[Chart]:
    """The curves of a metric at each place: mean effect with its interval, median with quartiles,
    share of the way or ratio to the baseline."""
    made = []
    for place in places(table, metric):
        for quantity in quantities(table, metric):
            found = bands(table, metric, place, quantity)
            if not any(len(line.points) > 1 for line in found.lines):
                continue
            label = named(
                _QUANTITIES[quantity].format(metric), unit if quantity in COUNTED else None
            )
            made.append(chart(found, f"{step}: {label}, {found.title}", label))
    return made


def chart(found: Bands, title: str, label: str | None = None) -> Chart:
    """Lines with bands as a chart of a page."""
    lines = [
        Line(line.name or found.title, [Point(p.x, p.y, p.low, p.high) for p in line.points])
        for line in found.lines
    ]
    return Chart(title, found.x, label or found.y, lines, log_y=found.log, band=found.band)


def found_circuits(
    step: str, found: Sequence[Mapping[str, Any]], units: Mapping[str, str]
) -> list[Chart]:
    """Of the circuits that a search has found at several thresholds: each metric over their
    sizes."""
    names = dict.fromkeys(name for circuit in found for name in circuit.get("metrics", {}))
    made = []
    for name in names if len(found) > 1 else ():
        points = [
            Point(
                float(c["edges"]), c["metrics"][name], note=f" edges, threshold {c['threshold']:g}"
            )
            for c in found
            if c["metrics"].get(name) is not None
        ]
        label = named(name, units.get(name))
        if len(points) > 1:
            lines = [Line(name, points)]
            made.append(Chart(f"{step}: {name} and size", "edges kept", label, lines))
    return made


def _shares(rows: pl.DataFrame, step: str) -> list[Chart]:
    """Faithfulness of the best 0.1 %, 0.2 %, … of the edges, of which `cpr` and `cmd` are areas."""
    points = []
    for unit, value in rows.select("unit", "value").iter_rows():
        share = _SHARE.fullmatch(unit)
        if share and value is not None:
            points.append(Point(float(share[1]), value, note=" % of the edges"))
    if len(points) < 2:
        return []
    line, log = Line("faithfulness", points), all(p.x > 0 for p in points)
    title, axis = f"{step}: faithfulness by size", "share of the edges (%)"
    return [Chart(title, axis, "faithfulness", [line], log=log)]


def _swept(
    rows: pl.DataFrame, step: str, metric: str, label: str, sizes: Mapping[float, int]
) -> list[Chart]:
    """A metric over each parameter that the table sweeps, a line a unit."""
    made = []
    column = ranking_column(rows)
    what = label if column == "value" else f"effect on {label}"
    extra = extra_columns(rows)
    for name in extra:
        if not rows.schema[name].is_numeric() or rows[name].n_unique() < 2:
            continue
        by_size = name == "threshold" and set(rows[name].to_list()) <= sizes.keys()
        others = [other for other in extra if other != name]
        lines: dict[str, list[Point]] = {}
        for row in rows.iter_rows(named=True):
            if row[column] is None or row[name] is None:
                continue
            x = float(sizes[row[name]] if by_size else row[name])
            note = f" edges, threshold {row[name]:g}" if by_size else ""
            point = Point(x, row[column], row["low"], row["high"], note)
            lines.setdefault(row_name(row, others), []).append(point)
        drawn = sorted(lines, key=lambda n: -max(abs(p.y) for p in lines[n]))[:MOST]
        axis = "edges kept" if by_size else name
        title = f"{step}: {metric} by {'size' if by_size else name}"
        if any(len(points) > 1 for points in lines.values()):
            held = [Line(n, lines[n]) for n in drawn]
            made.append(Chart(title, axis, what, held, log=not by_size and _is_wide(held)))
    return made


def _is_wide(lines: Sequence[Line]) -> bool:
    """Whether values are positive and spread over more than a power of ten."""
    values = [p.x for line in lines for p in line.points]
    return min(values) > 0 and max(values) / min(values) > 15
