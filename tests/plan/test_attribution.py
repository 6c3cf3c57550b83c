"""What estimates of effects cost, what decides their results, and how a plan tells of them."""

from __future__ import annotations

import pytest

from interp_dsl.check import check_source, plan_experiment
from interp_dsl.engine.keys import step_key
from interp_dsl.language.source import Source
from interp_dsl.plan.cost import Cost
from interp_dsl.plan.explain import explain
from interp_dsl.plan.sizes import sizes
from interp_dsl.plan.slopes import attribution_cost, attribution_plain
from interp_dsl.plan.tasks import Attribution, LoadModel, Plan

HEAD = """model m = bundled("induction-2l")
dataset pairs = repeated_tokens(pairs=16, half=8)
metric gap = logit_diff()
"""


def planned(what: str, clauses: str = "from pairs.corrupt into pairs.clean measure gap") -> Plan:
    found = check_source(Source(f"{HEAD}step who = attribute {what} {clauses}\n"))
    assert found.experiment is not None, found.diagnostics
    return plan_experiment(found.experiment)


def task(plan: Plan) -> Attribution:
    (found,) = (t for t in plan.tasks if isinstance(t, Attribution))
    return found


def cost(what: str, clauses: str = "from pairs.corrupt into pairs.clean measure gap") -> Cost:
    plan = planned(what, clauses)
    return attribution_cost(task(plan), sizes(plan))


def passes(what: str) -> int:
    """Of all examples, without the one that shows what is changed, or the two of edges."""
    found, base = cost(what).passes, 2 if what.startswith("edges") else 1
    assert found is not None and found % 16 == 0
    return found // 16 - base


@pytest.mark.parametrize(
    ("what", "slopes"),
    [
        ("heads by atp()", 1),
        ("heads | queries by atp()", 1),
        ("heads by ig(steps=7)", 7),
        ("heads by ig(steps=7, at=site)", 14),
        ("heads | keys by ig(steps=7, at=site)", 28),
        ("heads by atp_star()", 2),
        ("heads by atp_star(grad_drop=false)", 1),
        ("heads by hisp()", 1),
        ("edges by eap()", 1),
        ("edges by clean_corrupt()", 2),
        ("edges by eap_ig(steps=7)", 7),
        ("edges by eap_ig(steps=7, at=activations)", 21),
        ("heads by atp(verify=top(3))", 4),
        ("edges(split_qkv=false) by eap()", 1),
    ],
)
def test_how_many_passes_estimates_take(what: str, slopes: int) -> None:
    assert passes(what) == slopes


def test_units_cost_nothing_and_metrics_do() -> None:
    one = cost("heads by atp()")
    assert cost("heads at each by atp()") == one
    two = cost("heads by atp()", "from pairs.corrupt into pairs.clean measure gap, logprob()")
    assert one.flops and two.flops and two.passes and one.passes
    assert two.passes - one.passes == 16 and two.flops > 1.7 * one.flops


def test_a_loop_over_all_units_costs_more() -> None:
    plan = planned("edges by eap()")
    known = sizes(plan)
    ours, loop = attribution_cost(task(plan), known), attribution_plain(task(plan), known)
    assert loop.passes == 16 * (81 + 1 + 1)
    assert ours.flops and loop.flops and loop.flops > 10 * ours.flops


def key(plan: Plan) -> str:
    found = task(plan)
    return step_key(found, 0, {found.variant.into.model: "m", found.variant.into.data: "d"}, {})


def test_a_key_is_of_what_decides_the_result() -> None:
    first = key(planned("heads by ig()"))
    assert first == key(planned("heads by ig(steps=5, at=inputs, rule=right)"))
    others = ("ig(steps=6)", "ig(at=site)", "ig(rule=midpoint)", "ig(verify=top(2))", "atp()")
    keys = [first, *(key(planned(f"heads by {other}")) for other in others)]
    keys += [key(planned("queries by ig()")), key(planned("edges by eap_ig()"))]
    assert len(set(keys)) == len(keys)


def test_a_plan_tells_of_estimates() -> None:
    told = explain(planned("heads by ig(verify=top(3))"))
    assert "step who: 8 units, estimated by ig(at=inputs, rule=right, steps=5)" in told
    assert "the 3 largest are measured by real patches" in told
    assert "step who: 81 edges, estimated by eap()" in explain(planned("edges by eap()"))


def test_a_hook_asks_for_the_hooks() -> None:
    plan = planned('"blocks.1.attn.hook_z" by atp()')
    (model,) = (t for t in plan.tasks if isinstance(t, LoadModel))
    assert model.spec["executor"] == "hooked"
