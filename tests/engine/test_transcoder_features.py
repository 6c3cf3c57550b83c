"""Features and errors of transcoders as units, against passes by hand: y becomes y + Σ (v - f(x)) d
where x is what the transcoder reads, y what it rebuilds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.engine.edits import Editor
from interp_dsl.engine.estimates import unit_estimates
from interp_dsl.engine.forwards import run_forward
from interp_dsl.engine.packed import Packed
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import Result, State
from interp_dsl.models.executor import Executor
from interp_dsl.models.load import load
from interp_dsl.plan.algebra import (
    Constant,
    Explicit,
    FromRun,
    Intervention,
    Mean,
    Run,
    Source,
    Times,
    Zero,
)
from interp_dsl.plan.dictionaries import Fitted
from interp_dsl.plan.places import ALL, Positions, Site, Target, Unit
from interp_dsl.plan.tasks import Attribute, Forward, Variant
from tests.circuits.models import executor_of
from tests.models.checkpoints import tiny

from .plans import CLEAN, CORRUPT, END, GAP, HEADS, folder_in
from .test_features import DATA, EVERY, LABELLED
from .test_live_features import TOKENS, _flat, _gap, _put, _swept
from .tiny import Tiny

MID, MLP, STREAM = Site("resid_mid", 1), Site("mlp_out", 1), Site("resid_post", 1)
PLACES = {
    "mlp": (Target(MID), Target(MLP)),
    "far": (Target(Site("z", 0), 1), Target(Site("head", 1), 0)),
    "up": (Target(Site("neuron", 0)), Target(STREAM)),
    "sae": (Target(STREAM), Target(STREAM)),
}
SIZES = {"mlp": (8, 8), "far": (4, 8), "up": (12, 8), "sae": (8, 8)}
SITES = tuple(dict.fromkeys(t.site for ends in PLACES.values() for t in ends))
New = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""New features and error, of features [n, T, 6] and error [n, T, d_out]."""


def _dictionary(name: str, has_skip: bool = True) -> Dictionary:
    generator, (d_in, d_out) = torch.Generator().manual_seed(4), SIZES[name]

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    held = {"W_enc": drawn(d_in, 6), "W_dec": drawn(6, d_out)}
    held |= {"b_enc": drawn(6), "b_dec": drawn(d_out)}
    if name != "sae":
        held["b_in"] = 0.1 * drawn(d_in)
        if has_skip:
            held["W_skip"] = 0.3 * drawn(d_out, d_in)
    return Dictionary("topk", held, 4)


def _state(path: Path, model: Executor | None = None, *runs: Run) -> tuple[State, Report]:
    state, report = State(0), Report(folder_in(path), "t")
    state.models["m"], state.data["d"] = model or Tiny(), DATA
    for name in PLACES:
        held = {k: v.numpy() for k, v in _dictionary(name).saved().items()}
        state.results[name] = Result([], held)
    for run in (CLEAN, CORRUPT, *runs):
        run_forward(Forward("f", run, SITES, (GAP,)), (), state, report)
    return state, report


def of(name: str, *numbers: int, at: Positions = ALL, error: bool = False) -> tuple[Target, ...]:
    read, made = PLACES[name]
    fitted = Fitted("", read, "topk", (), onto=None if read == made else made)
    found = tuple(Target(fitted.features(name), n, at) for n in numbers)
    return (*found, Target(fitted.errors(name), None, at)) if error else found


def _by_hand(new: Mapping[str, New], side: str = "clean") -> Tensor:
    """The logits of a pass with these features and errors changed, read from what is there."""
    seen: dict[str, Tensor] = {}

    def change(site: Site, x: Tensor) -> Tensor:
        for name, (read, made) in PLACES.items():
            if read.site == site:
                seen[name] = _flat(x, read).float()
            if made.site == site and name in new:
                sae, y = _dictionary(name), _flat(x, made).float()
                f = sae.encode(seen[name])
                error = y - sae.decode(f, seen[name])
                features, left = new[name](f, error)
                changed = y + (features - f) @ sae.tensors["W_dec"] + (left - error)
                x = _put(x, made, changed.to(x.dtype))
        return x

    return Tiny().run(TOKENS[side], change)


