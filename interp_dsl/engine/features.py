"""Features changed: the dictionary spliced in with its error added back, so that an activation x
becomes x + (v - f) d, where d is the feature's decoder row, f what it is in x and v what it is set
to: a number, or what it is in another run. Features of one unit add up. The error x - x̂ is a unit
as well (Marks et al. 2024, arXiv 2403.19647): x becomes x + v - (x - x̂). Of a transcoder (Dunefsky
et al. 2024, arXiv 2406.11944) features are read of what it reads, and it is y that changes, what it
rebuilds, whose error is y - ŷ. Of a crosscoder all places change at once, each to what it is in the
run and (v - f) d more, with its own part of d: as where the whole is spliced in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.engine.carried import changing
from interp_dsl.engine.feature_values import (
    CHUNK,
    Multiples,
    activations_of,
    dictionary_of,
    encoded,
    flat,
    rebuilt_of,
    widths,
)
from interp_dsl.engine.live_features import Named, Piece, read_live
from interp_dsl.engine.means import Means
from interp_dsl.engine.packed import Packed
from interp_dsl.engine.slots import Slots
from interp_dsl.engine.sources import Address, Elsewhere, Values
from interp_dsl.engine.splice import row_of
from interp_dsl.engine.state import State
from interp_dsl.models.edits import Edit, entries
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.places import Positions, Site, Target, Unit


@dataclass(frozen=True)
class Known:
    """Features of a run [m, n, T], `place` which of the m each is, of all there are; or the error
    [1, n, T, d_out]."""

    numbers: frozenset[int]
    values: Tensor
    place: Tensor

    @classmethod
    def of(cls, numbers: Sequence[int], values: Tensor, d_sae: int) -> Known:
        place = torch.full((d_sae,), -1)
        place[list(numbers)] = torch.arange(len(numbers))
        return cls(frozenset(numbers), values, place)

    def joined(self, more: Known) -> Known:
        """These and others."""
        shifted = torch.where(more.place >= 0, more.place + len(self.values), self.place)
        values = torch.cat([self.values, more.values])
        return Known(self.numbers | more.numbers, values, shifted)


class FeatureEdits:
    """The edits of units that are features or errors, from what the run's own pass has left;
    `holds` where the run itself is under them, so that there is nothing yet."""

    def __init__(self, values: Values, into: Run, state: State, holds: bool = False) -> None:
        self.values, self.into, self.state, self.holds = values, into, state, holds
        self._held: dict[tuple[Run, Site], Known] = {}
        self._means: Means | None = None

    def prepare(self, units: Iterable[Unit]) -> None:
        """Compute the features and errors of units in the run, and in that of the source."""
        wanted: dict[Site, set[int]] = defaultdict(set)
        for target in (t for unit in units for t in unit.targets if t.site.feature):
            wanted[target.site].add(_number(target))
        runs = set() if self.holds else {self.into}
        if isinstance(self.values, Elsewhere):
            runs.add(self.values.run)
        if isinstance(self.values, Means):  # of what is known from here on
            runs.add(self.values.source.run)
            self._means = Means(self.state, self.values.source, self.into, self._averaged)
        for run in runs:
            for site, numbers in wanted.items():
                known = self._held.get((run, site))
                left = sorted(numbers if known is None else numbers - known.numbers)
                if left:
                    new = self._compute(run, site, left)
                    self._held[run, site] = new if known is None else known.joined(new)

    def _averaged(self, site: Site) -> Tensor:
        """Features of the run whose means are taken [n, T, m, 1], or errors [n, T, 1, d_out]."""
        assert isinstance(self.values, Means)
        known = self._held[self.values.source.run, site].values
        return known.movedim(0, 2) if site.kind == "error" else known.movedim(0, 2)[..., None]

    def _compute(self, run: Run, site: Site, numbers: list[int]) -> Known:
        x = activations_of(run, site, self.state)
        rows, dictionary = x.reshape(-1, x.shape[-1]), self._dictionary(site)
        if site.kind == "error":
            y = rebuilt_of(run, site, self.state).float()
            made = [dictionary.reconstruct(part.float()) for part in torch.split(rows, CHUNK)]
            return Known.of(numbers, (y - torch.cat(made).view(y.shape))[None], dictionary.d_sae)
        found = torch.cat([part[:, numbers] for part in encoded(rows, dictionary)])
        columns = found.T.reshape(len(numbers), *x.shape[:2])
        return Known.of(numbers, columns, dictionary.d_sae)

    def _dictionary(self, site: Site) -> Dictionary:
        return dictionary_of(site, self.state.device(self.into), self.state)

    def edits(self, batch: Packed) -> list[Edit]:
        """Edits that add what changes; where a unit changes other places too, so that its features
        are not what they were, edits that read them as the pass goes."""
        alone: dict[Piece, list[Named]] = defaultdict(list)
        live: dict[Piece, list[Named]] = defaultdict(list)
        for number, unit in enumerate(batch.units):
            held: dict[Piece, list[int]] = defaultdict(list)
            for target in (t for t in unit.targets if t.site.feature):
                held[target.site, target.positions].append(_number(target))
            into = live if unit.is_live or self.holds else alone
            for piece, numbers in held.items():
                into[piece].append((number, numbers))
        found = [e for piece, members in alone.items() for e in self._kept(piece, members, batch)]
        found += [e for piece, members in alone.items() for e in self._added(piece, members, batch)]
        found += read_live(live, batch, self._dictionary, self._slots, self._then)
        return [edit for edit in found if len(edit.rows)]

    def _slots(self, at: Positions) -> Slots:
        return self.state.slots(self.into, at)

    def _rows(
        self, at: Positions, members: Sequence[Named], batch: Packed
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The rows [R] of units that have these positions, for which of them each is, and the
        positions [R, k]."""
        slots = self._slots(at)
        rows, which = batch.rows([number for number, _ in members])
        some = slots.some[batch.examples[rows]]
        return rows[some], which[some], slots.index[batch.examples[rows[some]]]

    def _kept(self, piece: Piece, members: Sequence[Named], batch: Packed) -> list[Edit]:
        """Of a crosscoder the places as they are in the run, to which changes are then added: what
        is added at one of them would reach a later one, and count there again."""
        site, at = piece
        if len(site.rebuilt) == 1:
            return []
        rows, _, where = self._rows(at, members, batch)
        found = []
        for place in site.rebuilt:
            x = flat(self.state.captured(self.into, place.tensor), place.part)
            value = entries(x, batch.examples[rows][:, None], where)
            found.append(_edit(place, rows, where, value, "set"))
        return found

    def _added(self, piece: Piece, members: Sequence[Named], batch: Packed) -> list[Edit]:
        """What features of units, or an error, add at the places that they write to."""
        site = piece[0]
        rows, which, where = self._rows(piece[1], members, batch)
        if all(len(numbers) == 1 for _, numbers in members):
            feature = torch.tensor([numbers[0] for _, numbers in members])[which]
            change = self._change(piece, feature, batch.examples[rows], where)
        else:
            change = self._sums(piece, members, which, batch.examples[rows])
        parts = [change]
        if len(site.rebuilt) > 1:
            parts = [*torch.split(change, widths(self.into, site, self.state), -1)]
        return [
            _edit(place, rows, where, part, "add")
            for place, part in zip(site.rebuilt, parts, strict=True)
        ]

    def _change(self, piece: Piece, feature: Tensor, examples: Tensor, where: Tensor) -> Tensor:
        """(v - f) d of a feature a row [R, k, d_out], or v - e."""
        site, at = piece
        now = self._in_run(self.into, site, feature, examples, where)
        change = self._then(site, at, feature, examples) - now
        if site.kind == "error":
            return change
        decoder = self._dictionary(site).tensors["W_dec"]
        return change[..., None] * entries(decoder, feature)[:, None]

    def _sums(
        self, piece: Piece, members: Sequence[Named], which: Tensor, examples: Tensor
    ) -> Tensor:
        """Σ (v - f) d over the features of each row's unit [R, k, d_out]."""
        (site, at), decoder = piece, self._dictionary(piece[0]).tensors["W_dec"]
        parts = []
        for member, (_, numbers) in enumerate(members):
            mine, feature = examples[which == member], torch.tensor(numbers)
            where, n = self._slots(at).index[mine], len(mine)
            cells = (feature.repeat(n), mine.repeat_interleave(len(feature)))
            now = self._in_run(self.into, site, *cells, where.repeat_interleave(len(feature), 0))
            change = (self._then(site, at, *cells) - now).view(n, len(feature), -1)
            parts.append(change.transpose(1, 2) @ decoder[numbers])
        return torch.cat(parts)

    def _then(self, site: Site, at: Positions, feature: Tensor, examples: Tensor) -> Tensor:
        """What features of examples [R] are set to, [R, k] or [R, 1]; errors, as wide as x."""
        if isinstance(self.values, Elsewhere):
            mine, theirs = self.values.places(at, examples)
            return self._in_run(self.values.run, site, feature, mine, theirs)
        if isinstance(self.values, Multiples):
            return self.values.of(site, feature)[:, None]
        if isinstance(self.values, Means):
            place = self._held[self.values.source.run, site].place[feature]
            assert self._means is not None, "units were made ready"
            value = self._means(Address(site, at, examples, place)).float()
        else:
            value = self.values(Address(site.own, at, examples, feature)).float()
        return value if site.kind == "error" else value[..., 0]

    def _in_run(
        self, run: Run, site: Site, feature: Tensor, examples: Tensor, where: Tensor
    ) -> Tensor:
        """Features [R] of a run at the places [R, k] of examples [R]: [R, k]; of errors [R, k,
        d_out]."""
        known = self._held[run, site]
        return entries(known.values, known.place[feature][:, None], examples[:, None], where)


