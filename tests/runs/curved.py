"""Tables of curves and of factorings, made by hand as the documentation says what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import polars as pl

from interp_dsl.runs.curves import CURVE_COLUMNS, REACH_COLUMNS, REGION_COLUMNS
from interp_dsl.runs.factored import TABLES
from interp_dsl.runs.schema import Kind, polars_types, score_table

Row = dict[str, Any]
LENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
DIRECTIONS = {"random": 1.0, "covariance": 2.0, "toward_zero": 4.0}
UNITS = ("L0.resid_pre", "L1.resid_pre")
SPREAD = 0.25
"""Half the width of an interval, as a share of the effect; quartiles are twice as wide."""


def point(unit: str, metric: str, direction: str, length: float, effect: float, **more: Any) -> Row:
    """A point whose effect has an interval of a quarter, and quartiles of a half of it."""
    row = {"unit": unit, "position": "END", "metric": metric, "base": 0.0, "value": effect}
    row |= {"effect": effect, "low": (1 - SPREAD) * effect, "high": (1 + SPREAD) * effect}
    row |= {"n": 32, "skipped": False, "direction": direction, "length": length}
    row |= {"median": effect, "q25": (1 - 2 * SPREAD) * effect, "q75": (1 + 2 * SPREAD) * effect}
    return row | more


def sensitive() -> pl.DataFrame:
    """What `perturb` leaves: at two units effects that grow as the square of the length, a share of
    the norm; `random` of two numbers too."""
    rows: list[Row] = []
    for unit in UNITS:
        for metric, size in (("kl", 1.0), ("distance", 10.0)):
            for direction, slope in DIRECTIONS.items():
                for length in LENGTHS:
                    effect = size * slope * length**2
                    ratio = slope / 2 if length else None
                    bounds = {"ratio_low": 0.9 * (ratio or 0), "ratio_high": 1.1 * (ratio or 0)}
                    more = {"scale": "norm", "ratio": ratio, **(bounds if ratio else {})}
                    for number in (None, 0, 1) if direction == "random" else (None,):
                        one = point(unit, metric, direction, length, effect, number=number, **more)
                        rows.append(one)
                for threshold in (0.5, 2.0):
                    reached = (threshold / size / slope) ** 0.5
                    rows.append(_whole(unit, metric, direction, "norm", threshold, reached))
    return _table(rows, REACH_COLUMNS)


def _whole(
    unit: str, metric: str, direction: str, scale: str, threshold: float, reached: float
) -> Row:
    row: Row = {"unit": unit, "position": "END", "metric": metric, "n": 32, "skipped": False}
    row |= {"direction": direction, "scale": scale, "threshold": threshold}
    if reached <= 1:
        row |= {"reached": reached, "low": 0.9 * reached, "high": 1.1 * reached}
    return row


def regions() -> pl.DataFrame:
    """What `interpolate` leaves: two ways, straight, and one with a jump in the middle."""
    rows: list[Row] = []
    for side, shape in (("clean", (0.0, 0.25, 0.5, 0.75, 1.0)), ("corrupt", (0, 0, 0.5, 1, 1))):
        for length, share in zip(LENGTHS, shape, strict=True):
            more = {"scale": "own", "relative": share, "side": side}
            rows.append(point("L0.resid_post", "distance", "line", length, 8 * share, **more))
        steep = 1.0 if side == "clean" else 2.0
        row = {"unit": "L0.resid_post", "position": "END", "metric": "distance", "scale": "own"}
        row |= {"direction": "line", "n": 32, "skipped": False, "side": side, "slope": steep}
        row |= {"low": steep - 0.1, "high": steep + 0.1, "slope_q25": steep - 0.2}
        row |= {"slope_q75": steep + 0.2, "location": 0.5, "width": 0.8 / steep}
        rows.append(row | {"jumps": steep - 1, "plateau": (steep - 1) / 2, "dropped": 0})
    return _table(rows, {**REGION_COLUMNS, "side": "text"})


def _table(rows: list[Row], more: Mapping[str, Kind]) -> pl.DataFrame:
    return score_table(rows, {**CURVE_COLUMNS, **more})


# ---- factorings

LAYERS = ("L0.resid_pre", "L0.resid_mid", "L0.resid_post")
BASES = ("interaction", "pca")
WIDE = 6


def findings() -> pl.DataFrame:
    """What `factor … by interaction_basis` finds."""
    rows = []
    for i, basis in enumerate(BASES):
        for layer in LAYERS:
            about = {"unit": layer, "position": "all", "basis": basis, "n": 16, "skipped": False}
            rows.append(about | {"metric": "directions", "value": 4.0 + i})
            if layer != LAYERS[-1]:
                rows.append(about | {"metric": "edges_required", "value": 4.0 + 96 * i})
                rows.append(about | {"metric": "effective_edges", "value": 2.5 + i})
        about = {"unit": "model", "position": "all", "basis": basis, "n": 16, "skipped": False}
        rows.append(about | {"metric": "modularity", "value": 0.5 - 0.125 * i})
    return score_table(rows, {"basis": "text"})


def ranks() -> pl.DataFrame:
    """What `factor … by degeneracy` finds."""
    rows: list[Row] = []
    for metric, matrix, value in (
        ("activation_rank", "W_in", 4.0),
        ("activation_rank", "W_out", 3.0),
        ("synchronised", None, 1024.0),
    ):
        about = {"unit": "L0.mlp", "position": "all", "n": 16, "skipped": False}
        rows.append(about | {"metric": metric, "matrix": matrix, "value": value})
    return score_table(rows, {"matrix": "text"})


def spectrum() -> pl.DataFrame:
    """Eigenvalues that fall by ten, or by two, from 1000; the last of each is rounding."""
    rows = []
    for layer in LAYERS:
        for basis, by in zip(BASES, (10.0, 2.0), strict=True):
            for k in range(WIDE):
                value = 1000 / by**k if k < WIDE - 1 else -1e-17
                rows.append((layer, basis, k, value, k < 4, False))
    return _behind("spectrum", rows)


def ablation() -> pl.DataFrame:
    """The metric grows with the directions kept, in one basis sooner."""
    rows = [
        (layer, basis, kept, min(1.0, kept / (2 + 2 * i)))
        for layer in LAYERS
        for i, basis in enumerate(BASES)
        for kept in range(1, 5)
    ]
    return _behind("ablation", rows)


def edges() -> pl.DataFrame:
    """Two modules, A of directions 0 and 1, B of 2; a weak edge between them; 3 hangs alone on 2.
    Between the first places each edge is ten times as large as the next."""
    links = [(0, 0), (1, 1), (2, 2), (0, 2), (3, 2)]
    rows = [
        (basis, below, a, above, b, 1000.0 / 10**i)
        for basis in BASES
        for below, above in pairwise(LAYERS)
        for i, (a, b) in enumerate(links)
    ]
    return _behind("edges", rows)


def modules() -> pl.DataFrame:
    """Numbers as they come: 7 is the largest."""
    found = {0: 7, 1: 7, 2: 3}
    rows = [
        (basis, layer, k, found.get(k, 10 + k + 10 * i))
        for basis in BASES
        for i, layer in enumerate(LAYERS)
        for k in range(4)
    ]
    return _behind("modules", rows)


def rank_spectra() -> pl.DataFrame:
    rows = [
        ("L0.mlp", matrix, of, k, 8.0 / 2**k)
        for matrix in ("W_in", "W_out")
        for of in ("activations", "slopes")
        for k in range(4)
    ]
    return _behind("ranks", rows)


def _behind(name: str, rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=polars_types(TABLES[name]), orient="row")


def everything() -> dict[str, pl.DataFrame]:
    """The tables of a run with curves and factorings, by name."""
    return {
        "sens": sensitive(),
        "regions": regions(),
        "bases": findings(),
        "bases.spectrum": spectrum(),
        "bases.ablation": ablation(),
        "bases.edges": edges(),
        "bases.modules": modules(),
        "ranks": ranks(),
        "ranks.ranks": rank_spectra(),
    }
