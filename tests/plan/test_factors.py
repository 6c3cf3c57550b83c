"""What factoring costs, as far as the text knows."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.plan.algebra import Metric, MetricCall, Run
from interp_dsl.plan.factors import depth, factor_cost, factor_plain, is_wide
from interp_dsl.plan.places import Site, Target
from interp_dsl.plan.sizes import sizes
from interp_dsl.plan.tasks import BuildData, DataSize, Factor, LoadModel, ModelSize, Plan, Task

MODEL = ModelSize(n_layers=2, n_heads=2, n_kv_heads=2, d_model=8, d_head=4, d_mlp=12, d_vocab=11)
RUN = Run("model:m", "data:d", "clean")
ACCURACY = (Metric("accuracy", MetricCall("accuracy")),)


def task(*sites: Site, **options: int) -> Factor:
    targets = tuple(Target(site) for site in sites)
    found = tuple(sorted(options.items()))
    return Factor("factor:b", "b", RUN, targets, "interaction_basis", found, ACCURACY, RUN)


def plan(step: Factor, width: int | None = 6) -> Plan:
    size = None if width is None else DataSize(10, width)
    tasks: list[Task] = [
        LoadModel("model:m", "m", {"kind": "bundled", "name": "m"}, size=MODEL),
        BuildData("data:d", "d", {"kind": "prompts"}, size=size),
        step,
    ]
    return Plan(tuple(tasks))


def test_depths_rise_along_the_stream() -> None:
    sites = [Site("resid_pre", 0), Site("resid_mid", 0), Site("resid_post", 0)]
    sites += [Site("resid_pre", 1), Site("resid_mid", 1), Site("resid_post", 1), Site("logits")]
    assert [depth(site, 2) for site in sites] == [0, 1, 2, 2, 3, 4, 5]
    assert [is_wide(at, 2) for at in range(6)] == [True, True, True, False, False, False]


def test_slopes_by_hand_of_the_unembedding() -> None:
    """A pass, and twice a pass and its slopes of each of 11 logits, which multiply as much again
    twice."""
    step = task(Site("resid_post", 1), Site("logits"), examples=0)
    found = factor_cost(step, sizes(plan(step)))
    assert found.flops == 10 * (2 * 8 * 11) * (1 + 2 * 2 * 11)
    assert found.bytes == 8 * 10 * 8 and found.is_bound


def test_ablations_and_layers_add_to_it() -> None:
    last = task(Site("resid_post", 1), Site("logits"), examples=0)
    ablated = task(Site("resid_post", 1), Site("logits"), examples=4)
    longer = task(Site("resid_mid", 1), Site("resid_post", 1), Site("logits"), examples=4)
    costs = [factor_cost(step, sizes(plan(step))) for step in (last, ablated, longer)]
    flops = [cost.flops or 0 for cost in costs]
    assert flops[0] < flops[1] < flops[2]
    loop = factor_plain(longer, sizes(plan(longer)))
    assert (loop.flops or 0) > flops[2]


def test_metrics_that_read_everywhere_leave_all_positions_to_slopes() -> None:
    """Behind the last attention, too: 6 positions for one, but for what few sources ask of them."""
    sites = (Site("resid_mid", 1), Site("resid_post", 1))
    assert is_wide(4, 2, everywhere=True) and not is_wide(5, 2, everywhere=True)
    few = task(*sites, examples=0)
    loss = (Metric("loss", MetricCall("loss")),)
    every = replace(few, metrics=loss)
    sourced = replace(task(*sites, examples=0, sources=2), metrics=loss)
    costs = [factor_cost(step, sizes(plan(step))) for step in (few, every, sourced)]
    assert costs[1].bytes == 6 * (costs[0].bytes or 0)
    mlp = 10 * 2 * 2 * 8 * 12
    assert [cost.flops for cost in costs] == [
        mlp * (1 + 4 * 8),
        6 * mlp * (1 + 4 * 8 * 6),
        6 * mlp * (1 + 4 * 8 * 2),
    ]


def test_data_that_is_not_at_hand_leaves_it_open() -> None:
    step = task(Site("resid_post", 1), Site("logits"), examples=0)
    assert factor_cost(step, sizes(plan(step, None))).flops is None
    assert factor_plain(step, sizes(plan(step, None))).flops is None