class HeldFeatures:
    """Features that hold at one value throughout, whatever the activations become: x becomes
    x + Σ (v - f(x)) d as the pass goes; without the error, that is, with one of 0,
    x̂ + Σ (v - f(x)) d."""

    def __init__(self, values: Values, into: Run, state: State) -> None:
        self.values, self.into, self.state = values, into, state

    def prepare(self, units: Iterable[Unit]) -> None:
        """Nothing is known before the pass."""

    def edits(self, batch: Packed) -> list[Edit]:
        """The edits of each dictionary and its positions, of all features there and the error."""
        (unit,) = batch.units
        places: dict[tuple[Site, Positions], list[int]] = defaultdict(list)
        whole: set[tuple[Site, Positions]] = set()
        for target in unit.targets:
            if target.site.feature is None:
                continue
            place = (replace(target.site, kind="feature"), target.positions)
            held = places[place]
            if target.site.kind == "error":
                whole.add(place)
            else:
                held.append(_number(target))
        found = (
            self._edits(*place, numbers, place in whole, batch) for place, numbers in places.items()
        )
        return [edit for edits in found for edit in edits if len(edit.rows)]

    def _edits(
        self, site: Site, at: Positions, numbers: list[int], drops_error: bool, batch: Packed
    ) -> list[Edit]:
        slots = self.state.slots(self.into, at)
        rows = slots.some[batch.examples].nonzero()[:, 0]
        where = slots.index[batch.examples[rows]]
        device = self.state.device(self.into)
        dictionary = dictionary_of(site, device, self.state)
        then, rows_of = self._then(site, at, numbers), dictionary.tensors["W_dec"][numbers]

        def change(y: Tensor, x: Tensor, then: Tensor) -> Tensor:
            features = dictionary.encode(x.float())
            left = dictionary.decode(features, x.float()) if drops_error else y.float()
            return (left + (then - features[..., numbers]) @ rows_of).to(y.dtype)

        return changing(site, rows, where, then[None, None], change, device)

    def _then(self, site: Site, at: Positions, numbers: list[int]) -> Tensor:
        """What each feature is set to [m], the same everywhere."""
        if isinstance(self.values, Multiples):
            return self.values.of(site, torch.tensor(numbers))
        first = torch.zeros(1, dtype=torch.long)
        return self.values(Address(site.own, at, first, first))[0, 0].float()


def _edit(
    place: Site, rows: Tensor, where: Tensor, value: Tensor, op: Literal["set", "add"]
) -> Edit:
    own, number = row_of(place.tensor, place.part)
    index, valid = torch.full_like(rows, number), torch.ones_like(where, dtype=torch.bool)
    return Edit(own, rows, index, where, valid, value, op)


def _number(target: Target) -> int:
    """The number of a feature; 0 of an error, of which there is one."""
    assert target.index is not None or target.site.kind == "error", "a feature has a number"
    return target.index or 0
