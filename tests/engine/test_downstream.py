"""End to end with the streams behind (e2e+ds, Braun et al. 2024): value and gradients are those of
autograd through a plain run of the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.check import check_source, plan_experiment
from interp_dsl.language.source import Source
from interp_dsl.plan.dictionaries import Fit
from interp_dsl.plan.places import Site, Target

from .test_fit import _fit, _one, _text
from .test_fit_through import _through
from .tiny import Tiny

MID, BEHIND, WEIGHT = Target(Site("resid_mid", 0)), Site("resid_pre", 1), 3.0
RELU = replace(
    _one(
        "relu", MID, l1=0.05, norm="weighted", lr=1e-4, clip=0.0, warmup=0.0, decay=0.0,
        sparsity_warmup=0.0, bias="mean", downstream=WEIGHT,
    ),
    downstream=(BEHIND,),
)  # fmt: skip


def _parts(examples: Tensor, rebuilt) -> tuple[Tensor, Tensor]:
    """The divergence, and the squared error in the stream that the last layer reads."""
    model, tokens = Tiny(), torch.from_numpy(_text().sides["text"].tokens)[examples]
    kept, seen = tokens != 0, []

    def plain(site: Site, x: Tensor) -> Tensor:
        if site == BEHIND:
            seen.append(x[:, :, 0][kept].float())
        return x

    def change(site: Site, x: Tensor) -> Tensor:
        if site == MID.site:
            x = x.index_put((kept,), rebuilt(x[:, :, 0][kept].float()).to(x.dtype)[:, None])
        return plain(site, x)

    clean = model.run(tokens, plain).log_softmax(-1)[:, :-1]
    log = model.run(tokens, change).log_softmax(-1)[:, :-1]
    kl = (clean.exp() * (clean - log)).sum(-1)[kept[:, 1:]].mean()
    return kl, (seen[1] - seen[0]).square().mean()


def test_loss_and_step_are_autograds(tmp_path: Path) -> None:
    """With a rate so small that a step is linear, each parameter of a one-step fit moves by lr
    against the sign of autograd's gradient."""
    still = replace(RELU, options=tuple((k, 0.0 if k == "lr" else v) for k, v in RELU.options))
    moved = _fit(_through(RELU, tokens=8), tmp_path / "a")
    start = _fit(_through(still, tokens=8), tmp_path / "b")
    scale = start.step_facts("sae")["dictionaries"][0]["scale"]
    p = {k: torch.from_numpy(v).requires_grad_() for k, v in start.read_tensors("sae").items()}
    penalties = []

    def rebuilt(x: Tensor) -> Tensor:
        f = ((x - p["b_dec"]) @ p["W_enc"] + p["b_enc"]).relu()
        penalties.append(0.05 * scale * (f * p["W_dec"].norm(dim=1)).sum(1).mean())
        return f @ p["W_dec"] + p["b_dec"]

    examples = torch.from_numpy(np.random.default_rng((0, 0, 0)).permutation(30)[:1])
    kl, error = _parts(examples, rebuilt)
    row = start.read_table("sae").row(0, named=True)
    value = kl.item() + WEIGHT * error.item()
    assert row["loss"] - row["penalty"] == pytest.approx(value, rel=1e-4)
    assert WEIGHT * error.item() > 0.05 * value  # it counts
    (kl + WEIGHT * error + penalties[0]).backward()
    units = {"W_enc": 1.0, "W_dec": 1.0, "b_enc": 1 / scale, "b_dec": 1 / scale}
    for name, held in p.items():
        assert held.grad is not None
        steps = (moved.read_tensors("sae")[name] - held.detach().numpy()) / (1e-4 * units[name])
        large = held.grad.abs() > 1e-2 * held.grad.abs().max()
        assert int(large.sum()) >= 8
        np.testing.assert_allclose(
            steps[large.numpy()], -held.grad[large].sign().numpy(), atol=0.02, err_msg=name
        )


HEAD = """model m = bundled("ioi-3l")
dataset text = task("ioi-3l", n=64)
"""


def _fitted(place: str, options: str = "objective=kl, downstream=2") -> Any:
    """The streams behind a place that count, or the codes of what is wrong."""
    line = f"fit topk(width=64, k=4, {options}) on {place} of text.clean until tokens=9k"
    found = check_source(Source(f"{HEAD}step sae = {line}\n"))
    if found.experiment is None:
        return [d.code for d in found.diagnostics]
    (fit,) = (t for t in plan_experiment(found.experiment, "cpu").tasks if isinstance(t, Fit))
    return fit.downstream


@pytest.mark.parametrize(
    ("place", "layers"),
    [
        ("L0.resid_pre", (1, 2)),
        ("L0.resid_mid", (1, 2)),
        ("L0H1", (1, 2)),
        ("L0.resid_post", (2,)),
        ("L1.resid_mid", (2,)),
    ],
)
def test_the_streams_that_later_layers_read(place: str, layers: tuple[int, ...]) -> None:
    assert _fitted(place) == tuple(Site("resid_pre", layer) for layer in layers)


def test_where_nothing_is_behind_it_is_refused() -> None:
    assert _fitted("L2.resid_mid") == ["E306"]
    assert _fitted("L1.resid_post") == ["E306"]
    assert _fitted("L0.resid_mid", "downstream=2") == ["E306"]
    assert _fitted("L0.resid_mid", "objective=kl, downstream=-1") == ["E302"]
    assert _fitted("L2.resid_mid", "objective=kl") == ()
