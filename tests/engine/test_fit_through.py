"""Dictionaries fitted end to end: a step is a step of autograd through model and dictionary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.engine.execute import execute
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.dictionaries import Fit, Fitted
from interp_dsl.plan.places import Site
from interp_dsl.plan.tasks import Plan

from .plans import folder_in
from .test_ends import CROSSCODER, TRANSCODER
from .test_fit import STREAM, Small, _fit, _one, _plan, _same, _text
from .test_resume import Dies
from .tiny import Given, Tiny

Tensors = dict[str, Tensor]
RELU = _one("relu", STREAM, l1=0.05, norm="weighted", lr=1e-2, clip=0.0, warmup=0.0, bias="mean")
PLAIN = replace(_one("topk", STREAM, k=3, lr=1e-2), label="k=3")


def _through(*dictionaries: Fitted, objective: str = "kl", tokens: int = 400) -> Plan:
    alone = tuple(
        replace(d, options=tuple((k, 0.0 if k == "alpha" else v) for k, v in d.options))
        for d in dictionaries
    )
    plan = _plan(*alone, tokens=tokens)
    return _changed(plan, objective=objective, inputs=9)


def _changed(plan: Plan, **fields: Any) -> Plan:
    """A plan whose fit has other fields."""
    tasks = (replace(t, **fields) if isinstance(t, Fit) else t for t in plan.tasks)
    return replace(plan, tasks=tuple(tasks))


def _shares(inputs: int, steps: int, passes: int = 1) -> list[list[int]]:
    """The prompts of each step: taken one by one until the tokens of all of them are enough."""
    orders = [np.random.default_rng((0, 0, i)).permutation(30) for i in range(passes)]
    left, taken, shares = iter(np.concatenate(orders).tolist()), 0, []
    for step in range(steps):
        shares.append([])
        while taken < (step + 1) * inputs:
            shares[-1].append(next(left))
            taken += int(_counts()[shares[-1][-1]])
    return shares


def _counts() -> np.ndarray:
    """The tokens of text of each prompt."""
    return (_text().sides["text"].tokens != 0).sum(1)


def _loss(objective: str, examples: Tensor, rebuilt) -> Tensor:
    """Of prompts, with `rebuilt` of the stream's activations of text in their place."""
    model, tokens = Tiny(), torch.from_numpy(_text().sides["text"].tokens)[examples]
    kept = tokens != 0

    def change(site: Site, x: Tensor) -> Tensor:
        if site != STREAM.site:
            return x
        values = rebuilt(x[:, :, 0][kept].float()).to(x.dtype)
        return x.index_put((kept,), values[:, None])

    clean = model.run(tokens, lambda site, x: x).log_softmax(-1)[:, :-1]
    log = model.run(tokens, change).log_softmax(-1)[:, :-1]
    if objective == "kl":
        found = (clean.exp() * (clean - log)).sum(-1)
    else:
        found = -log.gather(2, tokens[:, 1:, None])[..., 0]
    return found[kept[:, 1:]].mean()


@pytest.mark.parametrize("objective", ["kl", "ce"])
def test_the_first_step_is_autograds(tmp_path: Path, objective: str) -> None:
    """Adam's first step moves every parameter by lr against the sign of its gradient, so the loss
    and the parameters after it tell the loss and its gradients."""
    plan = _through(RELU, objective=objective, tokens=18)  # two steps
    folder = _fit(plan, tmp_path)
    held = folder.read_tensors("sae")
    row = folder.read_table("sae").row(0, named=True)
    examples = torch.tensor(_shares(9, 1)[0])
    assert row["tokens"] == int((_text().sides["text"].tokens[examples] != 0).sum())

    # the beginning, by a fit whose rate is 0
    still = replace(RELU, options=tuple((k, 0.0 if k == "lr" else v) for k, v in RELU.options))
    start = _fit(_through(still, objective=objective, tokens=18), tmp_path / "still")
    (about,) = start.step_facts("sae")["dictionaries"]
    scale = about["scale"]
    p = {k: torch.from_numpy(v).requires_grad_() for k, v in start.read_tensors("sae").items()}
    penalties = []

    def rebuilt(x: Tensor) -> Tensor:
        f = ((x - p["b_dec"]) @ p["W_enc"] + p["b_enc"]).relu()
        penalties.append(0.05 * scale * (f * p["W_dec"].norm(dim=1)).sum(1).mean())
        return f @ p["W_dec"] + p["b_dec"]

    value = _loss(objective, examples, rebuilt)
    (penalty,) = penalties
    warmth = min(1.0, 1 / (0.05 * 2)) if RELU.given["sparsity_warmup"] else 1.0
    assert row["loss"] - row["penalty"] == pytest.approx(value.item(), rel=1e-4)
    assert row["penalty"] == pytest.approx(penalty.item() * warmth, rel=1e-4)
    assert value.item() != pytest.approx(row["mse"], rel=0.05)
    assert held["W_dec"].shape == (24, 8)


