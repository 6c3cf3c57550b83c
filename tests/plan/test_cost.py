"""Estimates, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interp_dsl.plan.algebra import Explicit, FromRun, Intervention, Metric, MetricCall, Run, Top
from interp_dsl.plan.cost import Cost, cost
from interp_dsl.plan.estimates import estimates, readers, runs_of
from interp_dsl.plan.places import ALL, Positions, Site, Target, Unit
from interp_dsl.plan.sizes import sizes
from interp_dsl.plan.starts import (
    WHOLE,
    Late,
    Packing,
    Start,
    Stretch,
    common,
    earliest,
    start,
    stretches,
)
from interp_dsl.plan.tasks import (
    BuildData,
    DataSize,
    Evaluate,
    Forward,
    LoadModel,
    ModelSize,
    Plan,
    SelfTest,
    Sweep,
    Variant,
)
from interp_dsl.plan.work import EVERYWHERE, Reads, Work, passes, reads

MODEL = ModelSize(
    n_layers=3, n_heads=2, n_kv_heads=1, d_model=4, d_head=3, d_mlp=8, d_vocab=10
)  # fmt: skip
CLEAN, CORRUPT = Run("m", "d", "clean"), Run("m", "d", "corrupt")
GAP, LOSS = Metric("gap", MetricCall("logit_diff")), Metric("loss", MetricCall("loss"))
LOGPROB = Metric("logprob", MetricCall("logprob"))
LOADS = (
    LoadModel("m", "m", {"kind": "bundled", "name": "x"}, size=MODEL),
    BuildData("d", "d", {"kind": "template"}, "m", size=DataSize(5, 6)),
)
# Multiply-adds of one position: queries or W_O 4·6, keys and values 2·4·3, MLP 2·4·8, unembedding
# 4·10; of a pair of positions 2·6.
WHOLE_LAST = 30 * (24 + 24 + 24 + 64) + 30 * 6 * 12
"""Multiply-adds of a layer over 5 prompts of 6 tokens."""
READ_LAST = 30 * 24 + 5 * (24 + 24 + 64) + 5 * 6 * 12
"""The same where one position of each is read: keys and values of all, the rest there."""


def at(kind: str, layer: int | None, positions: Positions = ALL) -> Unit:
    return Unit((Target(Site(kind, layer), None, positions),))


def index(i: int) -> Positions:
    return Positions("index", i)


def sweep(*units: Unit, **more: object) -> Sweep:
    change = Intervention(Explicit(units), FromRun(CORRUPT))
    task = Sweep(
        "s",
        "who",
        (Variant(CLEAN, CORRUPT),),
        change,
        (GAP,),
        CLEAN,
        late=True,
        trims=True,
        reads_few=True,
    )
    return replace(task, **more)  # type: ignore[arg-type]


def forward(*arguments: object, **more: object) -> Forward:
    return Forward("f", *arguments, reads_few=True, **more)  # type: ignore[arg-type]


def plan(*tasks: object) -> Plan:
    return Plan((*LOADS, *tasks))  # type: ignore[arg-type]


def estimate(task: Forward | Sweep | SelfTest) -> Cost:
    """Without the peak, which has a test of its own."""
    return replace(cost(task, sizes(plan(task))), peak=0)


def test_a_late_pass_counts_what_is_left() -> None:
    found = passes(MODEL, 10, 6, Reads(1), Start(1, False, 2))
    assert found == Work(q=50, kv=80, out=50, mlp=50, unembed=10 * 10, pairs=300)
    found = passes(MODEL, 10, 6, Reads(1), Start(1, True, 2))
    assert found == Work(q=10, kv=40, out=50, mlp=50, unembed=10 * 10, pairs=60)
    found = passes(MODEL, 10, 6, Reads(1), Start(2, True, 2))
    assert found == Work(q=0, kv=0, out=10, mlp=10, unembed=10 * 10, pairs=0)
    found = passes(MODEL, 10, 6, EVERYWHERE, Start(2, False, 0))
    assert found == Work(q=60, kv=60, out=60, mlp=60, unembed=60 * 10, pairs=360)


def test_a_narrow_pass_counts_what_differs() -> None:
    """Of four positions left two differ: they alone go through layer 0 behind its attention, and
    through the projections of layer 1, whose attention shows them to all."""
    found = passes(MODEL, 1, 6, Reads(1), Start(0, True, 2, few=2, is_local=True))
    assert found == Work(
        q=0 + 2 + 1, kv=0 + 2 + 4, out=2 + 4 + 1, mlp=2 + 4 + 1, unembed=10, pairs=(0 + 4 + 1) * 6
    )
    found = passes(MODEL, 1, 6, Reads(1), Start(0, False, 2, few=2, is_local=True))
    assert (found.q, found.kv, found.pairs) == (2 + 2 + 1, 0 + 2 + 4, (2 + 4 + 1) * 6)
    found = passes(MODEL, 1, 6, Reads(1), Start(0, False, 2, few=2))
    assert found == Work(2 + 4 + 1, 2 + 4 + 4, 4 + 4 + 1, 4 + 4 + 1, 10, (4 + 4 + 1) * 6)
    last = passes(MODEL, 1, 6, Reads(1), Start(2, False, 2, few=2))
    assert last == Work(q=2, kv=2, out=1, mlp=1, unembed=10, pairs=6)
    local = Start(2, True, 2, few=2, is_local=True)
    assert passes(MODEL, 1, 6, Reads(1), local) == passes(MODEL, 1, 6, Reads(1), Start(2, True, 2))


def test_a_pass_behind_what_attention_wrote_leaves_out_w_o() -> None:
    start = Start(1, True, 2)
    whole, added = (
        passes(MODEL, 10, 6, Reads(1), s) for s in (start, replace(start, from_mid=True))
    )
    assert whole.out - added.out == 10 * 4 and replace(added, out=whole.out) == whole


def test_flops_are_two_a_multiply_add() -> None:
    work = Work(q=1, kv=10, out=100, mlp=1000, unembed=10_000, pairs=100_000)
    assert work.flops(MODEL) == 2 * (101 * 24 + 10 * 24 + 1000 * 64 + 10_000 * 4 + 100_000 * 12)
    gated = replace(MODEL, is_gated=True)
    assert work.flops(gated) - work.flops(MODEL) == 2 * 1000 * 32


def test_a_forward_unembeds_what_is_read() -> None:
    layers = 2 * WHOLE_LAST
    one = estimate(forward(CLEAN, metrics=(GAP,)))
    assert one == Cost(5, 30, 2.0 * (layers + READ_LAST + 5 * 40), 0)
    every = estimate(forward(CLEAN, metrics=(GAP, LOSS)))
    assert every == Cost(5, 30, 2.0 * (layers + WHOLE_LAST + 30 * 40), 0)
    watched = estimate(forward(CLEAN, (Site("z", 2), Site("mlp_out", 0)), (GAP,)))
    kept = 4 * 30 * (6 + 4)
    assert watched == Cost(5, 30, 2.0 * (layers + WHOLE_LAST + 5 * 40), kept)
    before = estimate(forward(CLEAN, (Site("resid_pre", 2),), (GAP,)))
    assert before.flops == one.flops
    assert estimate(Forward("f", CLEAN, metrics=(GAP,))) == every
    stopped = estimate(forward(CLEAN, (Site("resid_pre", 0), Site("mlp_out", 1)), stops=True))
    assert stopped == Cost(5, 30, 2.0 * layers, 2 * 4 * 30 * 4)
    remembered = estimate(forward(CLEAN, metrics=(GAP,), remembers=("resid_pre", "keys", "z")))
    assert remembered == Cost(
        5, 30, 2.0 * (layers + WHOLE_LAST + 5 * 40), 4 * 3 * 30 * (4 + 2 * 3 + 6)
    )


def test_answers_alone_are_unembedded_where_nothing_else_is_compared() -> None:
    loads = (LOADS[0], replace(LOADS[1], size=DataSize(5, 6, answers=3)))
    both = forward(CLEAN, metrics=(GAP,)), sweep(at("head", 1))
    for task in both:
        few, known = replace(task, reads_answers=True), sizes(Plan((*loads, task)))
        more = cost(task, known).flops, cost(few, known).flops
        assert more[0] - more[1] == 2 * 5 * 4 * (10 - 3)  # type: ignore[operator]
    wide = sizes(Plan((LOADS[0], replace(LOADS[1], size=DataSize(5, 6, answers=30)), both[0])))
    assert cost(replace(both[0], reads_answers=True), wide) == cost(both[0], wide)


def test_reads_count_places_and_know_when_answers_decide() -> None:
    second = Metric("early", MetricCall("logit", at=Positions("first")))
    assert reads((GAP, second, GAP)) == Reads(2)
    assert reads(()) == Reads(1)
    assert reads((GAP, LOGPROB)) == Reads(None, is_known=False)
    assert estimate(forward(CLEAN, metrics=(LOGPROB,))).is_bound


def test_a_reference_is_read_where_metrics_compare() -> None:
    kl = Metric("kl", MetricCall("kl", at=Positions("first")))
    step = Evaluate("e", "e", (Variant(CORRUPT, None),), (kl,), CLEAN)
    plain, compared = forward(CLEAN), sizes(plan(step))
    more = cost(replace(plain, metrics=(GAP,)), compared).flops
    assert more is not None
    assert cost(plain, compared).flops == estimate(plain).flops
    # one position more: queries, W_O, MLP, mixing and unembedding
    assert more - estimate(plain).flops == 2 * 5 * (24 + 24 + 64 + 6 * 12 + 40)  # type: ignore[operator]


def test_a_late_sweep_is_what_is_left_of_its_passes() -> None:
    heads = estimate(sweep(at("head", 1), at("head", 2)))
    # layer 1: W_O and MLP, then the last layer; layer 2: W_O and MLP of the read position
    late = 30 * (24 + 64) + READ_LAST + 5 * (24 + 64) + 2 * 5 * 40
    assert heads == Cost(10, 60, 2.0 * late, 0)
    placed = estimate(sweep(at("resid_pre", 2, index(4))))
    late = 10 * 24 + 5 * (24 + 24 + 64) + 5 * 6 * 12 + 5 * 40
    assert placed == Cost(5, 10, 2.0 * late, 0, is_bound=True)
    whole = estimate(sweep(at("resid_pre", 2, index(4)), trims=False))
    assert whole.tokens == 30 and whole.flops == 2.0 * (READ_LAST + 5 * 40)
    narrow = estimate(sweep(at("resid_pre", 2, index(3)), narrow=True))
    assert narrow.flops == 2.0 * 5 * (24 + 24 + (24 + 64) + 6 * 12 + 40)


def test_what_only_the_data_knows_counts_from_the_beginning() -> None:
    known = estimate(sweep(at("resid_pre", 1)))
    label = estimate(sweep(at("resid_pre", 1, Positions("label", label="END"))))
    assert label == replace(known, is_bound=True) and not known.is_bound


def test_whole_passes_where_nothing_starts_late() -> None:
    units = at("head", 1), at("head", 2)
    one = estimate(forward(CLEAN, metrics=(GAP,))).flops
    assert one is not None
    assert estimate(sweep(*units, late=False)) == Cost(10, 60, 2 * one, 0)
    assert estimate(sweep(at("embed", None))) == Cost(5, 30, one, 0)
    hooked = plan(sweep(*units))
    load = replace(LOADS[0], spec={"executor": "hooked"})
    found = cost(hooked.tasks[2], sizes(replace(hooked, tasks=(load, *hooked.tasks[1:]))))
    assert found.flops == 2 * 2.0 * (3 * WHOLE_LAST + 30 * 40)


def test_a_self_test_runs_a_side_at_every_layer() -> None:
    one = estimate(forward(CLEAN)).flops
    assert one is not None
    assert estimate(SelfTest("t", CLEAN, None)) == Cost(25, 150, 5 * one, 0)
    assert estimate(SelfTest("t", CLEAN, CORRUPT)) == Cost(40, 240, 8 * one, 0, is_bound=True)


def test_sums_leave_out_what_only_the_run_knows() -> None:
    change = Intervention(Top("who", 3, "gap"), FromRun(CORRUPT))
    later = sweep(id="l", step="later", intervention=change)
    forwards = (Forward("a", CLEAN, (), (GAP,)), Forward("b", CORRUPT, (Site("head", 1),), (GAP,)))
    found = estimates(plan(*forwards, sweep(at("head", 1)), later))
    assert found.unknown == ("l",)
    parts = [found.tasks[name] for name in ("a", "b", "s")]
    assert found.total == sum(parts, Cost())
    # both sides, then one pass for the one unit, all with all logits
    assert replace(found.plain_loop, peak=0) == Cost(
        15, 90, 3 * 2.0 * (3 * WHOLE_LAST + 30 * 40), 0
    )
    assert found.to_data()["total"]["unknown"] == ["l"]


def test_who_reads_a_run() -> None:
    one = sweep(at("head", 1))
    other = Evaluate("e", "base", (Variant(CLEAN, None),), (GAP,), CORRUPT)
    assert readers(plan(one, other)) == {CLEAN: ("who", "base"), CORRUPT: ("who",)}
    compared = replace(other, metrics=(Metric("kl", MetricCall("kl")),))
    assert runs_of(compared) == (CLEAN, CORRUPT)
    under = Run("m", "d", "clean", (Intervention(Explicit(()), FromRun(CORRUPT)),))
    assert runs_of(replace(other, variants=(Variant(under, None),))) == (under, CORRUPT)


@pytest.mark.parametrize(
    ("positions", "first"),
    [
        (index(3), 3),
        (Positions("last"), 0),
        (Positions("union", parts=(index(4), index(2))), 2),
        (Positions("minus", parts=(index(4), index(2))), 4),
        (Positions("entry", parts=(index(1), index(5))), 5),
    ],
)
def test_the_earliest_position(positions: Positions, first: int) -> None:
    assert earliest(positions) == first


def test_a_unit_starts_at_its_first_place() -> None:
    change = Intervention(Explicit(()), FromRun(CORRUPT), through_z=True)
    both = Unit((*at("head", 2, index(1)).targets, *at("v", 1, index(3)).targets))
    assert start(both, change) == Start(1, False, 1)
    assert start(at("head", 2), change) == Start(2, True, 0, is_local=True, from_mid=True)
    assert start(at("q", 2, index(3)), change) == Start(2, False, 3, few=1, is_local=True)
    two = Positions("union", parts=(index(4), Positions("last")))
    assert start(at("k", 0, two), change) == Start(0, False, 0, few=2)
    assert start(at("embed", None), change) == Start(-1, False, 0)


def test_batches_keep_to_what_starts_together() -> None:
    starts = [Start(1, True, p) for p in (3, 1, 2, 0)] + [Start(1, False, 0)]
    packing, late = Packing(tokens=12 * 32, rows=12, shard=9, least=512), Late(True, False, False)
    found = list(stretches(starts, 8, 32, late, packing, first_read=31))
    # 8 × 32 tokens a unit: two of them are 512, enough
    assert found == [
        Stretch(8, Start(1, False, 0)),
        Stretch(12, Start(1, True, 0)),
        Stretch(4, Start(1, True, 1)),
        Stretch(12, Start(1, True, 2)),
        Stretch(4, Start(1, True, 3)),
    ]
    apart = list(stretches(starts[:2], 8, 32, late, replace(WHOLE, shard=1), 31))
    assert apart == [Stretch(8, starts[1]), Stretch(8, starts[0])]
    by_tokens = list(stretches(starts[:1], 8, 32, late, replace(packing, tokens=29 * 3), 31))
    assert [s.rows for s in by_tokens] == [3, 3, 2]


def test_a_start_is_narrow_where_few_positions_differ() -> None:
    few = [Start(1, False, p, few=2) for p in (4, 6)]
    late = Late(trims=True, narrow=True, adds=False)
    assert common(few, late, 8, 7) == Start(1, False, 4, few=2)
    assert common(few, late, 7, 6) == Start(1, False, 4, few=0)
    assert common([few[0], Start(1, False, 4)], late, 9, 8) == Start(1, False, 4, few=0)
    assert common(few, replace(late, narrow=False), 8, 7) == Start(1, False, 4)
    mid = Start(1, True, 0, from_mid=True)
    assert common([mid, mid], late, 8, 7) == replace(mid, from_mid=False)
    assert common([mid, mid], replace(late, adds=True), 8, 7) == mid
    assert common([mid, Start(1, True, 0)], replace(late, adds=True), 8, 7) == Start(1, True, 0)
    local = replace(mid, few=2)
    assert common([local], replace(late, adds=True), 8, 7) == replace(local, from_mid=False)
    assert common(few, late, 8, None) == Start(1, False, 0, few=2)
    assert common([Start(-1, False, 0)], late, 8, 7) is None


def test_the_peak_is_the_largest_batch() -> None:
    """A token holds the room for queries, keys and values (6 + 2·3 numbers, more than the MLP's 8
    here), the stream, queries and z (4 + 2·6); a read position its stream and twice its logits."""
    whole = cost(forward(CLEAN, metrics=(GAP,)), sizes(plan()))
    assert whole.peak == 4 * 30 * 28
    every = cost(Forward("f", CLEAN, metrics=(LOSS,), batch=2), sizes(plan()))
    assert every.peak == 4 * 12 * max(28, 4 + 2 * 10)
    task = sweep(at("head", 1), packing=replace(WHOLE, tokens=18))
    assert cost(task, sizes(plan(task))).peak == 4 * 18 * 28
