"""Unit expressions evaluated by hand-made tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.algebra import (
    Combined,
    Explicit,
    Filtered,
    Grouped,
    Literal,
    Operation,
    Placed,
    ScoreOf,
    SetOfUnits,
    Top,
    Units,
)
from interp_dsl.plan.names import unit_of
from interp_dsl.plan.places import ALL, EACH, Positions, Site, Target, Unit
from interp_dsl.plan.units import depends, expand, steps_of

END = Positions("label", label="END")
FIRST = Positions("first")
HEADS = Explicit(tuple(unit_of(f"L{i}H{h}", "all") for i in range(3) for h in (0, 1)))
MLPS = Explicit(tuple(unit_of(f"L{i}.mlp", "all") for i in range(3)))


def row(unit: str, effect: float | None, position: str = "all", metric: str = "gap") -> dict:
    return {"unit": unit, "position": position, "metric": metric, "effect": effect, "value": 1.0,
            "low": None, "high": None}  # fmt: skip


ROWS = {
    "who": [
        row("L0H0", 0.1), row("L0H1", -3.0), row("L1H0", 2.0), row("L1H1", None), row("L2H0", 0.5),
        row("L0H0", 9.0, metric="kl"),
    ],
    "late": [row("L2H0", 1.0, "END"), row("L2H1", 2.0, "END"), row("L2H1", 3.0, "S2")],
}  # fmt: skip


def names(units: Units, n: int | None = 4) -> list[str]:
    return [str(u) for u in expand(units, ROWS.__getitem__, n)]


def of(*texts: str) -> Explicit:
    return Explicit(tuple(unit_of(t, "all") for t in texts))


EFFECT = ScoreOf("who", "gap", "effect")


def above(floor: float, step: str = "who") -> Operation:
    return Operation(">", (ScoreOf(step, "gap", "effect"), Literal(floor)))


def test_algebra_keeps_the_order_and_drops_repeats() -> None:
    a, b = of("L1H0", "L0H0", "L1H0"), of("L0H0", "L2H1")
    assert names(Combined("|", a, b)) == ["L1H0", "L0H0", "L2H1"]
    assert names(Combined("&", a, b)) == ["L0H0"]
    assert names(Combined("-", a, b)) == ["L1H0"]
    both = Grouped("together", of("L0H0", "L1H1"))
    turned = Grouped("together", of("L1H1", "L0H0"))
    assert len(expand(Combined("|", both, turned), ROWS.__getitem__, 4)) == 1


def test_top_is_best_first_and_leaves_nulls_out() -> None:
    assert names(Top("who", 2, "gap")) == ["L0H1", "L1H0"]
    assert names(Top("who", 9, "gap", absolute=False)) == ["L1H0", "L2H0", "L0H0", "L0H1"]
    assert names(Top("late", 2, "gap")) == ["L2H1 at S2", "L2H1 at END"]
    assert names(Top("who", 5, "kl")) == ["L0H0"]


def test_filters_keep_what_passes() -> None:
    assert names(Filtered(HEADS, above(0.2))) == ["L1H0", "L2H0"]
    null = Operation("not", (above(0.2),))
    assert names(Filtered(HEADS, null)) == ["L0H0", "L0H1"], "L1H1 is null, L2H1 has no row"


def test_a_filter_reads_the_row_at_the_units_own_position() -> None:
    placed = Placed(HEADS, (END,))
    assert names(Filtered(placed, above(1.5, "late"))) == ["L2H1 at END"]
    assert names(Filtered(of("L2H0"), above(0, "late"))) == ["L2H0"]
    with pytest.raises(InterpError, match="E611") as caught:
        names(Filtered(of("L2H1"), above(0, "late")))
    help_ = caught.value.diagnostics[0].help or ""
    assert help_.startswith("take units at one position, as in heads at ")


def test_a_filter_of_units_that_were_not_measured() -> None:
    with pytest.raises(InterpError, match="E615"):
        names(Filtered(MLPS, above(0)))
    with pytest.raises(InterpError, match="E615"):
        names(Filtered(Placed(HEADS, (END,)), above(0)))
    assert names(Filtered(Combined("-", HEADS, HEADS), above(0))) == []


def test_groups() -> None:
    three = of("L0H0", "L0H1", "L1H0")
    assert names(Grouped("together", three)) == ["together(L0H0, L0H1, L1H0)"]
    assert names(Grouped("pairs", three)) == [
        "together(L0H0, L0H1)",
        "together(L0H0, L1H0)",
        "together(L0H1, L1H0)",
    ]
    assert names(Grouped("growing", three)) == [
        "L0H0",
        "together(L0H0, L0H1)",
        "together(L0H0, L0H1, L1H0)",
    ]
    assert names(Grouped("growing", three, by=EFFECT)) == [
        "L1H0",
        "together(L1H0, L0H0)",
        "together(L1H0, L0H0, L0H1)",
    ]
    assert names(Grouped("together", Combined("-", three, three))) == []


def test_growing_by_a_null() -> None:
    with pytest.raises(InterpError, match="E616"):
        names(Grouped("growing", of("L0H0", "L1H1"), by=EFFECT))


def test_windows_are_runs_of_consecutive_layers() -> None:
    some = of("L1H0", "L0.mlp", "L2.mlp", "L0H1")
    assert names(Grouped("windows", some, 2)) == [
        "together(L1H0, L0.mlp, L0H1)",
        "together(L1H0, L2.mlp)",
    ]
    assert len(names(Grouped("windows", some, 3))) == 1
    with pytest.raises(InterpError, match="E617"):
        names(Grouped("windows", some, 4))
    with pytest.raises(InterpError, match="E618"):
        names(Grouped("windows", of("embed", "L0H0"), 1))


def test_each_position_is_a_unit() -> None:
    assert names(Placed(of("L0H0", "L0H1"), (EACH,)), 2) == [
        "L0H0 at 0", "L0H0 at 1", "L0H1 at 0", "L0H1 at 1",
    ]  # fmt: skip
    together = Placed(Grouped("together", of("L0H0", "L0H1")), (EACH, END))
    assert names(together, 2) == [f"together(L0H0, L0H1) at {p}" for p in ("0", "1", "END")]
    assert names(Placed(of("L0H0"), (EACH,)), None) == ["L0H0 at each"]


@pytest.mark.parametrize(
    ("key", "query", "wanted"),
    [
        (EACH, EACH, ["0 -> 0", "0 -> 1", "1 -> 1", "0 -> 2", "1 -> 2", "2 -> 2"]),
        (EACH, END, ["0 -> END", "1 -> END", "2 -> END"]),
        (FIRST, EACH, ["first -> 0", "first -> 1", "first -> 2"]),
        (EACH, Positions("minus", parts=(EACH, FIRST)),
         ["0 -> 1", "1 -> 1", "0 -> 2", "1 -> 2", "2 -> 2"]),
    ],
)  # fmt: skip
def test_each_in_an_entry(key: Positions, query: Positions, wanted: list[str]) -> None:
    entry = Positions("entry", parts=(key, query))
    pattern = Explicit((Unit((Target(Site("pattern", 0), 1, entry),)),))
    assert names(pattern, 3) == [f"L0H1.pattern at {w}" for w in wanted]


def test_each_without_some() -> None:
    def placed(right: Positions) -> list[str]:
        return names(Placed(of("L0H0"), (Positions("minus", parts=(EACH, right)),)), 3)

    assert placed(FIRST) == ["L0H0 at 1", "L0H0 at 2"]
    assert placed(Positions("index", index=1)) == ["L0H0 at 0", "L0H0 at 2"]
    assert placed(END) == [f"L0H0 at {i} - END" for i in range(3)]


def test_what_units_wait_for() -> None:
    growing = Grouped("growing", Filtered(HEADS, above(0)), by=ScoreOf("late", "gap", "effect"))
    assert depends(Combined("|", Placed(growing, (END,)), Top("best", 3, "gap"))) == {
        "who", "late", "best",
    }  # fmt: skip
    assert depends(HEADS) == set()
    assert steps_of(Operation("size", (SetOfUnits(Top("best", 3, "gap")),))) == {"best"}


SPOTS = [
    ALL, EACH, FIRST, Positions("last"), END, Positions("index", index=12),
    Positions("label", label="S2", pick="last"),
    Positions("union", parts=(END, Positions("label", label="S2", pick="first"))),
    Positions("minus", parts=(Positions("minus", parts=(ALL, FIRST)), END)),
    Positions("entry", parts=(Positions("union", parts=(FIRST, END)), EACH)),
]  # fmt: skip
TARGETS = [
    Target(Site("head", 9), 6), Target(Site("q", 9), 6), Target(Site("pattern", 0), 11),
    Target(Site("neuron", 3), 512), Target(Site("mlp_out", 3)), Target(Site("resid_mid", 5)),
    Target(Site("attn_out", 5)), Target(Site("embed")),
    Target(Site("hook", None, "blocks.0.ln1.x")),
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.place)
def test_units_read_back_from_their_columns(target: Target) -> None:
    for spot in SPOTS:
        at = Target(target.site, target.index, spot)
        for unit in (
            Unit((at,)),
            Unit((at, Target(Site("z", 1), 1, spot))),
            Unit((at, Target(Site("z", 1), 1, Positions("index", index=99)))),
        ):
            assert unit_of(unit.place, unit.position) == unit


@pytest.mark.parametrize("text", ["L0H0.nothing", "two words", ""])
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(ValueError, match="is no place"):
        unit_of(text, "all")


def test_a_filter_of_thousands_of_features_reads_each_row_once() -> None:
    """And `top` finds their sites again: features of several dictionaries, and errors."""
    sites = [Site("feature", 0, feature=name, of="neuron") for name in ("sae", "many[L0.mlp, k=4]")]
    error = replace(sites[1], kind="error")
    units = [Unit((Target(site, i),)) for site in sites for i in range(2000)]
    units.append(Unit((Target(error),)))
    units.append(Unit((Target(sites[0], 3), Target(sites[1], 12), Target(error))))
    rows = [{**row(u.place, float(i), u.position), "index": i} for i, u in enumerate(units)]
    over = Operation(">=", (ScoreOf("q", "gap", "effect"), Literal(3998.0)))
    found = expand(Filtered(Explicit(tuple(units)), over), lambda step: rows, None)
    assert found == tuple(units[3998:])
    top = Top("q", 4, "gap", features=(*sites, error))
    assert expand(top, lambda step: rows, None) == tuple(reversed(units[3998:]))
