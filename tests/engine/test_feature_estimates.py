"""Features and errors estimated from slopes, against real patches of them and against the estimates
of the place that they are parts of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
from interp_dsl.plan.algebra import Constant, Explicit, FromRun, Intervention, Source, Times, Zero
from interp_dsl.plan.dictionaries import Fitted
from interp_dsl.plan.places import ALL, Positions, Site, Target, Unit
from interp_dsl.plan.tasks import Attribute, Forward, Variant

from .plans import CLEAN, CORRUPT, END, GAP, folder_in, unit
from .test_features import DATA, LAST, _dictionary
from .test_judge import HEAD, NEURONS, STREAM
from .tiny import Tiny

PLACES = pytest.mark.parametrize("target", [NEURONS, STREAM, HEAD, LAST], ids=lambda t: t.place)
SPAN = Positions("label", label="S")
FITTED = "k=4"


class Trial:
    """A run of a dictionary fitted to a target, and of further ones at the same place."""

    def __init__(self, path: Path, target: Target, *others: Dictionary) -> None:
        self.target, self.state = target, State(0)
        self.state.models["m"], self.state.data["d"] = Tiny(), DATA
        for number, one in enumerate((_dictionary(target), *others)):
            held = {f"{FITTED}/{k}": v.numpy() for k, v in one.saved().items()}
            self.state.results[f"sae{number or ''}"] = Result([], held)
        self.report = Report(folder_in(path), "t")
        sites = (target.site, Site("embed"), Site("z", 0))
        for run in (CLEAN, CORRUPT):
            run_forward(Forward("f", run, sites, (GAP,)), (), self.state, self.report)

    def features(self, *numbers: int, at: Positions = ALL, of: str = "sae") -> Unit:
        site = Fitted(FITTED, self.target, "topk", ()).features(of)
        return Unit(tuple(Target(site, n, at) for n in numbers))

    def error(self, at: Positions = ALL, of: str = "sae") -> Unit:
        return Unit((Target(Fitted(FITTED, self.target, "topk", ()).errors(of), None, at),))

    def estimated(
        self, units: tuple[Unit, ...], source: Source, method: str = "atp", **options: Any
    ) -> Tensor:
        """[units, n]"""
        held = tuple(sorted(options.items()))
        change = Intervention(Explicit(units), source)
        variant = Variant(CLEAN, CORRUPT)
        task = Attribute("a", "who", variant, method, held, (GAP,), CLEAN, change)
        return unit_estimates(task, self.state, self.report)[1][0]

    def real(self, units: tuple[Unit, ...], source: Source) -> Tensor:
        """The effects of real patches [units, n], the logit difference written out."""
        editor = Editor(Intervention(Explicit(units), source), CLEAN, self.state)
        editor.check(units)
        batch = Packed.stretch(units, DATA.n, 0, len(units) * DATA.n)
        clean = torch.from_numpy(DATA.sides["clean"].tokens)
        tokens = clean[batch.examples]
        edits = editor.edits(batch, tokens.shape[1])
        patched = self._gap(Tiny().forward(tokens, None, edits).logits, batch.examples)
        plain = self._gap(Tiny().forward(clean, None).logits, torch.arange(DATA.n))
        return patched.view(len(units), DATA.n) - plain

    @staticmethod
    def _gap(logits: Tensor, examples: Tensor) -> Tensor:
        answers, wrongs = (
            torch.tensor([a.alternatives[0][0] for a in held or ()])[examples]
            for held in (DATA.answers, DATA.wrongs)
        )
        rows = torch.arange(len(logits))
        return (logits[rows, -1, answers] - logits[rows, -1, wrongs]).double()

    def parts(self, at: Positions = ALL) -> tuple[Unit, ...]:
        """Every feature and the error."""
        return (*(self.features(n, at=at) for n in range(6)), self.error(at))


def test_behind_the_last_layer_estimates_are_exact(tmp_path: Path) -> None:
    trial = Trial(tmp_path, LAST)
    units = (*trial.parts(), trial.features(1, 4), trial.features(3, at=END), trial.error(END))
    for source in (FromRun(CORRUPT), Zero()):
        found, wanted = trial.estimated(units, source), trial.real(units, source)
        np.testing.assert_allclose(found, wanted, atol=2e-5)
        assert (wanted.abs().amax(1) > 1e-2).sum() >= 5
    features = (trial.features(2), trial.features(5, at=END))
    for source in (Constant(3.0), Times(2.0, CLEAN)):
        found, wanted = trial.estimated(features, source), trial.real(features, source)
        np.testing.assert_allclose(found, wanted, atol=2e-5)


@PLACES
def test_a_small_change_does_what_is_estimated(tmp_path: Path, target: Target) -> None:
    """The source's activations are brought near to the run's own, by a hundred-thousandth."""
    trial, step = Trial(tmp_path, target), 1e-5
    own, other = (trial.state.runs[run].sites for run in (CLEAN, CORRUPT))
    other[target.site] = own[target.site] + step * (other[target.site] - own[target.site])
    units = (*trial.parts(), trial.features(0, 2), *trial.parts(SPAN))
    found = trial.estimated(units, FromRun(CORRUPT)) / step
    # logits are float32, and their noise is what is left at so small a step
    held = trial.state.models["m"]
    assert isinstance(held, Tiny)
    exact = _exactly(trial, units) / step
    np.testing.assert_allclose(found, exact, rtol=2e-3, atol=2e-4)
    assert (exact.abs().amax(1) > 1e-2).sum() >= 4


def _exactly(trial: Trial, units: tuple[Unit, ...]) -> Tensor:
    """Real patches, with logits in float64."""
    run = Tiny.run

    class Exact(Tiny):
        def run(self, tokens: Tensor, change: Any, mask: Tensor | None = None) -> Tensor:
            seen: list[Tensor] = []

            def watched(site: Site, x: Tensor) -> Tensor:
                x = change(site, x)
                if site == Site("resid_post", 1):
                    seen[:] = [x[:, :, 0]]
                return x

            run(self, tokens, watched, mask)
            return seen[0] @ self.unembed

    editor = Editor(Intervention(Explicit(units), FromRun(CORRUPT)), CLEAN, trial.state)
    editor.check(units)
    batch = Packed.stretch(units, DATA.n, 0, len(units) * DATA.n)
    clean = torch.from_numpy(DATA.sides["clean"].tokens)
    edits = editor.edits(batch, clean.shape[1])
    patched = trial._gap(Exact().forward(clean[batch.examples], None, edits).logits, batch.examples)
    plain = trial._gap(Exact().forward(clean, None).logits, torch.arange(DATA.n))
    return patched.view(len(units), DATA.n) - plain


@PLACES
@pytest.mark.parametrize("at", [ALL, SPAN, END], ids=str)
def test_features_and_error_add_up_to_their_place(
    tmp_path: Path, target: Target, at: Positions
) -> None:
    trial = Trial(tmp_path, target)
    if target.site.kind == "neuron":
        whole = Unit(tuple(Target(target.site, i, at) for i in range(12)))
    else:
        whole = Unit((Target(target.site, target.index, at),))
    ways: tuple[tuple[str, dict[str, Any]], ...] = (
        ("atp", {}),
        ("ig", {"steps": 3, "at": "inputs", "rule": "midpoint"}),
        ("ig", {"steps": 3, "at": "site", "rule": "right"}),
    )
    if target.index is not None:  # along a site all of its heads go
        ways = ways[:2]
    for method, options in ways:
        parts = trial.estimated(trial.parts(at), FromRun(CORRUPT), method, **options)
        wanted = trial.estimated((whole,), FromRun(CORRUPT), method, **options)
        np.testing.assert_allclose(parts.sum(0), wanted[0], rtol=1e-5, atol=1e-6)
        assert wanted.abs().max() > 1e-2 or (target in (LAST, HEAD) and at is SPAN)  # not read from


@PLACES
def test_along_their_site_estimates_add_up_to_the_real_patch_of_all(
    tmp_path: Path, target: Target
) -> None:
    trial = Trial(tmp_path, target)
    some = (trial.features(0), trial.features(3), trial.features(4, at=END), trial.error(SPAN))
    joined = Unit(tuple(t for u in some for t in u.targets))
    options = {"steps": 300, "at": "site", "rule": "midpoint"}
    for source in (FromRun(CORRUPT), Zero()):
        found = trial.estimated(some, source, "ig", **options).sum(0)
        np.testing.assert_allclose(found, trial.real((joined,), source)[0], atol=1e-2)


def test_what_overlaps_is_estimated_apart(tmp_path: Path) -> None:
    """Two dictionaries of one place, the place itself, and positions within others."""
    random = torch.Generator().manual_seed(9)
    decoder = torch.randn(5, 8, generator=random)
    tensors = {"W_enc": decoder.T.contiguous(), "W_dec": decoder, "b_enc": torch.zeros(5)}
    other = Dictionary("topk", {**tensors, "b_dec": torch.zeros(8)}, 3)
    trial = Trial(tmp_path, STREAM, other)
    units = (
        trial.features(1),
        trial.features(1, at=END),
        trial.features(2, of="sae1"),
        trial.error(of="sae1"),
        trial.error(),
        Unit((STREAM,)),
        unit("z", 0, 1),
        Unit((*trial.features(0, at=END).targets, Target(Site("z", 0), 1))),
    )
    for options in ({"at": "site"}, {"at": "inputs"}):
        more = {"steps": 4, "rule": "midpoint", **options}
        together = trial.estimated(units, FromRun(CORRUPT), "ig", **more)
        apart = [trial.estimated((u,), FromRun(CORRUPT), "ig", **more)[0] for u in units[:7]]
        # along a site, what units move at once is one path: those alone at their place agree
        same = [1, 3, 5, 6] if options["at"] == "site" else range(7)
        for number in same:
            if options["at"] == "inputs" or number in (5, 6):
                np.testing.assert_allclose(together[number], apart[number], atol=1e-6)
    plain = trial.estimated(units, FromRun(CORRUPT))
    for number, one in enumerate(units):
        alone = trial.estimated((one,), FromRun(CORRUPT))[0]
        np.testing.assert_allclose(plain[number], alone, atol=1e-6)


def test_batches_of_any_size_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial(tmp_path, STREAM)
    whole = trial.estimated(trial.parts(), FromRun(CORRUPT))
    monkeypatch.setattr("interp_dsl.engine.site_estimates.FEATURES", 1)
    np.testing.assert_allclose(trial.estimated(trial.parts(), FromRun(CORRUPT)), whole, atol=1e-6)


@PLACES
def test_errors_are_set(tmp_path: Path, target: Target) -> None:
    """By hand: x - e + e', e = x - x̂."""
    trial, sae = Trial(tmp_path, target), _dictionary(target)
    own, other = (trial.state.runs[run].sites[target.site] for run in (CLEAN, CORRUPT))

    def error(x: Tensor) -> Tensor:
        return x.float() - sae.reconstruct(x.float())

    def flat(x: Tensor) -> Tensor:
        return x.flatten(2) if target.index is None else x[:, :, target.index]

    for source, then in ((Zero(), 0 * error(flat(own))), (FromRun(CORRUPT), error(flat(other)))):
        found = trial.real((trial.error(), trial.error(END)), source)
        for number, kept in enumerate((slice(None), slice(-1, None))):
            new = flat(own).clone()
            new[:, kept] += (then - error(flat(own)))[:, kept]

            def change(site: Site, x: Tensor, new: Tensor = new) -> Tensor:
                if site != target.site:
                    return x
                if target.index is None:
                    return new.view(x.shape).to(x.dtype)
                x = x.clone()
                x[:, :, target.index] = new
                return x

            tokens, everyone = (
                torch.from_numpy(DATA.sides["clean"].tokens),
                torch.arange(DATA.n),
            )
            plain = trial._gap(Tiny().run(tokens, lambda s, x: x), everyone)
            wanted = trial._gap(Tiny().run(tokens, change), everyone) - plain
            np.testing.assert_allclose(found[number], wanted, atol=2e-5)
            assert wanted.abs().max() > 1e-3
