"""Features of several places at once, and under what other steps measure: against a pass by hand in
which each is read from what x has become."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.data.types import Data
from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.engine.edits import Editor
from interp_dsl.engine.estimates import unit_estimates
from interp_dsl.engine.forwards import Bench, run_forward
from interp_dsl.engine.packed import Packed
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import Result, State
from interp_dsl.engine.sweep import Sweeper, shards, table_order
from interp_dsl.models.executor import Executor
from interp_dsl.plan.algebra import (
    Constant,
    Explicit,
    FromRun,
    Intervention,
    Mean,
    Resample,
    Run,
    Source,
    Times,
    Zero,
)
from interp_dsl.plan.dictionaries import Fitted
from interp_dsl.plan.places import ALL, Positions, Site, Target, Unit
from interp_dsl.plan.tasks import Attribute, Forward, Sweep, Variant
from tests.circuits.models import executor_of

from .plans import CLEAN, CORRUPT, END, GAP, HEADS, folder_in, unit
from .test_features import DATA, LAST, _dictionary, _flat
from .test_judge import HEAD, NEURONS, STREAM
from .tiny import Tiny

NAMES = {"neurons": NEURONS, "stream": STREAM, "head": HEAD, "last": LAST}
SITES = tuple(t.site for t in NAMES.values())
TOKENS = {name: torch.from_numpy(side.tokens) for name, side in DATA.sides.items()}
FIRSTS = Positions("minus", parts=(ALL, Positions("last")))
New = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""New features and error, of features [n, T, 6] and error [n, T, d]."""


def _state(
    path: Path, model: Executor | None = None, *runs: Run, data: Data = DATA
) -> tuple[State, Report]:
    state, report = State(0), Report(folder_in(path), "t")
    state.models["m"], state.data["d"] = model or Tiny(), data
    for name, target in NAMES.items():
        held = {k: v.numpy() for k, v in _dictionary(target).saved().items()}
        state.results[name] = Result([], held)
    for run in (CLEAN, CORRUPT, *runs):
        run_forward(Forward("f", run, SITES, (GAP,)), (), state, report)
    return state, report


def of(name: str, *numbers: int, at: Positions = ALL, error: bool = False) -> tuple[Target, ...]:
    fitted = Fitted("", NAMES[name], "topk", ())
    found = tuple(Target(fitted.features(name), n, at) for n in numbers)
    return (*found, Target(fitted.errors(name), None, at)) if error else found


def _by_hand(new: Mapping[str, New], side: str = "clean") -> tuple[Tensor, dict[str, Tensor]]:
    """The logits of a pass with these places changed, and what the dictionaries read there."""
    seen: dict[str, Tensor] = {}

    def change(site: Site, x: Tensor) -> Tensor:
        for name, target in NAMES.items():
            if target.site != site:
                continue
            sae, given = _dictionary(target), _flat(x, target).float()
            if name in new:
                f = sae.encode(given)
                error = given - sae.decode(f)
                features, left = new[name](f, error)
                changed = given + (features - f) @ sae.tensors["W_dec"] + (left - error)
                x = _put(x, target, changed.to(x.dtype))
            seen[name] = _flat(x, target).float()
        return x

    logits = Tiny().run(TOKENS[side], change)
    return logits, seen


def _put(x: Tensor, target: Target, flat: Tensor) -> Tensor:
    if target.index is None:
        return flat.view(x.shape)
    x = x.clone()
    x[:, :, target.index] = flat
    return x