def _there(side: str, name: str) -> tuple[Tensor, Tensor]:
    """Features and error in a run as it is."""
    found: list[tuple[Tensor, Tensor]] = []

    def kept(f: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        found.append((f, e))
        return f, e

    _by_hand({name: kept}, side)
    return found[0]


def _setting(
    numbers: tuple[int, ...],
    to: Tensor | float = 0.0,
    error: Tensor | None = None,
    at: list[list[int]] = EVERY,
) -> New:
    def new(f: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        features, left, held = f.clone(), e.clone(), torch.as_tensor(to).expand(f.shape)
        for row, positions in enumerate(at):
            for p in positions:
                for n in numbers:
                    features[row, p, n] = held[row, p, n]
                if error is not None:
                    left[row, p] = error.expand(e.shape)[row, p]
        return features, left

    return new


def _patched(state: State, units: tuple[Unit, ...], source: Source) -> Tensor:
    """The logits [units, n, T, V] with each unit set in turn."""
    editor = Editor(Intervention(Explicit(units), source), CLEAN, state)
    editor.check(units)
    batch = Packed.stretch(units, DATA.n, 0, len(units) * DATA.n)
    tokens = TOKENS["clean"][batch.examples]
    found = Tiny().forward(tokens, None, editor.edits(batch, tokens.shape[1])).logits
    return found.view(len(units), DATA.n, *found.shape[1:])


@pytest.mark.parametrize("name", PLACES)
def test_each_is_changed_where_it_writes(tmp_path: Path, name: str) -> None:
    state, _ = _state(tmp_path)
    label = Positions("label", label="S")
    units = (
        Unit(of(name, 0)),
        Unit(of(name, 3, at=label)),
        Unit(of(name, 1, 4)),
        Unit(of(name, 5, at=END)),
    )
    meant = [((0,), EVERY), ((3,), LABELLED), ((1, 4), EVERY), ((5,), [[5]] * 4)]
    sources: tuple[tuple[Source, Tensor | float], ...] = (
        (Zero(), 0.0),
        (Constant(3.0), 3.0),
        (FromRun(CORRUPT), _there("corrupt", name)[0]),
        (Mean(CORRUPT, "all"), _there("corrupt", name)[0].mean((0, 1))),
    )
    plain = _by_hand({})
    for source, to in sources:
        found = _patched(state, units, source)
        for got, (numbers, at) in zip(found, meant, strict=True):
            wanted = _by_hand({name: _setting(numbers, to, at=at)})
            np.testing.assert_allclose(got, wanted, atol=5e-5, err_msg=f"{source} {numbers}")
        assert ((found - plain).abs().amax((1, 2, 3)) > 1e-3).sum() >= 2


@pytest.mark.parametrize("name", PLACES)
def test_errors_are_what_is_there_less_what_is_made_of_what_is_read(
    tmp_path: Path, name: str
) -> None:
    state, _ = _state(tmp_path)
    units = (Unit(of(name, error=True)), Unit(of(name, error=True, at=END)))
    theirs = _there("corrupt", name)[1]
    for source, to in (
        (Zero(), 0 * theirs),
        (FromRun(CORRUPT), theirs),
        (Mean(CORRUPT, "all"), theirs.mean((0, 1))),
    ):
        found = _patched(state, units, source)
        for got, at in zip(found, (EVERY, [[5]] * 4), strict=True):
            wanted = _by_hand({name: _setting((), error=to, at=at)})
            np.testing.assert_allclose(got, wanted, atol=5e-5)
    plain = _by_hand({})
    assert (found[0] - plain).abs().max() > 1e-3


def test_among_several_places_features_are_read_from_what_x_has_become(tmp_path: Path) -> None:
    """With layer 0's neurons changed as well, the MLP of layer 1 reads another stream."""
    state, _ = _state(tmp_path)
    neurons = tuple(Target(Site("neuron", 0), i) for i in range(12))
    units = (
        Unit((*of("mlp", 1, 2, 4), *neurons)),
        Unit((*of("mlp", 0, 2, error=True), *of("sae", 5, 1))),
        Unit((*of("mlp", 0, at=END), *of("mlp", 3))),
    )

    def lost(new: Mapping[str, New]) -> Tensor:
        """The same without layer 0's neurons."""
        run = Tiny.run

        class Silent(Tiny):
            def run(self, tokens, change, mask=None):  # type: ignore[no-untyped-def]
                def quiet(site: Site, x: Tensor) -> Tensor:
                    return change(site, 0 * x if site == Site("neuron", 0) else x)

                return run(self, tokens, quiet, mask)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Tiny, "run", Silent.run)
            return _by_hand(new)

    found = _patched(state, units, Zero())
    first = lost({"mlp": _setting((1, 2, 4))})
    np.testing.assert_allclose(found[0], first, atol=5e-5)
    both = {"mlp": _setting((0, 2), error=torch.zeros(1)), "sae": _setting((5, 1))}
    np.testing.assert_allclose(found[1], _by_hand(both), atol=5e-5)
    spots = {"mlp": _twice(_setting((0,), at=[[5]] * 4), _setting((3,)))}
    np.testing.assert_allclose(found[2], _by_hand(spots), atol=5e-5)
    # what they were in the run as it is, is not what they are there
    f = _there("clean", "mlp")[0] * torch.eye(6)[[1, 2, 4]].sum(0)
    assert (first - lost({"mlp": lambda g, e: (g - f, e)})).abs().max() > 1e-2


def _twice(one: New, other: New) -> New:
    return lambda f, e: other(*one(f, e))


CONTEXTS: dict[str, tuple[tuple[Target, ...], Source, New]] = {
    "a clamp": (of("mlp", 1, 4), Constant(3.0), _setting((1, 4), 3.0)),
    "without the error": (
        of("mlp", 3, error=True),
        Zero(),
        _setting((3,), error=torch.zeros(1)),
    ),
    "a multiple": (of("mlp", 2), Times(5.0, CLEAN), lambda f, e: (_multiple(f), e)),
    "of another run": (
        of("mlp", 0, 1, error=True),
        FromRun(CORRUPT),
        lambda f, e: _setting((0, 1), *_there("corrupt", "mlp"))(f, e),
    ),
}


def _multiple(f: Tensor) -> Tensor:
    new = f.clone()
    new[..., 2] = 5 * f[:, 1:, 2].max()
    return new


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_step_runs_under_them(tmp_path: Path, name: str) -> None:
    targets, source, new = CONTEXTS[name]
    into = replace(CLEAN, under=(Intervention(Explicit((Unit(targets),)), source),))
    state, report = _state(tmp_path, None, into)
    base = state.kept(into).values[GAP.term].double()
    np.testing.assert_allclose(base, _gap(_by_hand({"mlp": new})), atol=5e-5)
    assert (base - state.kept(CLEAN).values[GAP.term]).abs().max() > 1e-2
    units = (Unit(of("sae", 1)), Unit(of("sae", 0, 3)))
    patched = _swept(state, report, into, units, Zero())
    wanted = [_by_hand({"mlp": new, "sae": _setting(numbers)}) for numbers in ((1,), (0, 3))]
    np.testing.assert_allclose(patched, torch.stack([_gap(x) for x in wanted]), atol=5e-5)
    task = Attribute(
        "a", "who", Variant(into, None), "atp", (), (GAP,), CLEAN,
        Intervention(Explicit(units), Zero()),
    )  # fmt: skip
    _, estimates = unit_estimates(task, state, report)
    np.testing.assert_allclose(estimates[0], patched - base, atol=5e-5)


@pytest.mark.parametrize("method", ["atp", "ig"])
def test_behind_the_last_mlp_estimates_are_exact(tmp_path: Path, method: str) -> None:
    """What the last MLP adds is read by the unembedding alone, without a norm."""
    state, report = _state(tmp_path)
    units = (*(Unit(of("mlp", n)) for n in range(6)), Unit(of("mlp", error=True)))
    units += (Unit(of("mlp", 1, 4)), Unit(of("mlp", 3, at=END)))
    options = (("at", "site"), ("rule", "midpoint"), ("steps", 3)) if method == "ig" else ()
    for source in (FromRun(CORRUPT), Zero(), Mean(CORRUPT, "all")):
        change = Intervention(Explicit(units), source)
        task = Attribute("a", "who", Variant(CLEAN, None), method, options, (GAP,), CLEAN, change)
        _, found = unit_estimates(task, state, report)
        wanted = _swept(state, report, CLEAN, units, source)
        base = state.kept(CLEAN).values[GAP.term].double()
        np.testing.assert_allclose(found[0], wanted - base, atol=5e-5)
        assert ((wanted - base).abs().amax(1) > 1e-2).sum() >= 4


@pytest.mark.parametrize("name", ["mlp", "far", "up"])
def test_features_and_error_add_up_to_what_is_rebuilt(tmp_path: Path, name: str) -> None:
    """But for what a skip connection adds, which these have none of."""
    state, report = _state(tmp_path)
    plain = {k: v.numpy() for k, v in _dictionary(name, has_skip=False).saved().items()}
    state.results[name] = Result([], plain)
    made = PLACES[name][1]
    units = (*(Unit(of(name, n)) for n in range(6)), Unit(of(name, error=True)), Unit((made,)))
    change = Intervention(Explicit(units), FromRun(CORRUPT))
    task = Attribute("a", "who", Variant(CLEAN, CORRUPT), "atp", (), (GAP,), CLEAN, change)
    _, (found,) = unit_estimates(task, state, report)
    np.testing.assert_allclose(found[:7].sum(0), found[7], atol=1e-5)
    assert found[7].abs().max() > 1e-2 and (found[:6].abs().amax(1) > 1e-3).sum() >= 3


def _gpt2(path: Path, model: Executor, *under: Intervention) -> tuple[State, Report, Run]:
    """A state with a transcoder of layer 0's MLP."""
    width, random = model.facts.shape.d_model, torch.Generator().manual_seed(0)
    state, report = State(0), Report(folder_in(path), "t")
    state.models["m"], state.data["d"] = model, DATA
    held = {k: torch.randn(width, 9, generator=random).numpy() for k in ("W_enc",)}
    held |= {"W_dec": torch.randn(9, width, generator=random).numpy()}
    held |= {"b_enc": np.zeros(9, np.float32), "b_dec": np.zeros(width, np.float32)}
    held |= {"b_in": np.zeros(width, np.float32), "k": np.array(4)}
    state.results["gpt"] = Result([], held)
    into = replace(CLEAN, under=under)
    sites = (Site("mlp_in", 0), Site("mlp_out", 0), Site("head", 0), Site("head", 1))
    parts = ("resid_pre", "keys", "queries", "z") if model.name == "compiled" else ()
    run_forward(Forward("f", into, sites, (GAP,), remembers=parts), (), state, report)
    return state, report, into


ONTO = Target(Site("mlp_out", 0))
GPT = Fitted("", Target(Site("mlp_in", 0)), "topk", (), onto=ONTO)
PIN = Intervention(
    Explicit((Unit(tuple(Target(GPT.features("gpt"), n) for n in (1, 5))),)), Constant(2.0)
)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox"])
@pytest.mark.parametrize("under", [(), (PIN,)], ids=["alone", "under"])
def test_both_executors_say_the_same_wherever_a_pass_starts(
    tmp_path: Path, family: str, under: tuple[Intervention, ...]
) -> None:
    features = [Target(GPT.features("gpt"), n) for n in range(9)]
    head = Target(Site("head", 0), 1)
    units = (
        *HEADS.units,
        *(Unit((f,)) for f in features),
        Unit((replace(features[2], positions=END),)),
        Unit((Target(GPT.errors("gpt")),)),
        Unit((features[0], features[4], head)),
        Unit((replace(features[3], positions=END), replace(head, positions=END))),
    )
    compiled = executor_of(family)
    state, report, into = _gpt2(tmp_path / "a", compiled, *under)
    plain = _swept(state, report, into, units, Zero())
    late = _swept(state, report, into, units, Zero(), late=True, trims=True, narrow=True)
    np.testing.assert_allclose(late, plain, atol=1e-5)
    hooked = load({"kind": "checkpoint", "folder": str(tiny(family))}, "cpu", executor="hooked")
    state, report, into = _gpt2(tmp_path / "b", hooked, *under)
    np.testing.assert_allclose(_swept(state, report, into, units, Zero()), plain, atol=2e-4)
    assert (plain - plain[0]).abs().amax(1).gt(1e-3).sum() >= 4
