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
dropped         examples left out because the path's end is as its beginning; n counts the others
flips           neurons that are on at one end and off at the other, the median over examples; null
                where they are not counted

Further tables stand behind the step's name (TABLES).

errors          of `perturb … using scale=DICTIONARY` (runs/errors.py)
pairs           of paths among prompts: from which to which, and how steep the way is
regions         the region of each prompt, from 0, and how many it has: prompts between which no
                stretch is a jump
planes          of `using slice=N`: points of a plane through the activation of a prompt (a), where
                its path leads (b) and that of a further prompt (c); `along` and `across` are 0 at
                a, 1 at b and at the height of c; a, b and c say how alike the output is to theirs,
                1 for the same; `nearest` is the likest, `token` the most likely next"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp_dsl.runs.errors import ERROR_COLUMNS
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
    "flips": "number",
}
_PLACE: dict[str, Kind] = {"unit": "text", "position": "text"}
_PATH: dict[str, Kind] = {**_PLACE, "direction": "text", "metric": "text"}
TABLES: dict[str, dict[str, Kind]] = {
    "errors": ERROR_COLUMNS,
    "pairs": {
        **_PATH,
        "start": "integer",
        "end": "integer",
        "slope": "number",
        "location": "number",
        "width": "number",
    },
    "regions": {**_PATH, "prompt": "integer", "region": "integer", "size": "integer"},
    "planes": {
        **_PLACE,
        "prompt": "integer",
        "along": "number",
        "across": "number",
        "a": "number",
        "b": "number",
        "c": "number",
        "nearest": "text",
        "token": "text",
    },
}
POINT = ("number", "length", "scale", "threshold")
"""Columns that tell the rows of one curve apart."""
MEASURED = {*CURVE_COLUMNS, *REACH_COLUMNS, *REGION_COLUMNS} - {"direction", *POINT}
OF_WHOLE = ("threshold", "reached", *list(REGION_COLUMNS)[1:])
"""Columns of rows that are about a curve as a whole."""
BY_EXAMPLE = ("slope", "location", "width", "flips")
"""Of these the values of single examples are kept too."""


def is_curve_table(table: pl.DataFrame) -> bool:
    """Whether a table is one of scores whose rows are points of curves."""
    return is_score_table(table) and CURVE_COLUMNS.keys() <= set(table.columns)
