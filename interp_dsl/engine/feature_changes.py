"""What setting features of dictionaries, and their errors, would do to first order: for all of
them at once (Marks et al. 2024, arXiv 2403.19647, equations 2 to 4).

An activation is x = Σ f_i d_i + b + e, with decoder rows d_i and the error e. Where the slope of
the metric at x is g, a feature that goes from f to f' contributes (f' - f) d · g, the error
(e' - e) · g. The contributions of all features and of the error add up to those of x itself. Those
of a transcoder are read at one place, and add up to what it rebuilds at another, whose slope counts
(Dunefsky et al. 2024, arXiv 2406.11944)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.engine.feature_values import (
    Multiples,
    activations_of,
    dictionary_of,
    encoded,
    flat,
    rebuilt_of,
)
from interp_dsl.engine.means import Means
from interp_dsl.engine.sources import Address, Elsewhere, Values
from interp_dsl.engine.state import State
from interp_dsl.models.edits import entries, moved
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.places import Positions, Site, Unit

Piece = tuple[Site, Positions]
"""Features of one dictionary, or its error, and where they are changed."""


@dataclass(frozen=True)
class Changed:
    """v - f of features [B, k, m], or v - e of an error [B, k, d_out], at positions `where` [B, k];
    0 where an example has fewer of them."""

    where: Tensor
    change: Tensor


class FeatureChanges:
    """The changes of units that are features and errors, in a run."""

    def __init__(self, values: Values, units: Iterable[Unit], into: Run, state: State) -> None:
        self.values, self.into, self.state = values, into, state
        wanted: dict[Piece, set[int]] = {}
        for target in (t for unit in units for t in unit.targets if t.site.feature):
            wanted.setdefault((target.site, target.positions), set()).add(target.index or 0)
        self._features = {piece: sorted(numbers) for piece, numbers in wanted.items()}
        self._rows = {p: {n: r for r, n in enumerate(held)} for p, held in self._features.items()}
        self._means = None
        if isinstance(values, Means):
            self._means = Means(state, values.source, into, self._averaged)

    @property
    def n_features(self) -> int:
        """How many features, or coordinates of errors, are changed at a position, at most."""
        widths = {site: self._dictionary(site).d_out for site, _ in self._features}
        by_site: dict[Site, int] = {}
        for (site, _), held in self._features.items():
            size = len(held) if site.kind == "feature" else widths[site]
            by_site[site] = max(by_site.get(site, 0), size)
        return sum(by_site.values())

    def differ(self, one: Piece, other: Piece) -> bool:
        """Whether two pieces of a place are of different coordinates: of one dictionary's features
        and error."""
        if one[0].feature is None or one[0].feature != other[0].feature:
            return False
        return one[0].kind != other[0].kind or not (self._rows[one].keys() & self._rows[other])

    def row(self, piece: Piece, index: int | None) -> int:
        """Which row of a piece's contributions a feature has; the first of an error."""
        return self._rows[piece][index or 0]

    def of(self, piece: Piece, clean: Mapping[Site, Tensor], examples: Tensor) -> Changed:
        """The changes of examples [B], whose clean values at sites are [B, T, index, width]."""
        site, positions = piece
        slots = self.state.slots(self.into, positions)
        where = slots.index[examples]
        at = _rows(where), where
        x, y = flat(clean[site.own], site.part), flat(clean[site.written], site.rebuilt[0].part)
        now = self._read(piece, entries(x, *at), entries(y, *at))
        valid = moved(slots.valid[examples], now.device)
        return Changed(where, (self._then(piece, examples) - now) * valid[..., None])

    def moved(self, piece: Piece, changed: Changed, held: Tensor) -> Tensor:
        """The activations of a place [B, T, index, width] with the change of a piece added."""
        site, part = piece[0], piece[0].rebuilt[0].part
        own, change = flat(held, part), changed.change
        if site.kind == "feature":
            change = change @ self._decoder(piece)
        at = (moved(_rows(changed.where), held.device), moved(changed.where, held.device))
        new = own.index_put(at, change.to(own.dtype), accumulate=True)
        if part is None:
            return new.view(held.shape)
        return held.index_copy(2, torch.tensor([part], device=held.device), new[:, :, None])

    def contributions(self, piece: Piece, changed: Changed, slopes: Tensor) -> Tensor:
        """What each feature of a piece contributes [features, B], by slopes of the place [B, T,
        index, width]; an error [1, B]."""
        site, where = piece[0], changed.where
        slope = entries(flat(slopes, site.rebuilt[0].part), _rows(where), where).float()
        if site.kind == "error":
            return (changed.change * slope).sum((1, 2))[None]
        return (changed.change * (slope @ self._decoder(piece).T)).sum(1).T

    def _then(self, piece: Piece, examples: Tensor) -> Tensor:
        """What the features are set to, or the error."""
        site, positions = piece
        if isinstance(self.values, Elsewhere):
            mine, theirs = self.values.places(positions, examples)
            x, y = self._activations(self.values.run, site)
            at = mine[:, None], theirs
            return self._read(piece, entries(x, *at), entries(y, *at))
        if isinstance(self.values, Multiples):
            return self.values.of(site, torch.tensor(self._features[piece]))
        if self._means is not None:
            return self._mean(piece, examples)
        first = torch.zeros(1, dtype=torch.long)
        return self.values(Address(site.own, positions, examples[:1], first)).float()

    def _mean(self, piece: Piece, examples: Tensor) -> Tensor:
        """The means of a piece's features [B, k, m], or of the error [B, k, d_out]."""
        (site, positions), numbers = piece, self._features[piece]
        place = {n: i for i, n in enumerate(self._averaged_numbers(site))}
        at = torch.tensor([place[n] for n in numbers])
        rows = examples.repeat_interleave(len(at))
        assert self._means is not None
        found = self._means(Address(site, positions, rows, at.repeat(len(examples)))).float()
        if site.kind == "error":
            return found
        return found[..., 0].expand(len(rows), -1).view(len(examples), len(at), -1).transpose(1, 2)

    def _averaged_numbers(self, site: Site) -> list[int]:
        return sorted({n for (s, _), held in self._features.items() if s == site for n in held})

    def _averaged(self, site: Site) -> Tensor:
        """Features of the run whose means are taken [n, T, m, 1], or errors [n, T, 1, d_out]."""
        assert isinstance(self.values, Means)
        dictionary = self._dictionary(site)
        x, y = self._activations(self.values.source.run, site)
        if site.kind == "error":
            return (y.float() - dictionary.reconstruct(x.float()))[:, :, None]
        numbers = self._averaged_numbers(site)
        parts = encoded(x.reshape(-1, x.shape[-1]), dictionary)
        found = torch.cat([part[:, numbers] for part in parts])
        return found.view(*x.shape[:2], len(numbers), 1)

    def _activations(self, run: Run, site: Site) -> tuple[Tensor, Tensor]:
        """What a dictionary reads in a run and, of an error, what it rebuilds [n, T, d]."""
        x = activations_of(run, site, self.state)
        return x, rebuilt_of(run, site, self.state) if site.kind == "error" else x

    def _read(self, piece: Piece, x: Tensor, y: Tensor) -> Tensor:
        """The features of activations x [B, k, d_in], or the error of what is made of them in y
        [B, k, d_out]."""
        site, dictionary = piece[0], self._dictionary(piece[0])
        if site.kind == "error":
            return y.float() - dictionary.reconstruct(x.float())
        return dictionary.encode(x.float())[..., self._features[piece]]

    def _decoder(self, piece: Piece) -> Tensor:
        """Decoder rows of a piece's features [m, d_in]."""
        return self._dictionary(piece[0]).tensors["W_dec"][self._features[piece]]

    def _dictionary(self, site: Site) -> Dictionary:
        return dictionary_of(site, self.state.device(self.into), self.state)


def _rows(where: Tensor) -> Tensor:
    """The rows that positions [B, k] are of [B, 1]."""
    return torch.arange(len(where))[:, None]