def _setting(
    numbers: tuple[int, ...], to: Tensor | float, error: Tensor | None = None, at: slice = slice(0)
) -> New:
    """Features set to values, and the error, at some positions; everywhere with the empty slice."""

    def new(f: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        where = slice(None) if at == slice(0) else at
        features, left = f.clone(), e.clone()
        held = torch.as_tensor(to).expand(*f.shape)
        for n in numbers:
            features[:, where, n] = held[:, where, n]
        if error is not None:
            left[:, where] = error.expand(e.shape)[:, where]
        return features, left

    return new


def _read(side: str, name: str) -> tuple[Tensor, Tensor]:
    """Features and error of a place in a run as it is."""
    x, sae = _by_hand({}, side)[1][name], _dictionary(NAMES[name])
    return sae.encode(x), x - sae.reconstruct(x)


def test_of_several_places_each_is_read_from_what_x_has_become(tmp_path: Path) -> None:
    state, _ = _state(tmp_path)
    unit = Unit(
        (
            *of("neurons", 1, 4, error=True),
            *of("stream", 0, 2, at=END),
            *of("stream", error=True),
            *of("last", 3, 5, 1),
        )
    )
    other = Unit((*of("neurons", 0), *of("stream", 5)))
    one_place = Unit(of("stream", 0, 1, 2, 3, error=True))
    units = (unit, other, one_place)
    theirs = {name: _read("corrupt", name) for name in NAMES}
    for source, to in ((FromRun(CORRUPT), theirs), (Zero(), None)):

        def value(name: str, numbers: tuple[int, ...], error: bool = False, at: slice = slice(0),
                  to: dict[str, tuple[Tensor, Tensor]] | None = to) -> New:  # fmt: skip
            held = (torch.zeros(1), torch.zeros(1)) if to is None else to[name]
            return _setting(numbers, held[0], held[1] if error else None, at)

        stream = (value("stream", (0, 2), at=slice(-1, None)), value("stream", (), error=True))
        meant = (
            {"neurons": value("neurons", (1, 4), True), "last": value("last", (3, 5, 1))},
            {"neurons": value("neurons", (0,)), "stream": value("stream", (5,))},
            {"stream": value("stream", (0, 1, 2, 3), True)},
        )
        editor = Editor(Intervention(Explicit(units), source), CLEAN, state)
        editor.check(units)
        batch = Packed.stretch(units, DATA.n, 0, 3 * DATA.n)
        tokens = TOKENS["clean"][batch.examples]
        found = Tiny().forward(tokens, None, editor.edits(batch, tokens.shape[1])).logits
        found = found.view(3, DATA.n, *found.shape[1:])
        for number, new in enumerate(meant[1:], 1):
            np.testing.assert_allclose(found[number], _by_hand(new)[0], atol=3e-5)
        # a feature at one token and the error at all are two edits, the second on the first's x
        first = {**meant[0], "stream": stream[0]}
        wanted = _twice(first, "stream", stream[1])
        np.testing.assert_allclose(found[0], wanted, rtol=1e-4, atol=1e-4)


def _twice(new: Mapping[str, New], name: str, then: New) -> Tensor:
    """The same with a second change at one place, of what the first has made."""
    target, sae = NAMES[name], _dictionary(NAMES[name])
    first = new[name]

    def joined(f: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        features, left = first(f, e)
        x = sae.decode(features) + left
        second = sae.encode(x)
        error = x - sae.decode(second)
        new_features, new_left = then(second, error)
        x = x + (new_features - second) @ sae.tensors["W_dec"] + (new_left - error)
        return f, x - sae.decode(f)

    assert target.index is None
    return _by_hand({**new, name: joined})[0]


CONTEXTS: dict[str, tuple[tuple[Target, ...], Source, str, tuple[int, ...]]] = {
    "a clamp": (of("neurons", 1, 4), Constant(3.0), "neurons", (1, 4)),
    "a head's": (of("head", 2), Constant(2.0), "head", (2,)),
    "a multiple": (of("stream", 2), Times(5.0, CLEAN), "stream", (2,)),
    "without the error": (of("neurons", 3, error=True), Zero(), "neurons", (3,)),
    "of another run": (of("stream", 0, 1, error=True), FromRun(CORRUPT), "stream", (0, 1)),
}


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_step_runs_under_features(tmp_path: Path, name: str) -> None:
    """Base, patches of heads and patches of features under it, and their estimates behind the last
    layer, where they are exact."""
    targets, source, place, numbers = CONTEXTS[name]
    under = Intervention(Explicit((Unit(targets),)), source)
    into = replace(CLEAN, under=(under,))
    state, report = _state(tmp_path, None, into)
    error = any(t.site.kind == "error" for t in targets)
    f, e = _read("corrupt" if isinstance(source, FromRun) else "clean", place)
    if isinstance(source, Times):
        to: Tensor | float = 5 * f[:, 1:].flatten(0, 1).amax(0)
    elif isinstance(source, Constant):
        to = source.value
    else:
        to, e = (f, e) if isinstance(source, FromRun) else (0.0, 0 * e)
    context = {place: _setting(numbers, to, e if error else None)}
    logits, seen = _by_hand(context)
    base = state.kept(into).values[GAP.term].double()
    np.testing.assert_allclose(base, _gap(logits), atol=3e-5)
    assert (base - state.kept(CLEAN).values[GAP.term]).abs().max() > 1e-2

    units = (Unit(of("last", 1)), Unit(of("last", 0, 3)), Unit(of("last", error=True)))
    patched = _swept(state, report, into, units, Zero())
    read = _dictionary(LAST).encode(seen["last"])
    left = seen["last"] - _dictionary(LAST).decode(read)
    meant = (_setting((1,), 0.0), _setting((0, 3), 0.0), _setting((), 0.0, 0 * left))
    wanted = [_gap(_by_hand({**context, "last": new})[0]) for new in meant]
    np.testing.assert_allclose(patched, torch.stack(wanted), atol=3e-5)
    change = Intervention(Explicit(units), Zero())
    task = Attribute("a", "who", Variant(into, None), "atp", (), (GAP,), CLEAN, change)
    _, estimates = unit_estimates(task, state, report)
    np.testing.assert_allclose(estimates[0], torch.stack(wanted) - base, atol=5e-5)


def test_resampled_features_are_those_of_the_example_drawn(tmp_path: Path) -> None:
    state, _ = _state(tmp_path)
    under = Intervention(Explicit((Unit(of("stream", 0, 1)),)), Resample(CORRUPT, 3))
    editor = Editor(under, CLEAN, state, holds=True)
    unit = Unit(of("stream", 0, 1))
    editor.check([unit])
    found = Tiny().forward(
        TOKENS["clean"], None, editor.edits(Packed.of_one(unit, torch.arange(DATA.n)), 6)
    )
    from interp_dsl.engine.sources import draws

    drawn = draws(CORRUPT, CLEAN, 3, state)
    f = _read("corrupt", "stream")[0][drawn]
    wanted = _by_hand({"stream": _setting((0, 1), f)})[0]
    np.testing.assert_allclose(found.logits, wanted, atol=3e-5)


def _gap(logits: Tensor, data: Data = DATA) -> Tensor:
    rows = torch.arange(DATA.n)
    answers, wrongs = (
        torch.tensor([a.alternatives[0][0] for a in held or ()])
        for held in (data.answers, data.wrongs)
    )
    return (logits[rows, -1, answers] - logits[rows, -1, wrongs]).double()


def _swept(
    state: State, report: Report, into: Run, units: tuple[Unit, ...], source: Source, **how: bool
) -> Tensor:
    """The metric [units, n] of a sweep."""
    change = Intervention(Explicit(units), source)
    task = Sweep("s", "who", (Variant(into, None),), change, (GAP,), CLEAN, **how)
    found = shards(task, state)
    sweeper = Sweeper(task, state, report.note)
    sweeper.prepare(found)
    assert len(found) == 1
    return torch.from_numpy(sweeper.run(found[0]).ordered(table_order(found, 1)).tensors["value"])


def test_the_compiled_forward_takes_up_a_pass_under_features(tmp_path: Path) -> None:
    """Passes that start late, at the first changed position and of what differs alone are the whole
    passes."""
    model = executor_of("gpt2")
    shape = model.facts.shape
    random = torch.Generator().manual_seed(0)
    state, report = State(0), Report(folder_in(tmp_path), "t")
    state.models["m"], state.data["d"] = model, DATA
    contexts = []
    for name, site, width in (
        ("neurons", Site("neuron", 0), shape.d_mlp),
        ("stream", Site("resid_pre", 1), shape.d_model),
    ):
        decoder = torch.randn(9, width, generator=random)
        tensors = {"W_enc": decoder.T.contiguous(), "W_dec": decoder, "b_enc": torch.zeros(9)}
        sae = Dictionary("topk", {**tensors, "b_dec": torch.zeros(width)}, 4)
        state.results[name] = Result([], {k: v.numpy() for k, v in sae.saved().items()})
        fitted = Fitted("", Target(site), "topk", ())
        held = Unit(tuple(Target(fitted.features(name), n) for n in (1, 5)))
        contexts.append(Intervention(Explicit((held,)), Constant(2.0)))
    later = Unit((Target(fitted.features("stream"), 3, END),))
    for under in ((contexts[0],), (contexts[1],), tuple(contexts)):
        into = replace(CLEAN, under=under)
        parts = ("resid_pre", "keys", "queries", "z")
        sites = (Site("resid_pre", 1), Site("head", 0), Site("head", 1))
        run_forward(Forward("f", into, sites, (GAP,), remembers=parts), (), state, report)
        units = (*HEADS.units, unit("head", 1, 0, END), unit("head", 1, 1, FIRSTS), later)
        plain = _swept(state, report, into, units, Zero())
        late = _swept(state, report, into, units, Zero(), late=True, trims=True, narrow=True)
        np.testing.assert_allclose(late, plain, atol=1e-5)
        bench = Bench(into, (GAP,), {}, state)
        assert bench.can_resume and (plain - plain[0]).abs().max() > 1e-3


@pytest.mark.parametrize("per", ["position", "all", "token", "label"])
def test_features_are_set_to_their_means(tmp_path: Path, per: str) -> None:
    """One, several of a place, of several places, throughout, and by their estimates, which are
    exact behind the last layer."""
    under = Intervention(Explicit((Unit(of("stream", 0, 3, error=True, at=AT[per])),)), MEAN[per])
    into = replace(CLEAN, under=(under,))
    state, report = _state(tmp_path, None, into)
    side = MEAN[per].run.side
    means = {name: [_mean(x, per) for x in _read(side, name)] for name in NAMES}

    def meant(name: str, numbers: tuple[int, ...], error: bool = False) -> New:
        f, e = means[name]
        at = slice(-1, None) if per == "label" else slice(0)
        return _setting(numbers, f, e if error else None, at)

    units = (
        Unit(of("last", 1, at=AT[per])),
        Unit(of("last", 0, 2, 3, error=True, at=AT[per])),
        Unit((*of("neurons", 1, 4, at=AT[per]), *of("last", 5, at=AT[per]))),
    )
    wanted = [
        {"last": meant("last", (1,))},
        {"last": meant("last", (0, 2, 3), True)},
        {"neurons": meant("neurons", (1, 4)), "last": meant("last", (5,))},
    ]
    values = torch.stack([_gap(_by_hand(new)[0]) for new in wanted])
    found = _swept(state, report, CLEAN, units, MEAN[per])
    np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-4)
    change = Intervention(Explicit(units[:2]), MEAN[per])
    task = Attribute("a", "who", Variant(CLEAN, None), "atp", (), (GAP,), CLEAN, change)
    _, estimates = unit_estimates(task, state, report)
    base = state.kept(CLEAN).values[GAP.term].double()
    np.testing.assert_allclose(estimates[0], values[:2] - base, rtol=1e-4, atol=1e-4)
    held = _gap(_by_hand({"stream": meant("stream", (0, 3), True)})[0])
    np.testing.assert_allclose(state.kept(into).values[GAP.term], held, rtol=1e-4, atol=1e-4)


MEAN = {per: Mean(CORRUPT, per) for per in ("position", "all", "label")}
MEAN["token"] = Mean(CLEAN, "token")  # whose tokens all occur there
AT = {"position": ALL, "all": ALL, "token": ALL, "label": END}


def _mean(x: Tensor, per: str) -> Tensor:
    """Means of what a side's tokens have [n, T, d], for each of the clean side's."""
    if per in ("position", "label"):  # END is the last position of every prompt
        return x.mean(0, keepdim=True).expand_as(x)
    if per == "all":
        return x.mean((0, 1)).expand_as(x)
    found = torch.zeros_like(x)
    for row, tokens in enumerate(TOKENS["clean"]):
        for place, token in enumerate(tokens):
            found[row, place] = x[TOKENS["clean"] == token].mean(0)
    return found
