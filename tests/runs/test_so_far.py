"""Steps that have not ended: the rows of finished shards stand where the whole table will have
them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import interp_dsl as interp
from interp_dsl.plan.tasks import Plan
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import Kind, score_table
from interp_dsl.runs.so_far import SoFar

WHEN = datetime(2026, 11, 20)
TEXT = """
model   m = bundled("induction-2l")
dataset pairs = repeated_tokens(pairs=4, half=4, seed=0)
metric  gap = logit_diff()
step wide = patch heads from pairs.corrupt into pairs.clean measure gap, kl()
step each_place = patch heads layers 1..1 at each from pairs.corrupt into pairs.clean measure gap
step best = patch top(wide, 2) at 1, last from pairs.corrupt into pairs.clean measure gap
step off = ablate {L0H1} with zero
step both = patch {L0H0, L1.resid_post} from pairs.corrupt into pairs.clean under off measure gap
"""
HEADS = [f"L{layer}H{head}" for layer in range(2) for head in range(4)]
WIDTH = 6  # BOS, a block of four tokens, the first token of its repeat


@pytest.fixture(scope="module")
def plan() -> Plan:
    return interp.plan(TEXT)


def row(unit: str, position: str = "all", metric: str = "gap", **more: Any) -> dict[str, Any]:
    """A measured row; its effect tells which it is."""
    effect = float(sum(map(ord, unit + position + metric)))
    return {"unit": unit, "position": position, "metric": metric, "effect": effect, "n": 4} | more


def write(folder: RunFolder, step: str, shard: int, *rows: dict[str, Any]) -> None:
    kinds: dict[str, Kind] = {"under": "text"} if any("under" in r for r in rows) else {}
    table = score_table(rows, kinds)
    folder.write_part(step, shard, table, {"value": np.zeros((len(rows), 4))}, "key")


def places(table: pl.DataFrame) -> list[tuple[Any, ...]]:
    return table.select("unit", "position", "metric").rows()


def test_measured_rows_stand_among_those_to_come(tmp_path: Path, plan: Plan) -> None:
    folder = RunFolder.create(tmp_path, "x", WHEN)
    step = SoFar(folder, plan, "wide")
    assert step.read() is None
    measured = [row("L1H2"), row("L1H2", metric="kl"), row("L0H3"), row("L0H3", metric="kl")]
    write(folder, "wide", 0, *measured[:2])
    write(folder, "wide", 1, *measured[2:])
    table = step.read()
    assert table is not None and step.read() is None, "nothing has changed since"
    assert places(table) == [(h, "all", m) for h in HEADS for m in ("gap", "kl")]
    assert table["layer"].to_list() == [i // 8 for i in range(16)]
    assert table["head"].to_list() == [i // 2 % 4 for i in range(16)]
    known = table.filter(pl.col("n").is_not_null())
    assert {*known.select("unit", "metric", "effect").rows()} == {
        (r["unit"], r["metric"], r["effect"]) for r in measured
    }
    assert table.columns == score_table([]).columns
    write(folder, "wide", 2, row("L0H0"), row("L0H0", metric="kl"))
    more = step.read()
    assert more is not None and more["n"].null_count() == 10


def test_each_position_has_its_place(tmp_path: Path, plan: Plan) -> None:
    folder = RunFolder.create(tmp_path, "x", WHEN)
    write(folder, "each_place", 0, row("L1H1", "5"))
    table = SoFar(folder, plan, "each_place").read()
    assert table is not None
    assert places(table) == [(h, str(p), "gap") for h in HEADS[4:] for p in range(WIDTH)]


def test_units_that_another_step_has_found(tmp_path: Path, plan: Plan) -> None:
    folder = RunFolder.create(tmp_path, "x", WHEN)
    write(folder, "best", 0, row("L1H0", "last"))
    alone = SoFar(folder, plan, "best").read()
    assert alone is not None and places(alone) == [("L1H0", "last", "gap")], "nobody knows yet"
    found = [row(h, effect=e) for h, e in (("L0H2", -1.0), ("L1H0", 9.0), ("L0H1", 3.0))]
    folder.write_table("wide", score_table(found))
    table = SoFar(folder, plan, "best").read()
    assert table is not None
    assert places(table) == [(h, p, "gap") for h in ("L1H0", "L0H1") for p in ("1", "last")]


def test_variants_and_streams(tmp_path: Path, plan: Plan) -> None:
    folder = RunFolder.create(tmp_path, "x", WHEN)
    write(folder, "both", 0, row("L1.resid_post", under="off"))
    table = SoFar(folder, plan, "both").read()
    assert table is not None
    assert table.select("unit", "layer", "head", "under", "n").rows() == [
        ("L0H0", 0, 0, "off", None),
        ("L1.resid_post", 1, None, "off", 4),
    ]


@pytest.mark.parametrize("strange", ["L7H0", "L0H0"])
def test_rows_that_the_plan_does_not_name_are_all_that_is_shown(
    tmp_path: Path, plan: Plan, strange: str
) -> None:
    folder = RunFolder.create(tmp_path, "x", WHEN)
    write(folder, "wide", 0, row("L0H1"), row(strange, "S1"))
    for known in (plan, None):
        table = SoFar(folder, known, "wide").read()
        assert table is not None and places(table) == places(folder.read_so_far("wide"))