def _relu(p: Tensors, pre: Tensor) -> Tensor:
    return (pre + p["b_enc"]).relu()


def _weighted(p: Tensors, x: Tensor, f: Tensor, scale: float) -> Tensor:
    return 0.05 * scale * (f * p["W_dec"].norm(dim=1)).sum(1).mean()


def first_step(
    path: Path,
    one: Fitted,
    value_of: Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor],
    encode: Callable[[Tensors, Tensor], Tensor] = _relu,
    rest: Callable[[Tensors, Tensor, Tensor, float], Tensor] = _weighted,
    objective: str = "kl",
) -> None:
    """With a rate so small that a step is linear, each parameter of a one-step fit moves by lr
    against the sign of autograd's gradient, of `value_of` examples with what is rebuilt in place,
    and of the rest of the loss. Decoder rows of length 1 turn as well, and are left out."""
    lr = one.option("lr")
    still = replace(one, options=tuple((k, 0.0 if k == "lr" else v) for k, v in one.options))
    moved = _fit(_through(one, objective=objective, tokens=8), path / "a")
    start = _fit(_through(still, objective=objective, tokens=8), path / "b")
    scale = start.step_facts("sae")["dictionaries"][0]["scale"]
    p = {k: torch.from_numpy(v).requires_grad_() for k, v in start.read_tensors("sae").items()}
    rests = []

    def rebuilt(x: Tensor) -> Tensor:
        f = encode(p, (x - p["b_dec"]) @ p["W_enc"])
        rests.append(rest(p, x, f, scale))
        return f @ p["W_dec"] + p["b_dec"]

    examples = torch.tensor(_shares(9, 1)[0])
    value = value_of(examples, rebuilt)
    row = start.read_table("sae").row(0, named=True)
    assert row["loss"] - row["penalty"] == pytest.approx(value.item(), rel=1e-4)
    assert row["penalty"] == pytest.approx(rests[0].item(), rel=1e-4)
    (value + rests[0]).backward()
    learned = p.keys() - ({"threshold", "W_dec"} if one.architecture != "relu" else set())
    for name in learned:
        held, unit = p[name], 1 / scale if name.startswith("b_") else 1.0
        assert held.grad is not None
        steps = (moved.read_tensors("sae")[name] - held.detach().numpy()) / (lr * unit)
        large = held.grad.abs() > 1e-2 * held.grad.abs().max()
        assert int(large.sum()) >= 8
        np.testing.assert_allclose(
            steps[large.numpy()], -held.grad[large].sign().numpy(), atol=0.02, err_msg=name
        )


def test_a_step_moves_against_the_gradient_of_the_whole(tmp_path: Path) -> None:
    options = {"lr": 1e-4, "decay": 0.0, "sparsity_warmup": 0.0}
    one = replace(RELU, options=tuple((k, options.get(k, v)) for k, v in RELU.options))
    first_step(tmp_path, one, lambda examples, rebuilt: _loss("kl", examples, rebuilt))


SMALL = {"lr": 1e-4, "clip": 0.0, "warmup": 0.0, "decay": 0.0}


@pytest.mark.parametrize("objective", ["kl", "ce"])
def test_a_gates_own_error_counts_beside_the_objective(tmp_path: Path, objective: str) -> None:
    one = _one("gated", STREAM, l1=0.05, sparsity_warmup=0.0, **SMALL)

    def encode(p: Tensors, pre: Tensor) -> Tensor:
        return (pre + p["b_gate"] > 0) * (pre * p["r_mag"].exp() + p["b_mag"]).relu()

    def rest(p: Tensors, x: Tensor, f: Tensor, scale: float) -> Tensor:
        gate = ((x - p["b_dec"]) @ p["W_enc"] + p["b_gate"]).relu()
        off = gate @ p["W_dec"].detach() + p["b_dec"].detach() - x
        return 0.05 * scale * gate.sum(1).mean() + scale**2 * off.square().mean()

    def value(examples: Tensor, rebuilt: Callable[[Tensor], Tensor]) -> Tensor:
        return _loss(objective, examples, rebuilt)

    first_step(tmp_path, one, value, encode, rest, objective)


