"""The training of dictionaries as charts: a chart a measure, a line a dictionary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp_dsl.report.curves import MOST
from interp_dsl.report.figures.lines import Chart, Line, Point
from interp_dsl.runs.training import MEASURES, training_curves
from interp_dsl.runs.training import Point as Place

if TYPE_CHECKING:
    import polars as pl

POINTS = 50
"""Points of a line in a page, about; the last is one of them."""


def training_charts(table: pl.DataFrame, step: str) -> tuple[list[Chart], int]:
    """The charts of a training table, and how many dictionaries are in none of them."""
    curves = training_curves(table, step)
    drawn = [*curves][:MOST]
    charts = [
        Chart(
            f"{step}: {said}",
            "tokens",
            said,
            [
                Line(
                    name, [Point(x, y, note=" tokens") for x, y in _thinned(curves[name][measure])]
                )
                for name in drawn
                if curves[name].get(measure)
            ],
        )
        for measure, said in MEASURES.items()
    ]
    return [chart for chart in charts if chart.lines], len(curves) - len(drawn)


def _thinned(points: list[Place]) -> list[Place]:
    """Every so manieth point, counted from the last."""
    return points[:: -max(1, len(points) // POINTS)][::-1]
