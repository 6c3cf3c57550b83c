"""Claims, decided on the finished tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from interp_dsl.plan.algebra import (
    FromRun,
    Literal,
    Operation,
    ScoreOf,
    SetOfUnits,
    Top,
    Zero,
)
from interp_dsl.plan.tasks import (
    Claim,
    Place,
)

from .plans import (
    CORRUPT,
    HEADS,
    run,
    sweep_plan,
)
from .tiny import Tiny, pairs

DATA = pairs()
PLAN = sweep_plan(HEADS, FromRun(CORRUPT), shard=1, rows=4)


def claims_of(tmp_path: Path, *tests: Operation) -> list[dict]:
    plan = replace(
        PLAN, claims=tuple(Claim("…", t, Place("a.interp", i + 1, 1)) for i, t in enumerate(tests))
    )
    ran = run(plan, Tiny(), tmp_path, d=DATA)
    assert ran.folder.claims == list(ran.outcome.claims)
    assert [e["ok"] for e in ran.folder.events() if e["event"] == "claim"] == [
        c["ok"] for c in ran.outcome.claims
    ]
    return list(ran.outcome.claims)


def test_claims_and_what_they_found(tmp_path: Path) -> None:
    effect = ScoreOf("who", "gap", "effect", "L1H0")
    most = SetOfUnits(Top("who", 1, "gap"))
    size = Operation("size", (SetOfUnits(Top("who", 3, "gap")),))
    held, failed, sets, alike = claims_of(
        tmp_path,
        Operation("<", (effect, Literal(1e9))),
        Operation("not", (Operation("<", (effect, Literal(1e9))),)),
        Operation("<=", (size, Literal(2))),
        Operation("==", (most, most)),
    )
    assert (held["ok"], failed["ok"], sets["ok"]) == (True, False, False)
    assert held["low"] < held["value"] < held["high"]
    assert held["message"].startswith("who[L1H0].gap.effect is ") and "[" in held["message"]
    one, other = alike["message"].removeprefix("found ").split(" and ")
    assert one == other and one.startswith("{L")
    assert sets["message"] == "found 3" and sets["line"] == 3 and sets["file"] == "a.interp"


def test_a_claim_that_cannot_be_decided_does_not_hold(tmp_path: Path) -> None:
    plan = sweep_plan(HEADS, Zero(), other=None)
    null = Operation(">", (ScoreOf("who", "gap", "normalized", "L0H0"), Literal(0.1)))
    many = Operation(">", (ScoreOf("who", "gap", "effect"), Literal(0.1)))
    plan = replace(plan, claims=(Claim("a", null), Claim("b", many)))
    ran = run(plan, Tiny(), tmp_path, d=DATA)
    assert ran.outcome.status == "done"
    assert [c["ok"] for c in ran.outcome.claims] == [False, False]
    assert [d.code for d in ran.outcome.diagnostics] == ["E612", "E611"]
    assert "half a logit" in ran.outcome.diagnostics[0].notes[0]
