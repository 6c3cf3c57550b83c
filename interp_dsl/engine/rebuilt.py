"""What dictionaries make of the places of a run: reconstructions, and features drawn by whether
they are on there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.engine.kept_dictionaries import labelled
from interp_dsl.engine.means import behind_first
from interp_dsl.engine.state import State
from interp_dsl.geometry.directions import Counters, apart, isotropic
from interp_dsl.geometry.draws import below, hashed
from interp_dsl.geometry.reconstruction import chosen, substituted
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.dictionaries import DictionaryOf
from interp_dsl.plan.paths import CELLS, Decoders, Rebuilt
from interp_dsl.plan.places import Positions, Site


@dataclass(frozen=True)
class Place:
    """One index of a site at named positions."""

    site: Site
    index: int
    positions: Positions


@dataclass(frozen=True)
class Reconstruction:
    """Of places [n, k]: what a dictionary makes of them [n, k, width], float32, and how many of its
    features are on [n, k]."""

    y: Tensor
    active: Tensor


class Rebuilds:
    """What dictionaries make of the places of one run. Places come with what they are there, x
    [n, k, width]; `of` holds a dictionary of each place, which the checker has seen to."""

    def __init__(self, state: State, into: Run) -> None:
        self.state, self.into = state, into

    def vectors(self, path: Rebuilt | Decoders, place: Place, x: Tensor, at: Counters) -> Tensor:
        """The directions [n, k, width] of a path; nothing where no feature is of its kind. Raises
        InterpError E663 where none is anywhere."""
        of = of_place(path.of, place)
        if isinstance(path, Decoders):
            numbers = self._drawn(path, of, x, at)
            decoder = self.dictionary(of).tensors["W_dec"]
            found: Tensor = decoder[numbers] * (numbers >= 0)[..., None]
            return found
        random = isotropic(path.seed, at, x.shape[-1]) if path.how == "rotated" else None
        y = self.reconstruction(path.of, place, x).y
        return apart(substituted(path.how, x.float(), y, random), x)

    def error(self, of: tuple[DictionaryOf, ...], place: Place, x: Tensor) -> Tensor:
        """How far what the place's dictionary makes of it lies from it [n, k, 1]."""
        y = self.reconstruction(of, place, x).y
        length: Tensor = torch.linalg.vector_norm(y - x.float(), dim=-1, keepdim=True)
        return length

    def reconstruction(
        self, of: tuple[DictionaryOf, ...], place: Place, x: Tensor
    ) -> Reconstruction:
        found = of_place(of, place)

        def rebuilt() -> Reconstruction:
            held = self.dictionary(found)
            parts = [(held.decode(f), (f > 0).sum(1)) for f in _features(x, held)]
            y, active = (torch.cat(part) for part in zip(*parts, strict=True))
            return Reconstruction(y.view(x.shape), active.view(x.shape[:-1]))

        return self.state.once(("rebuilt", self.into, place, found.names), rebuilt)

    def dictionary(self, of: DictionaryOf) -> Dictionary:
        """A dictionary as its step left it."""

        def read() -> Dictionary:
            held = labelled(self.state.result(of.step).tensors, of.fitted[0].label)
            return held.to(self.state.device(self.into))

        return self.state.once(("dictionary", *of.names), read)

    def _drawn(self, path: Decoders, of: DictionaryOf, x: Tensor, at: Counters) -> Tensor:
        """The features [n, k] that are drawn, −1 where there is none to draw."""
        keys, held = hashed(path.seed, f"decoder:{path.which}", *at), self.dictionary(of)
        if path.which == "random":
            return below(keys, held.d_sae)
        on, found, row = self._alive(of, path.run), [], 0
        for f in _features(x, held):
            match path.which:
                case "active":
                    allowed = f > 0
                case "inactive":
                    allowed = ~(f > 0) & on
                case _:
                    allowed = (~on).expand_as(f)
            count = allowed.sum(1).clamp(min=1)
            draws = below(keys.flatten()[row : row + len(f)], count)
            found.append(chosen(allowed, draws[:, None])[:, 0])
            row += len(f)
        numbers = torch.cat(found).view(keys.shape)
        if not bool((numbers >= 0).any()):
            raise _none(path, of)
        return numbers

    def _alive(self, of: DictionaryOf, run: Run) -> Tensor:
        """Which features are on at some token of a run [d_sae], first tokens left out."""
        target, held = of.fitted[0].target, self.dictionary(of)

        def found() -> Tensor:
            x = self.state.captured(run, target.site)[:, :, target.index or 0]
            x = x[behind_first(self.state.side(run), x.device)]
            on = torch.zeros(held.d_sae, dtype=torch.bool, device=x.device)
            for f in _features(x, held):
                on |= (f > 0).any(0)
            return on

        return self.state.once(("alive", run, *of.names), found)


def of_place(of: tuple[DictionaryOf, ...], place: Place) -> DictionaryOf:
    """The dictionary of a place."""
    places = ((d, d.fitted[0].target) for d in of)
    return next(d for d, t in places if (t.site, t.index or 0) == (place.site, place.index))


def _features(x: Tensor, held: Dictionary) -> Iterator[Tensor]:
    """Features [rows, d_sae] of activations [..., width], some rows at a time."""
    for part in torch.split(x.flatten(0, -2).float(), max(1, CELLS // held.d_sae)):
        yield held.encode(part)


def _none(path: Decoders, of: DictionaryOf) -> InterpError:
    return InterpError(
        Diagnostic(
            "E663",
            f"no feature of {of.names[0]} is {path.which} at {of.fitted[0].target.place}",
            notes=("features are told by the prompts that are moved, without their first tokens",),
            help="ask for others: decoder(…, random=8)",
        ),
        exit_code=1,
    )
