"""The table of a dictionary's errors that `perturb … using scale=DICTIONARY` leaves behind its
step's name, as `sens.errors`: a row for each place, dictionary, metric and what stands in the
activation's place at 1x.

dictionary    as the language writes it; `l0` its features that are on, `error` the length of its
              error, `relative` that as a share of the activation's length, `shrinkage` the
              reconstruction's length as such a share; means over examples and positions
direction     what stands there: the error itself, baselines as long as it, or the parts of it
effect        the mean change of the metric, with bounds low and high
ratio         the error's mean effect ÷ this one's, with bounds; null where this one has none, as
              where there is no error at all"""

from __future__ import annotations

from interp_dsl.runs.schema import Kind

ERROR_COLUMNS: dict[str, Kind] = {
    "unit": "text",
    "position": "text",
    "dictionary": "text",
    "l0": "number",
    "error": "number",
    "relative": "number",
    "shrinkage": "number",
    "direction": "text",
    "metric": "text",
    "base": "number",
    "effect": "number",
    "low": "number",
    "high": "number",
    "ratio": "number",
    "ratio_low": "number",
    "ratio_high": "number",
    "n": "integer",
}
