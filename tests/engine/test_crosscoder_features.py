"""Features and errors of crosscoders as units, against passes by hand: f and x are read of all
places of the run as it is, and every place becomes x + (v - f) d, d its part of a decoder row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.engine.forwards import run_forward
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import Result, State
from interp_dsl.models.load import load
from interp_dsl.plan.algebra import Constant, FromRun, Mean, Source, Zero
from interp_dsl.plan.dictionaries import Fitted
from interp_dsl.plan.places import ALL, Positions, Site, Target, Unit
from interp_dsl.plan.tasks import Forward
from tests.circuits.models import executor_of
from tests.models.checkpoints import tiny

from .plans import CLEAN, CORRUPT, END, GAP, folder_in
from .test_features import DATA, EVERY, LABELLED
from .test_live_features import TOKENS, _flat, _put, _swept
from .test_transcoder_features import _patched
from .tiny import Tiny

PLACES = (Target(Site("neuron", 0)), Target(Site("z", 1), 1), Target(Site("resid_post", 1)))
WIDTHS = [12, 4, 8]
FITTED = Fitted("", PLACES[0], "topk", (), others=PLACES[1:])


def _dictionary(d: int) -> Dictionary:
    generator = torch.Generator().manual_seed(7)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    held = {"W_enc": drawn(d, 6), "W_dec": drawn(6, d), "b_enc": drawn(6), "b_dec": drawn(d)}
    return Dictionary("topk", held, 4)


SAE = _dictionary(sum(WIDTHS))


def _state(path: Path) -> State:
    state = State(0)
    state.models["m"], state.data["d"] = Tiny(), DATA
    state.results["sae"] = Result([], {k: v.numpy() for k, v in SAE.saved().items()})
    sites = tuple(t.site for t in PLACES)
    for run in (CLEAN, CORRUPT):
        run_forward(Forward("f", run, sites), (), state, Report(folder_in(path), "t"))
    return state


def _there(side: str) -> tuple[Tensor, Tensor, Tensor]:
    """Features, error and activations in a run as it is."""
    found: dict[Site, Tensor] = {}

    def kept(site: Site, x: Tensor) -> Tensor:
        found[site] = x
        return x

    Tiny().run(TOKENS[side], kept)
    x = torch.cat([_flat(found[t.site], t).float() for t in PLACES], -1)
    f = SAE.encode(x)
    return f, x - SAE.decode(f), x


def _by_hand(added: Tensor, at: list[list[int]]) -> Tensor:
    """The logits where the three places are so much [n, T, 24] more than in the run as it is, at
    these positions."""
    new = (_there("clean")[2] + added).split(WIDTHS, -1)

    def change(site: Site, x: Tensor) -> Tensor:
        for place, part in zip(PLACES, new, strict=True):
            if place.site == site:
                held = _flat(x, place).clone()
                for row, positions in enumerate(at):
                    held[row, positions] = part[row, positions].to(x.dtype)
                x = _put(x, place, held)
        return x

    return Tiny().run(TOKENS["clean"], change)


def _unit(*numbers: int, at: Positions = ALL) -> Unit:
    return Unit(tuple(Target(FITTED.features("sae"), n, at) for n in numbers))


def test_a_feature_changes_every_place_that_it_writes_to(tmp_path: Path) -> None:
    state, (f, _, _), (theirs, _, _) = _state(tmp_path), _there("clean"), _there("corrupt")
    label = Positions("label", label="S")
    units = (_unit(0), _unit(3, at=label), _unit(1, 4), _unit(5, at=END), _unit(2, 5, at=label))
    meant = [((0,), EVERY), ((3,), LABELLED), ((1, 4), EVERY), ((5,), [[5]] * 4)]
    meant.append(((2, 5), LABELLED))
    sources: tuple[tuple[Source, Tensor], ...] = (
        (Zero(), 0 * f),
        (Constant(3.0), 0 * f + 3),
        (FromRun(CORRUPT), theirs),
        (Mean(CORRUPT, "all"), theirs.mean((0, 1)).expand_as(f)),
    )
    plain = _by_hand(torch.zeros(4, 6, 24), [])
    for source, to in sources:
        found = _patched(state, units, source)
        for got, (numbers, at) in zip(found, meant, strict=True):
            some = list(numbers)
            change = (to - f)[..., some] @ SAE.tensors["W_dec"][some]
            np.testing.assert_allclose(got, _by_hand(change, at), atol=5e-5)
        assert ((found - plain).abs().amax((1, 2, 3)) > 1e-3).sum() >= 2


def test_its_error_is_that_of_all_places(tmp_path: Path) -> None:
    state, (_, e, _), (_, theirs, _) = _state(tmp_path), _there("clean"), _there("corrupt")
    error = FITTED.errors("sae")
    units = (Unit((Target(error),)), Unit((Target(error, None, END),)))
    for source, to in ((Zero(), 0 * e), (FromRun(CORRUPT), theirs)):
        found = _patched(state, units, source)
        for got, at in zip(found, (EVERY, [[5]] * 4), strict=True):
            np.testing.assert_allclose(got, _by_hand(to - e, at), atol=5e-5)
        assert (found[0] - found[1]).abs().max() > 1e-3


def test_all_features_and_the_error_are_the_places_themselves(tmp_path: Path) -> None:
    """Set to what they are in another run, at once; a token's feature beside all of another's."""
    state, (f, _, x), (_, _, other) = _state(tmp_path), _there("clean"), _there("corrupt")
    error = Target(FITTED.errors("sae"))
    whole = Unit((*_unit(*range(6)).targets, error))
    mixed = Unit((*_unit(0, at=END).targets, *_unit(3).targets))
    (found,) = _patched(state, (whole,), FromRun(CORRUPT))
    np.testing.assert_allclose(found, _by_hand(other - x, EVERY), atol=5e-5)
    (found,) = _patched(state, (mixed,), Zero())
    change = -f[..., [3]] @ SAE.tensors["W_dec"][[3]]
    change[:, 5] -= f[:, 5, [0]] @ SAE.tensors["W_dec"][[0]]
    np.testing.assert_allclose(found, _by_hand(change, EVERY), atol=5e-5)


@pytest.mark.parametrize("places", [("resid_pre", "resid_post"), ("resid_mid", "mlp_out")])
def test_both_executors_say_the_same_wherever_a_pass_starts(
    tmp_path: Path, places: tuple[str, str]
) -> None:
    first, second = (Target(Site(kind, layer)) for layer, kind in enumerate(places))
    for others in ((second,), (Target(Site(places[1], 0)),)):
        fitted = Fitted("", first, "topk", (), others=others)
        units = (
            *(Unit((Target(fitted.features("sae"), n),)) for n in range(6)),
            Unit((Target(fitted.features("sae"), 2, END),)),
            Unit((Target(fitted.errors("sae"), None, END),)),
        )
        found = []
        hooked = {"kind": "checkpoint", "folder": str(tiny("gpt2"))}
        for model in (executor_of("gpt2"), load(hooked, "cpu", executor="hooked")):
            state, report = State(0), Report(folder_in(tmp_path / model.name), "t")
            state.models["m"], state.data["d"] = model, DATA
            sae = _dictionary(2 * model.facts.shape.d_model)
            state.results["sae"] = Result([], {k: v.numpy() for k, v in sae.saved().items()})
            sites = (first.site, others[0].site)
            parts = ("resid_pre", "keys", "queries", "z") if model.name == "compiled" else ()
            run_forward(Forward("f", CLEAN, sites, (GAP,), remembers=parts), (), state, report)
            ways = [{}, {"late": True, "trims": True, "narrow": True}][: 1 + bool(parts)]
            found += [_swept(state, report, CLEAN, units, Zero(), **way) for way in ways]
        plain, late, theirs = found
        np.testing.assert_allclose(late, plain, atol=1e-5)
        np.testing.assert_allclose(theirs, plain, atol=2e-4)
        assert (plain - plain.mean(0)).abs().max() > 1e-3
