"""What a table of curves holds: the columns of a score table, and further ones.

direction       the path: random, covariance, line, …
number          which of its directions; null where all are taken together, as the mean of each
                example's
length          how far; null in a row that is about the curve as a whole
scale           what lengths are counted in. l2: L2; norm: shares of the site's median norm; own:
                the direction's own length
median          of the effect over examples, with quartiles q25 and q75

Of `perturb` also

ratio           the mean effect ÷ that of the baseline at the same length, with bounds ratio_low and
                ratio_high; null where the baseline has none
threshold       in a row of a whole curve: the effect that is looked for
reached         the length at which the mean effect first reaches it, between two points on a
                straight line; null where it never does. low and high are bounds of it

Of `interpolate` also

relative        the effect as a share of that at the path's end, mean over examples
slope           in a row of a whole curve, as all that follow: the largest slope of `relative`, the
                median over examples; slope_q25 and slope_q75 are its quartiles, low and high
                bounds of the median
location        where it is steepest, width from a tenth of the change to nine tenths, jumps how
                many steep stretches it has, plateau the share of the path that is flat; medians
dropped         examples left out because the path's end is as its beginning; n counts the others"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp_dsl.runs.schema import Kind, is_score_table

if TYPE_CHECKING:
    import polars as pl

CURVE_COLUMNS: dict[str, Kind] = {
    "direction": "text",
    "number": "integer",
    "length": "number",
    "scale": "text",
    "median": "number",
    "q25": "number",
    "q75": "number",
}
REACH_COLUMNS: dict[str, Kind] = {
    "ratio": "number",
    "ratio_low": "number",
    "ratio_high": "number",
    "threshold": "number",
    "reached": "number",
}
REGION_COLUMNS: dict[str, Kind] = {
    "relative": "number",
    "slope": "number",
    "slope_q25": "number",
    "slope_q75": "number",
    "location": "number",
    "width": "number",
    "jumps": "number",
    "plateau": "number",
    "dropped": "integer",
}
POINT = ("number", "length", "scale", "threshold")
"""Columns that tell the rows of one curve apart."""
MEASURED = {*CURVE_COLUMNS, *REACH_COLUMNS, *REGION_COLUMNS} - {"direction", *POINT}
OF_WHOLE = ("threshold", "reached", *list(REGION_COLUMNS)[1:])
"""Columns of rows that are about a curve as a whole."""
BY_EXAMPLE = ("slope", "location", "width")
"""Of these the values of single examples are kept too."""


def is_curve_table(table: pl.DataFrame) -> bool:
    """Whether a table is one of scores whose rows are points of curves."""
    return is_score_table(table) and CURVE_COLUMNS.keys() <= set(table.columns)
