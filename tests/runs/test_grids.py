"""Score tables as grids: every number is where its row says, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp_dsl.runs.grids import MISSING, Grid, edge_grids, grids, value_columns
from interp_dsl.runs.schema import score_table
from tests.runs.circuits import INDUCTION, table


def head(layer: int, number: int, effect: float | None, **more: Any) -> dict[str, Any]:
    suffix = more.pop("site", "")
    row = {"unit": f"L{layer}H{number}{suffix}", "layer": layer, "head": number, "position": "all"}
    return {**row, "metric": "gap", "effect": effect, "n": 4, **more}


def read(grid: Grid) -> dict[tuple[str, str], float]:
    """A grid's finite values by the names of their row and column."""
    return {
        (grid.row_names[r], grid.column_names[c]): float(grid.values[r, c])
        for r, c in np.argwhere(np.isfinite(grid.values))
    }


@given(
    st.dictionaries(
        st.tuples(st.integers(0, 5), st.integers(0, 4), st.sampled_from(["S", "END"])),
        st.floats(-9, 9),
        min_size=1,
    )
)
def test_layer_by_head_and_head_by_position_hold_every_row(
    effects: dict[tuple[int, int, str], float],
) -> None:
    rows = [head(a, b, e, position=p) for (a, b, p), e in effects.items()]
    scores = score_table(rows)
    found = grids(scores, "gap", "effect")
    seen: dict[tuple[int, int, str], float] = {}
    for grid in found:
        if grid.name == "layer × head":
            position = grid.facet.removeprefix("at ")
            for (layer, number), value in read(grid).items():
                seen[int(layer[1:]), int(number), position] = value
        else:
            assert grid.name == "head × position"
            units = {(unit, position): v for (unit, position), v in read(grid).items()}
            assert units == {(f"L{a}H{b}", p): e for (a, b, p), e in effects.items()}
        for (r, c), row in np.ndenumerate(grid.rows):
            assert row == MISSING or scores["effect"][int(row)] == grid.values[r, c]
    assert seen == effects


def test_cells_without_a_row_and_rows_without_a_number() -> None:
    scores = score_table([head(0, 2, -1.5), head(3, 0, None), head(3, 1, 0.5)])
    (grid,) = grids(scores, "gap", "effect")
    assert grid.row_names == ("L0", "L3") and grid.column_names == ("0", "1", "2")
    np.testing.assert_array_equal(grid.values, [[np.nan, np.nan, -1.5], [np.nan, 0.5, np.nan]])
    assert grid.at((1, 0)) == 1 and grid.at((0, 0)) is None
    assert grid.limit == 1.5
    assert grid.ranked().tolist() == [[0, 2], [1, 1]]


def test_streams_by_position_and_by_site() -> None:
    rows: list[dict[str, Any]] = [
        {"unit": f"L{layer}.{site}", "layer": layer, "position": p, "metric": "gap"}
        | {"effect": layer + len(p) + (site == "mlp") / 2}
        for layer in (0, 1)
        for site in ("resid_post", "mlp")
        for p in ("S2", "END")
    ]
    found = {grid.title: grid for grid in grids(score_table(rows), "gap", "effect")}
    streams = found["layer × position resid_post"]
    assert streams.column_names == ("S2", "END")
    assert read(streams)[("L1", "END")] == 4.0
    assert found["layer × site at S2"].column_names == ("resid_post", "mlp")
    assert read(found["layer × site at S2"])[("L0", "mlp")] == 2.5


def test_neurons_have_columns_for_those_that_there_are() -> None:
    rows = [
        {"unit": f"L{a}.mlp[{i}]", "layer": a, "index": i, "position": "all", "metric": "gap"}
        | {"effect": float(i)}
        for a, i in ((0, 700), (1, 3), (1, 700))
    ]
    (grid,) = grids(score_table(rows), "gap", "effect")
    assert grid.name == "layer × neuron" and grid.column_names == ("3", "700")
    assert read(grid) == {("L0", "700"): 700.0, ("L1", "3"): 3.0, ("L1", "700"): 700.0}


def test_queries_keys_and_contexts_have_pictures_of_their_own() -> None:
    rows = [
        head(0, 0, 1.0, site=".k", under="cut"),
        head(0, 0, 2.0, site=".q", under="cut"),
        head(0, 0, 3.0, site=".k", under="none"),
    ]
    found = grids(score_table(rows, {"under": "text"}), "gap", "effect")
    assert {g.title: g.values.item() for g in found} == {
        "layer × head k · under=cut": 1.0,
        "layer × head q · under=cut": 2.0,
        "layer × head k · under=none": 3.0,
    }


def test_edges_have_readers_down_and_senders_across() -> None:
    (grid,) = edge_grids(table(INDUCTION), "effect")
    wanted = {(f"{t}.{c}" if c in "qkv" else t, s): effect for s, t, c, effect in INDUCTION}
    assert read(grid) == wanted
    assert grid.column_names == ("embed", "pos_embed", "L0H2", "L1H1", "L1.mlp")
    assert grid.row_names[-1] == "logits" and grid.row_names[0].startswith("L0H2")


def test_edges_of_several_thresholds() -> None:
    held = table(INDUCTION)
    both = pl.concat([held.with_columns(threshold=pl.lit(t)) for t in (0.1, 0.5)])
    assert [g.facet for g in edge_grids(both, "effect")] == ["threshold=0.1", "threshold=0.5"]


@pytest.mark.parametrize("unit", ["together(L0H1, L1H3)", "model", "together(L0H0 -> L1H0.k)"])
def test_what_has_no_place_makes_no_picture(unit: str) -> None:
    row = {"unit": unit, "position": "all", "metric": "gap", "effect": 1.0}
    assert grids(score_table([row]), "gap", "effect") == []


def test_single_rows_come_last() -> None:
    rows = [head(0, 0, 1.0, position="S"), head(0, 1, 1.0, position="S")]
    rows += [head(a, b, 1.0, position="END") for a in (0, 1) for b in (0, 1)]
    shapes = [grid.shape for grid in grids(score_table(rows), "gap", "effect")]
    assert shapes == [(2, 2), (4, 2), (1, 2)]


def test_columns_that_hold_numbers() -> None:
    scores = score_table([head(0, 0, 1.0, value=2.0)])
    assert value_columns(scores) == ["effect", "value"]


def test_the_scale_of_nothing_is_nothing() -> None:
    grid = Grid("x", "", ("a",), ("b",), np.array([[MISSING]]), np.array([[np.nan]]))
    assert grid.limit == 0.0 and len(grid.ranked()) == 0


@pytest.mark.parametrize("positions", [("S2", "END"), ("0", "1", "2", "3")])
def test_many_positions_are_first_looked_at_together(positions: tuple[str, ...]) -> None:
    rows = [head(a, b, 1.0, position=p) for a in (0, 1) for b in (0, 1) for p in positions]
    names = [grid.name for grid in grids(score_table(rows), "gap", "effect")]
    single, together = ["layer × head"] * len(positions), ["head × position"]
    assert names == (together + single if len(positions) > 3 else single + together)
