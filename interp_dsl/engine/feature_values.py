"""What features are in a run, and the multiples of their largest that they are set to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.engine.kept_dictionaries import labelled
from interp_dsl.engine.means import behind_first
from interp_dsl.engine.state import State
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.plan.algebra import Run, Times
from interp_dsl.plan.places import Site, Target

if TYPE_CHECKING:
    from interp_dsl.engine.sources import Address

CHUNK = 4096
"""Activations whose features are computed at once."""


def dictionary_of(site: Site, device: torch.device, state: State) -> Dictionary:
    """The dictionary of a site of features."""

    def read() -> Dictionary:
        step, _, label = str(site.feature).partition("[")
        return labelled(state.result(step).tensors, label.removesuffix("]")).to(device)

    return state.once(("dictionary", site.feature), read)


def activations_of(run: Run, site: Site, state: State) -> Tensor:
    """What a dictionary reads in a run [n, T, d_in], as an earlier forward kept it."""
    return _beside(run, site.read, state)


def rebuilt_of(run: Run, site: Site, state: State) -> Tensor:
    """What a dictionary rebuilds in a run [n, T, d_out], as an earlier forward kept it."""
    return _beside(run, site.rebuilt, state)


def _beside(run: Run, places: tuple[Site, ...], state: State) -> Tensor:
    """The activations of places side by side."""
    found = [flat(state.captured(run, place.tensor), place.part) for place in places]
    return found[0] if len(found) == 1 else torch.cat(found, -1)


def widths(run: Run, site: Site, state: State) -> list[int]:
    """How wide each of the places is that a dictionary rebuilds and reads."""
    return [_beside(run, (place,), state).shape[-1] for place in site.rebuilt]


def flat(x: Tensor, part: int | None) -> Tensor:
    """The activations [n, T, d] of a place [n, T, index, width]: of one index, or of all of them
    side by side."""
    return x.flatten(2) if part is None else x[:, :, part]


def encoded(x: Tensor, dictionary: Dictionary) -> Iterator[Tensor]:
    """Features [rows, d_sae] of activations [rows, d_in], some rows at a time."""
    for part in torch.split(x.float(), CHUNK):
        yield dictionary.encode(part)


class Multiples:
    """Values of a Times source."""

    def __init__(self, state: State, source: Times) -> None:
        self.state, self.source = state, source

    def of(self, site: Site, numbers: Tensor) -> Tensor:
        """What features [m] of a site are set to [m]. Raises InterpError E662 for one that is 0 on
        all of the data, of which every multiple is 0."""
        most = self._largest(site)
        found = most[numbers.to(most.device)]
        if not bool((found > 0).all()):
            number = int(numbers[int((found <= 0).nonzero()[0])])
            raise _silent(Target(site, number).place, self.state.data[self.source.run.data].name)
        return self.source.value * found

    def _largest(self, site: Site) -> Tensor:
        """The largest that each feature is [d_sae], first tokens left out."""
        run = self.source.run

        def found() -> Tensor:
            device = self.state.device(run)
            counted = behind_first(self.state.side(run), device)
            x = activations_of(run, site, self.state)[counted]
            parts = encoded(x, dictionary_of(site, device, self.state))
            return torch.stack([part.amax(0) for part in parts]).amax(0)

        return self.state.once(("largest", run, site), found)

    def __call__(self, at: Address) -> Tensor:
        raise AssertionError("the checker lets multiples be of features alone")


def _silent(place: str, data: str) -> InterpError:
    return InterpError(
        Diagnostic(
            "E662",
            f"{place} is 0 everywhere on {data}, and so is every multiple of its largest",
            help="name data on which it fires: ablate sae[12] with 5x on DATA; or set it to a "
            "number: with 8",
        ),
        exit_code=1,
    )
