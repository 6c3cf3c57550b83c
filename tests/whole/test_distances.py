"""How far places move, from the text to the table, against hooks over TransformerLens's bridge, one
change at a time: on both executors, with all passes and with none."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.check import check_source
from interp_dsl.check.lower import lower
from interp_dsl.data.build import build
from interp_dsl.data.positions import resolve
from interp_dsl.data.types import Data
from interp_dsl.language.source import Source
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.hooked import HookedExecutor
from interp_dsl.plan.passes import PASSES, optimise
from interp_dsl.plan.places import Positions
from interp_dsl.plan.tasks import BuildData, Plan
from tests.devices import here
from tests.whole.test_optimised import NAMES, PRELUDE, executors, plain, table

LAYERS = 3
FAMILIES = ("gpt2", "gpt_neox")  # one behind the other, and in parallel
HEAD = PRELUDE.format(seed=1, names=NAMES, places='["store", "park"]')
METRICS = """
metric before = distance(L1.resid_pre)
metric attended = distance(L1.attn_out)
metric written = distance(L1.mlp)
metric behind = distance(L1.resid_post)
metric end = distance(L2.resid_post)
metric early = distance(L1.resid_post) at S2
metric whole = distance()
"""
MEASURED: dict[str, tuple[str, str]] = {
    "before": ("blocks.1.hook_resid_pre", "END"),
    "attended": ("blocks.1.hook_attn_out", "END"),
    "written": ("blocks.1.hook_mlp_out", "END"),
    "behind": ("blocks.1.hook_resid_post", "END"),
    "end": ("blocks.2.hook_resid_post", "END"),
    "early": ("blocks.1.hook_resid_post", "S2"),
    "whole": ("blocks.2.hook_resid_post", "END"),
}
CHANGED = {"resid_pre": "hook_resid_pre", "mlp": "hook_mlp_out", "attn_out": "hook_attn_out"}
LENGTHS = (0.5, 3.0)


@cache
def planned(name: str, step: str) -> tuple[Plan, HookedExecutor, CompiledExecutor, Data]:
    folder, hooked, compiled = executors(name, LAYERS, here())
    assert isinstance(hooked, HookedExecutor) and isinstance(compiled, CompiledExecutor)
    text = f'model m = checkpoint("{folder}")' + HEAD + METRICS + step
    checked = check_source(Source(text), allow=[folder])
    assert checked.experiment is not None, checked.diagnostics
    plan = lower(checked.experiment)
    (data,) = (t for t in plan.tasks if isinstance(t, BuildData))
    return plan, hooked, compiled, build("ioi", data.spec, hooked.facts)


def passed(
    model: HookedExecutor, tokens: np.ndarray[Any, Any], hooks: dict[str, Callable[..., Any]]
) -> dict[str, Tensor]:
    """The tensors [n, T, d_model] of all hooks that are changed or measured."""
    hooked = (*CHANGED.values(), "hook_resid_post")
    names = {f"blocks.{layer}.{hook}" for layer in range(LAYERS) for hook in hooked}
    kept: dict[str, Tensor] = {}

    def keep(name: str, x: Tensor, hook: Any) -> None:
        kept[name] = x.as_subclass(Tensor).detach().cpu()

    on_device = torch.from_numpy(tokens).to(model.device)
    every = [*hooks.items(), *((name, partial(keep, name)) for name in sorted(names))]
    with torch.no_grad():
        model.bridge.run_with_hooks(on_device, fwd_hooks=every)
    return kept


def place(data: Data, label: str) -> Tensor:
    index, valid = resolve(Positions("label", label=label, pick="last"), data.sides["clean"])
    assert valid.all() and index.shape[1] == 1
    return torch.from_numpy(index[:, 0])


def moved(
    model: HookedExecutor,
    data: Data,
    hook: str,
    at: str,
    value: Callable[[dict[str, Tensor], dict[str, Tensor]], Tensor],
) -> dict[str, float]:
    """The mean distances once a hook's tensor is `value` of the clean and the corrupt run, at a
    labelled token."""
    clean = passed(model, data.sides["clean"].tokens, {})
    corrupt = passed(model, data.sides["corrupt"].tokens, {})
    rows, to = torch.arange(data.n), value(clean, corrupt)

    def change(x: Tensor, hook: Any) -> Tensor:
        x = x.clone()
        x[rows, place(data, at)] = to[rows, place(data, at)].to(x.device)
        return x

    after = passed(model, data.sides["clean"].tokens, {hook: change})
    found = {}
    for metric, (name, where) in MEASURED.items():
        apart = (after[name] - clean[name])[rows, place(data, where)]
        found[metric] = float(apart.norm(dim=1).mean())
    return found


def tables(
    plan: Plan, hooked: HookedExecutor, compiled: CompiledExecutor, folder: Path
) -> list[list[dict[str, Any]]]:
    """A step's rows by every executor, optimised and not."""
    found = []
    for number, (executor, one) in enumerate(
        (e, p) for e in (hooked, compiled) for p in (plain(plan), optimise(plan))
    ):
        rows = table(one, executor, folder / str(number))
        assert not isinstance(rows, tuple), rows
        found.append(rows.to_dicts())
    return found


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("family", CHANGED)
@pytest.mark.parametrize("name", FAMILIES)
def test_patched(name: str, family: str, tmp_path: Path) -> None:
    units = "mlps" if family == "mlp" else family
    step = f"step who = patch {units} from ioi.corrupt into ioi.clean at S2.last, END measure "
    plan, hooked, compiled, data = planned(name, step + ", ".join(MEASURED))
    by_hand = {
        (layer, at): moved(hooked, data, hook, at, lambda _, corrupt, hook=hook: corrupt[hook])
        for layer in range(LAYERS)
        for at in ("S2", "END")
        for hook in (f"blocks.{layer}.{CHANGED[family]}",)
    }
    seen: set[tuple[str, bool]] = set()
    for rows in tables(plan, hooked, compiled, tmp_path):
        assert len(rows) == LAYERS * 2 * len(MEASURED)
        for row in rows:
            at = row["position"].removesuffix(".last")
            expected = by_hand[row["layer"], at][row["metric"]]
            assert row["value"] == pytest.approx(expected, rel=1e-3, abs=2e-5), row
            assert row["base"] == 0 and row["normalized"] is None
            seen.add((row["metric"], expected > 1e-4))
    # A parallel model's first MLP sees its own token alone, which is the same on both sides.
    same = {"before"} if hooked.facts.shape.parallel and family == "mlp" else set()
    assert {metric for metric, moves in seen if moves} == {*MEASURED} - same
    assert (("before", False) in seen) and (("early", False) in seen)


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("name", FAMILIES)
def test_moved_along_a_direction(name: str, tmp_path: Path) -> None:
    """`r` is the difference of the two sides' means behind layer 0 at S2."""
    step = (
        "step who = perturb L0.resid_post of ioi.clean at S2.last along r by 0.5, 3 measure "
        + ", ".join(MEASURED)
    )
    plan, hooked, compiled, data = planned(name, step)
    hook, rows, means = "blocks.0.hook_resid_post", torch.arange(data.n)[:, None], []
    for side in ("clean", "corrupt"):
        index, valid = resolve(Positions("label", label="S2"), data.sides[side])
        assert valid.all()
        x = passed(hooked, data.sides[side].tokens, {})[hook]
        means.append(x[rows, torch.from_numpy(index)].flatten(0, 1).mean(0))
    direction = (means[0] - means[1]) / (means[0] - means[1]).norm()
    by_hand = {
        n: moved(hooked, data, hook, "S2", lambda clean, _, n=n: clean[hook] + n * direction)
        for n in LENGTHS
    }
    for found in tables(plan, hooked, compiled, tmp_path):
        points = [row for row in found if row["length"] in LENGTHS]
        assert len(points) == len(LENGTHS) * len(MEASURED)
        for row in points:
            expected = by_hand[row["length"]][row["metric"]]
            assert row["value"] == pytest.approx(expected, rel=1e-3, abs=2e-5), row
    assert by_hand[3.0]["early"] > 1 and by_hand[3.0]["before"] == 0 < by_hand[3.0]["end"]


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("measured", ["behind", "behind, whole", "early, loss()", "end, gap, kl()"])
@pytest.mark.parametrize(
    "step",
    [
        "patch resid_pre from ioi.corrupt into ioi.clean at S2.last, END measure",
        "patch {L0H1, L1H2.k, L2.mlp} from 0.3 into ioi.clean at S2 under cut measure",
        "ablate pairs({L0H0, L1H1, L1.mlp}) with zero on ioi.clean at S1.last measure",
    ],
)
def test_any_pass_may_be_left_out(step: str, measured: str, tmp_path: Path) -> None:
    plan, hooked, compiled, _ = planned("gpt2", f"step who = {step} {measured}")
    reference = table(plain(plan), hooked, tmp_path / "plain")
    assert not isinstance(reference, tuple)
    assert float(reference.filter(metric=measured.split(",")[0])["value"].max()) > 1e-2  # type: ignore[arg-type]
    for left_out in (None, *PASSES):
        one = plan
        for a_pass in PASSES:
            one = one if a_pass is left_out else a_pass(one)
        name = left_out.__name__ if left_out else "none"
        found = table(one, compiled, tmp_path / name)
        assert not isinstance(found, tuple)
        assert found.select("unit", "metric").equals(reference.select("unit", "metric"))
        assert (found["value"] - reference["value"]).abs().max() < 5e-5, name  # type: ignore[operator]
