"""Directions that a dictionary gives, against the dictionary called by hand on single prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.engine.forwards import run_forward
from interp_dsl.engine.paths import Paths
from interp_dsl.engine.report import Report
from interp_dsl.engine.sources import Address
from interp_dsl.engine.state import Result, State
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.dictionaries import DictionaryOf, Fitted
from interp_dsl.plan.paths import Decoders, Drawn, Moved, Rebuilt, Sized
from interp_dsl.plan.paths import Path as Way
from interp_dsl.plan.places import Length, Point, Positions, Target
from interp_dsl.plan.tasks import Forward

from .curving import SITE
from .plans import CLEAN, folder_in
from .test_points import activations
from .tiny import Tiny, pairs

DATA = pairs(n=5)
LABEL = Positions("label", label="S")
SAE = (DictionaryOf("sae", (Fitted("k=2", Target(SITE), "topk", ()),)),)


def dictionary() -> Dictionary:
    """Two of eight features on; the last two always off."""
    random = torch.Generator().manual_seed(3)
    decoder = torch.randn(8, 8, generator=random)
    bias = torch.full((8,), 3.0)
    bias[6:] = -100.0
    tensors = {"W_enc": decoder.T.contiguous(), "W_dec": decoder, "b_enc": bias}
    return Dictionary("topk", {**tensors, "b_dec": torch.full((8,), 0.1)}, 2)


def moves(path: Path, way: Way, *lengths: float, number: int = 0, scale: str = "own") -> Tensor:
    """By how much the labelled places of all examples move [lengths, n, k, width]."""
    state = State(0)
    state.models["m"], state.data["d"] = Tiny(), DATA
    tensors = {f"k=2/{k}": v.numpy() for k, v in dictionary().saved().items()}
    state.results["sae"] = Result([], tensors)
    run_forward(Forward("f", CLEAN, (SITE,)), (), state, Report(folder_in(path), "t"))
    target = Target(SITE, None, LABEL)
    points = tuple(Point((target,), way.name, number, Length(x, scale)) for x in lengths)
    n = DATA.n
    examples, which = torch.arange(n).repeat(len(points)), torch.arange(len(points))
    at = Address(
        SITE, LABEL, examples, torch.zeros_like(examples), points, which.repeat_interleave(n)
    )
    found = Paths(state, Moved((way,)), CLEAN)(at)
    return found.view(len(points), n, *found.shape[1:]).float()


def places() -> list[list[Tensor]]:
    """Of each example the activations at the label."""
    spans = DATA.sides["clean"].labels["S"].tolist()
    held = activations(Tiny(), DATA, "clean")
    return [[x[p].float() for p in range(*span)] for x, span in zip(held, spans, strict=True)]


def each(found: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Each place's activation and its move [lengths, width]."""
    return [(x, found[:, i, k]) for i, held in enumerate(places()) for k, x in enumerate(held)]


def test_once_along_the_error_is_the_reconstruction(tmp_path: Path) -> None:
    sae = dictionary()
    for x, move in each(moves(tmp_path, Rebuilt("error", SAE), 0.0, 1.0, 2.0)):
        y = sae.reconstruct(x)
        torch.testing.assert_close(x + move[1], y, atol=1e-5, rtol=0)
        torch.testing.assert_close(move, torch.outer(torch.tensor([0.0, 1.0, 2.0]), y - x))


@pytest.mark.parametrize("inner", ["random", "dead", "active", "rotated"])
def test_what_is_sized_is_as_long_as_the_error(tmp_path: Path, inner: str) -> None:
    made: dict[str, Any] = {
        "random": Drawn("way", "random"),
        "dead": Decoders("way", SAE, CLEAN, "dead"),
        "active": Decoders("way", SAE, CLEAN, "active"),
        "rotated": Rebuilt("way", SAE, "rotated"),
    }
    sae = dictionary()
    for x, move in each(moves(tmp_path, Sized(made[inner], SAE), 0.5, 1.0)):
        error = float((sae.reconstruct(x) - x).norm())
        assert move.norm(dim=1).tolist() == pytest.approx([0.5 * error, error], rel=1e-4)


def drawn(path: Path, which: str) -> list[tuple[Tensor, list[int]]]:
    """Each place's activation, and the features of six draws."""
    decoder = dictionary().tensors["W_dec"]
    found = [
        moves(path / f"{which}{i}", Decoders("d", SAE, CLEAN, which, 6), 1.0, number=i)
        for i in range(6)
    ]
    held: list[tuple[Tensor, list[int]]] = []
    for together in zip(*(each(one) for one in found), strict=True):
        numbers = [int((move[0] - decoder).norm(dim=1).argmin()) for _, move in together]
        for (_, move), number in zip(together, numbers, strict=True):
            torch.testing.assert_close(move[0], decoder[number])
        held.append((together[0][0], numbers))
    return held


def test_features_are_drawn_by_whether_they_are_on(tmp_path: Path) -> None:
    sae = dictionary()
    x = torch.cat([h[1:] for h in activations(Tiny(), DATA, "clean")]).float()
    alive = {i for i in range(8) if bool((sae.encode(x)[:, i] > 0).any())}
    assert alive and alive.isdisjoint({6, 7})
    seen: dict[str, set[int]] = {}
    for which in ("random", "active", "inactive", "dead"):
        for x, numbers in drawn(tmp_path, which):
            on = {i for i in range(8) if float(sae.encode(x)[i]) > 0}
            allowed = {
                "random": set(range(8)),
                "active": on,
                "inactive": alive - on,
                "dead": set(range(8)) - alive,
            }[which]
            assert set(numbers) <= allowed
            seen[which] = seen.get(which, set()) | set(numbers)
    assert len(seen["active"]) > 2 and len(seen["inactive"]) > 2 and {6, 7} <= seen["dead"]
    assert len(seen["random"]) == 8


def test_where_no_feature_is_of_the_kind_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = dictionary()
    tensors = {**everything.tensors, "b_enc": torch.full((8,), 100.0)}
    monkeypatch.setattr(f"{__name__}.dictionary", lambda: Dictionary("relu", tensors))
    with pytest.raises(InterpError) as error:
        moves(tmp_path, Decoders("d", SAE, CLEAN, "dead"), 1.0)
    assert error.value.diagnostics[0].code == "E663"
    assert float(moves(tmp_path / "on", Decoders("d", SAE, CLEAN, "active"), 1.0).norm()) > 0
