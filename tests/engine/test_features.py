"""Features changed as units, against a plain pass in which x becomes x + (v - f) d."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.engine.edits import Editor
from interp_dsl.engine.forwards import run_forward
from interp_dsl.engine.packed import Packed
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import Result, State
from interp_dsl.plan.algebra import Constant, Explicit, FromRun, Intervention, Source, Zero
from interp_dsl.plan.dictionaries import Fitted
from interp_dsl.plan.places import ALL, Positions, Site, Target, Unit
from interp_dsl.plan.tasks import Forward

from .plans import CLEAN, CORRUPT, END, folder_in
from .test_judge import HEAD, NEURONS, STREAM, WIDTHS
from .tiny import Tiny, pairs

DATA = pairs(n=4)
LAST = Target(Site("resid_post", 1))


def _dictionary(target: Target) -> Dictionary:
    generator, d = torch.Generator().manual_seed(2), WIDTHS.get(target, 8)
    decoder = torch.randn(6, d, generator=generator)
    bias = torch.randn(6, generator=generator)
    tensors = {"W_enc": decoder.T.contiguous(), "W_dec": decoder, "b_enc": bias}
    return Dictionary("topk", {**tensors, "b_dec": torch.full((d,), 0.1)}, 4)


def _logits(path: Path, target: Target, units: tuple[Unit, ...], source: Source) -> Tensor:
    """The logits [units, n, T, V] of the clean side, each unit set in turn."""
    state = State(0)
    state.models["m"], state.data["d"] = Tiny(), DATA
    tensors = {f"k=4/{k}": v.numpy() for k, v in _dictionary(target).saved().items()}
    state.results["sae"] = Result([], tensors)
    report = Report(folder_in(path), "t")
    for run in (CLEAN, CORRUPT):
        run_forward(Forward("f", run, (target.site,)), (), state, report)
    editor = Editor(Intervention(Explicit(units), source), CLEAN, state)
    editor.check(units)
    batch = Packed.stretch(units, DATA.n, 0, len(units) * DATA.n)
    tokens = torch.from_numpy(DATA.sides["clean"].tokens)[batch.examples]
    found = Tiny().forward(tokens, None, editor.edits(batch, tokens.shape[1]))
    return found.logits.view(len(units), DATA.n, *found.logits.shape[1:])


def _flat(x: Tensor, target: Target) -> Tensor:
    return x.flatten(2) if target.index is None else x[:, :, target.index]


def _plain(
    target: Target, numbers: tuple[int, ...], value: Callable[[Tensor], Tensor], at: list[list[int]]
) -> Tensor:
    """The same by hand: `value` makes of the activations [n, T, d] what features are set to."""
    sae = _dictionary(target)

    def change(site: Site, x: Tensor) -> Tensor:
        if site != target.site:
            return x
        flat = _flat(x, target).float()
        f, v, new = sae.encode(flat), value(flat), flat.clone()
        for row, positions in enumerate(at):
            for p in positions:
                for i in numbers:
                    new[row, p] += (v[row, p, i] - f[row, p, i]) * sae.tensors["W_dec"][i]
        if target.index is None:
            return new.view(x.shape).to(x.dtype)
        x = x.clone()
        x[:, :, target.index] = new.to(x.dtype)
        return x

    return Tiny().run(torch.from_numpy(DATA.sides["clean"].tokens), change)


def _corrupt(target: Target) -> Callable[[Tensor], Tensor]:
    tokens = torch.from_numpy(DATA.sides["corrupt"].tokens)
    x = Tiny().forward(tokens, None, sites=(target.site,)).sites[target.site]
    return lambda _: _dictionary(target).encode(_flat(x, target).float())


EVERY = [[*range(6)]] * 4
LABELLED = [[*range(*span)] for span in DATA.sides["clean"].labels["S"].tolist()]


@pytest.mark.parametrize("target", [NEURONS, STREAM, HEAD, LAST], ids=lambda t: t.place)
def test_features_are_set_one_at_a_time_and_together(tmp_path: Path, target: Target) -> None:
    site = Fitted("k=4", target, "topk", ()).features("sae")
    label = Positions("label", label="S")

    def unit(*numbers: int, at: Positions = ALL) -> Unit:
        return Unit(tuple(Target(site, n, at) for n in numbers))

    units = (unit(0), unit(3, at=label), unit(1, 4), unit(5, at=END), unit(2, 5, at=label))
    meant = [((0,), EVERY), ((3,), LABELLED), ((1, 4), EVERY), ((5,), [[5]] * 4)]
    meant.append(((2, 5), LABELLED))
    sources: list[tuple[Source, Callable[[Tensor], Tensor]]] = [
        (Zero(), lambda x: torch.zeros(*x.shape[:2], 6)),
        (Constant(3.0), lambda x: torch.full((*x.shape[:2], 6), 3.0)),
        (FromRun(CORRUPT), _corrupt(target)),
    ]
    for number, (source, value) in enumerate(sources):
        found = _logits(tmp_path / str(number), target, units, source)
        for got, (numbers, at) in zip(found, meant, strict=True):
            wanted = _plain(target, numbers, value, at)
            np.testing.assert_allclose(got, wanted, atol=2e-5, err_msg=f"{source} {numbers}")
        plain = Tiny().run(torch.from_numpy(DATA.sides["clean"].tokens), lambda s, x: x)
        moved = (found - plain).abs().amax((1, 2, 3))
        assert (moved > 1e-3).sum() >= 3  # a feature that is off has nothing to lose


def test_in_a_linear_read_out_logits_move_by_the_features_own_logits(tmp_path: Path) -> None:
    """Behind the last layer: pinned to c, a feature moves logits by (c - f) W_U' d exactly."""
    site = Fitted("k=4", LAST, "topk", ()).features("sae")
    found = _logits(tmp_path, LAST, (Unit((Target(site, 1),)),), Constant(5.0))[0]
    model, sae = Tiny(), _dictionary(LAST)
    tokens = torch.from_numpy(DATA.sides["clean"].tokens)
    seen = model.forward(tokens, None, sites=(LAST.site,))
    f = sae.encode(seen.sites[LAST.site][:, :, 0].float())[..., 1]
    moved = (5.0 - f)[..., None] * (sae.tensors["W_dec"][1] @ model.unembed.float())
    np.testing.assert_allclose(found - seen.logits, moved, atol=1e-4)