def test_inner_prefixes_rebuild_beside_the_objective(tmp_path: Path) -> None:
    one = _one("matryoshka", STREAM, k=3, prefixes=(0.25, 0.5, 1.0), **SMALL)

    def encode(p: Tensors, pre: Tensor) -> Tensor:
        pre = pre + p["b_enc"]
        least = pre.flatten().sort(descending=True).values[3 * len(pre) - 1]
        return pre.relu() * (pre >= least)

    def rest(p: Tensors, x: Tensor, f: Tensor, scale: float) -> Tensor:
        errors = [f[:, :n] @ p["W_dec"][:n] + p["b_dec"] - x for n in (6, 12)]
        return scale**2 / 3 * sum(e.square().mean() for e in errors)

    first_step(
        tmp_path, one, lambda examples, rebuilt: _loss("kl", examples, rebuilt), encode, rest
    )


def test_the_objective_falls(tmp_path: Path) -> None:
    folder = _fit(_through(PLAIN, tokens=4000), tmp_path)
    table = folder.read_table("sae")
    ours = (table["loss"] - table["penalty"]).to_list()
    assert np.mean(ours[-40:]) < 0.2 * np.mean(ours[:10])


@pytest.mark.parametrize("after", [3, 20])
@pytest.mark.parametrize(
    "one",
    [RELU, TRANSCODER, CROSSCODER, _one("matryoshka", STREAM, k=3), _one("gated", STREAM, l1=0.1)],
    ids=["relu", "onto", "cross", "matryoshka", "gated"],
)
def test_a_lost_run_goes_on_to_the_same_numbers(tmp_path: Path, one: Fitted, after: int) -> None:
    plan = _through(one, tokens=200)
    whole = _fit(plan, tmp_path / "whole")
    folder = folder_in(tmp_path)
    with pytest.raises(RuntimeError, match="lost"):
        execute(plan, folder, loaders=Given(Dies(after + 30, RuntimeError("lost")), d=_text()))
    execute(plan, folder, loaders=Given(Tiny(), d=_text()))
    _same(whole, folder)


def test_two_together_are_what_each_is_alone(tmp_path: Path) -> None:
    other = replace(PLAIN, label="k=2", options=replace(_one("topk", STREAM, k=2)).options)
    both = _fit(_through(PLAIN, other), tmp_path / "both")
    alone = _fit(_through(replace(PLAIN, label="")), tmp_path / "alone")
    for name, value in alone.read_tensors("sae").items():
        np.testing.assert_array_equal(value, both.read_tensors("sae")[f"k=3/{name}"])


def test_a_step_that_is_too_large_is_said_to_be(tmp_path: Path) -> None:
    plan = _changed(_through(PLAIN), inputs=80)
    with pytest.raises(InterpError) as caught:
        _fit(plan, tmp_path, Small())
    assert caught.value.diagnostics[0].code == "E640"


@pytest.mark.parametrize("tokens", [91, 400])
def test_a_fit_learns_from_as_many_tokens_as_are_asked_for(tmp_path: Path, tokens: int) -> None:
    """And says so everywhere: the steps of the plan, the curve, the progress and the last note."""
    plan = _through(PLAIN, tokens=tokens)
    (task,) = (t for t in plan.tasks if isinstance(t, Fit))
    shares = _shares(9, -(-tokens // 9), passes=4)
    learned = np.cumsum([int(_counts()[share].sum()) for share in shares])
    longest = int(_counts().max())
    assert (task.steps, task.learned) == (len(shares), 9 * len(shares))
    assert tokens <= task.learned <= learned[-1] < task.learned + longest
    assert all(shares) and len({len(share) for share in shares}) > 1

    folder = _fit(plan, tmp_path)
    assert folder.read_table("sae")["tokens"].to_list() == learned.tolist()
    told = [(e["done"], e["total"]) for e in folder.events() if e["event"] == "progress"]
    assert told[-len(learned) :] == [(n, learned[-1]) for n in learned.tolist()]
    notes = [e["text"] for e in folder.events() if e["event"] == "note"]
    assert notes[-1].endswith(f"after {learned[-1]:,} tokens")


def test_a_step_that_holds_no_prompt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InterpError) as caught:
        _fit(_changed(_through(PLAIN), inputs=8), tmp_path)
    (found,) = caught.value.diagnostics
    assert found.code == "E674" and "batch=9" in str(found.help)
