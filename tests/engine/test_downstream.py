"""End to end with the streams behind (e2e+ds, Braun et al. 2024): value and gradients are those of
autograd through a plain run of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from interp_dsl.check import check_source, plan_experiment
from interp_dsl.language.source import Source
from interp_dsl.plan.dictionaries import Fit
from interp_dsl.plan.places import Site, Target

from .test_fit import _one, _text
from .test_fit_through import first_step
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
    shares = []

    def value(examples: Tensor, rebuilt: Callable[[Tensor], Tensor]) -> Tensor:
        kl, error = _parts(examples, rebuilt)
        whole = kl + WEIGHT * error
        shares.append(WEIGHT * error.item() / whole.item())
        return whole

    first_step(tmp_path, RELU, value)
    assert shares[0] > 0.05  # the streams behind count


HEAD = """model m = bundled("ioi-3l")
dataset text = task("ioi-3l", n=64)
"""


def _fitted(place: str, options: str = "objective=kl, downstream=2") -> Any:
    """The streams behind a place that count, or the codes of what is wrong."""
    line = f"fit topk(width=64, k=4, {options}) on {place} of text.clean until tokens=1M"
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
