"""Figures of tables behind a step's name: planes of `interpolate`, pairs of features of `relate`,
errors of dictionaries of `perturb`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from interp_dsl.report.figures.lines import Chart, Line, Point, lines
from interp_dsl.report.figures.modules import module_plot
from interp_dsl.report.figures.plane import plane
from interp_dsl.report.reading import Reading
from interp_dsl.runs.planes import is_plane_table, pictures
from interp_dsl.runs.relations import Meanings, Relations, relations

if TYPE_CHECKING:
    import polars as pl

PICTURES = 6
"""Planes that a page draws."""
DIRECTIONS = 24
"""Lines of a chart of errors, which more would hide."""
_ERRORS = {"dictionary", "l0", "ratio", "direction"}


def figures(reading: Reading, name: str, table: pl.DataFrame) -> list[str]:
    """The figures of a table, as SVG; none where it makes none."""
    if not len(table):
        return []
    if is_plane_table(table):
        return [plane(p, f"{name}: {p.title}") for p in pictures(table)[:PICTURES]]
    if set(table.columns) >= _ERRORS:
        return [lines(chart) for chart in error_charts(table, name)]
    step = name.removesuffix(".pairs")
    found = relations(reading.folder, step) if step != name else None
    return [] if found is None else [_graph(found, reading, step)]


def _graph(found: Relations, reading: Reading, step: str) -> str:
    """The strongest pairs by the measure that communities are of."""
    measure = found.measures[0]
    known = Meanings(reading.folder, reading.plan, step)
    title = f"{step}: features by {measure}, a letter a community"
    return module_plot(found.graph(measure), title, lambda node: "  ".join(known(node)))


def with_meanings(reading: Reading, name: str, table: pl.DataFrame) -> pl.DataFrame:
    """A table of pairs with the tokens that their features fire on, where these are known."""
    import polars as pl

    step = name.removesuffix(".pairs")
    if step == name or not {"below", "i", "above", "j"} <= set(table.columns):
        return table
    known = Meanings(reading.folder, reading.plan, step)
    for place, number in (("below", "i"), ("above", "j")):
        said = ["  ".join(known(node)) for node in table.select(place, number).iter_rows()]
        if any(said):
            at = table.columns.index(number) + 1
            table = table.insert_column(at, pl.Series(f"{place} fires on", said))
    return table


def error_charts(table: pl.DataFrame, name: str) -> Iterator[Chart]:
    """The error's effect ÷ that of each direction, over the dictionaries' features that are on;
    where a place has several dictionaries."""
    keys = ("metric", "unit", "position")
    for (metric, *place), rows in table.group_by(keys, maintain_order=True):
        held: dict[str, list[Point]] = {}
        wanted = rows.sort("l0").filter(~rows.sort("l0")["ratio"].is_null())
        for row in wanted.iter_rows(named=True):
            note = f" features on, {row['dictionary']}"
            point = Point(row["l0"], row["ratio"], row["ratio_low"], row["ratio_high"], note)
            if row["direction"] != "error":
                held.setdefault(row["direction"], []).append(point)
        made = [Line(k, points) for k, points in held.items() if len(points) > 1]
        if made:
            where = " at ".join(str(p) for p in place if p != "all")
            title = f"{name}: {metric} of the error ÷ that of a direction as long, {where}"
            drawn = made[:DIRECTIONS]
            if len(made) > DIRECTIONS:
                title += f"; the first {DIRECTIONS} of {len(made)} directions"
            yield Chart(title, "features on", "ratio", drawn, log_y=_is_wide(drawn))


def _is_wide(made: list[Line]) -> bool:
    values = [p.y for line in made for p in line.points]
    return min(values) > 0 and max(values) > 30 * min(values)
