"""Features changed: the dictionary spliced in with its error added back, so that an activation x
becomes x + (v - f) d, where d is the feature's decoder row, f what it is in x and v what it is set
to: a number, or what it is in another run. Features of one unit add up. The error x - x̂ is a unit
as well (Marks et al. 2024, arXiv 2403.19647): x becomes x + v - (x - x̂)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.engine.feature_values import (
    CHUNK,
    Multiples,
    activations_of,
    dictionary_of,
    encoded,
)
from interp_dsl.engine.packed import Packed
from interp_dsl.engine.sources import Address, Elsewhere, Values
from interp_dsl.engine.splice import row_of
from interp_dsl.engine.state import State
from interp_dsl.models.edits import Edit, entries
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.places import Positions, Site, Target, Unit


class FeatureEdits:
    """The edits of units that are features or errors, from what the run's own pass has left."""

    def __init__(self, values: Values, into: Run, state: State) -> None:
        self.values, self.into, self.state = values, into, state
        self._held: dict[tuple[Run, Site, int], Tensor] = {}

    def prepare(self, units: Iterable[Unit]) -> None:
        """Compute the features [n, T] and errors [n, T, d_in] of units in the run, and in that of
        the source."""
        wanted: dict[Site, dict[int, None]] = defaultdict(dict)
        for target in (t for unit in units for t in unit.targets if t.site.feature):
            wanted[target.site][_number(target)] = None
        runs = {self.into, self.values.run} if isinstance(self.values, Elsewhere) else {self.into}
        for run in runs:
            for site, numbers in wanted.items():
                left = [n for n in numbers if (run, site, n) not in self._held]
                if left:
                    self._compute(run, site, left)

    def _compute(self, run: Run, site: Site, numbers: list[int]) -> None:
        x = activations_of(run, site, self.state)
        flat, dictionary = x.reshape(-1, x.shape[-1]), self._dictionary(site)
        if site.kind == "error":
            parts = torch.split(flat.float(), CHUNK)
            found = torch.cat([part - dictionary.reconstruct(part) for part in parts])
            self._held[run, site, 0] = found.view(x.shape)
            return
        found = torch.cat([part[:, numbers] for part in encoded(flat, dictionary)])
        for number, column in zip(numbers, found.unbind(1), strict=True):
            self._held[run, site, number] = column.reshape(x.shape[:2]).contiguous()

    def _dictionary(self, site: Site) -> Dictionary:
        return dictionary_of(site, self.state.device(self.into), self.state)

    def edits(self, batch: Packed) -> list[Edit]:
        """Edits that add what changes. Features of one unit at one place are each in an edit of
        their own, made one after another."""
        turns: dict[tuple[Site, Positions, int], list[tuple[int, int]]] = defaultdict(list)
        for number, unit in enumerate(batch.units):
            counted: dict[tuple[Site, Positions], int] = defaultdict(int)
            for target in unit.targets:
                if target.site.feature is None:
                    continue
                place = (target.site, target.positions)
                turns[(*place, counted[place])].append((number, _number(target)))
                counted[place] += 1
        found = [self._edit(site, at, members, batch) for (site, at, _), members in turns.items()]
        return [edit for edit in found if len(edit.rows)]

    def _edit(
        self, site: Site, at: Positions, members: list[tuple[int, int]], batch: Packed
    ) -> Edit:
        """The edit of features, each in the rows of its unit; or of errors."""
        rows, which = batch.rows([number for number, _ in members])
        feature = torch.tensor([index for _, index in members])[which]
        slots = self.state.slots(self.into, at)
        some = slots.some[batch.examples[rows]]
        rows, feature = rows[some], feature[some]
        examples = batch.examples[rows]
        where = slots.index[examples]
        now = self._in_run(self.into, site, feature, examples, where)
        change = self._then(site, at, feature, examples) - now
        if site.kind == "feature":
            decoder = self._dictionary(site).tensors["W_dec"]
            change = change[..., None] * entries(decoder, feature)[:, None]
        own, part = row_of(site.own, site.part)
        index, valid = torch.full_like(rows, part), torch.ones_like(where, dtype=torch.bool)
        return Edit(own, rows, index, where, valid, change, "add")

    def _then(self, site: Site, at: Positions, feature: Tensor, examples: Tensor) -> Tensor:
        """What features of examples [R] are set to, [R, k] or [R, 1]; errors, as wide as x."""
        if isinstance(self.values, Elsewhere):
            mine, theirs = self.values.places(at, examples)
            return self._in_run(self.values.run, site, feature, mine, theirs)
        if isinstance(self.values, Multiples):
            return self.values.of(site, feature)[:, None]
        value = self.values(Address(site.own, at, examples, feature)).float()
        return value if site.kind == "error" else value[..., 0]

    def _in_run(
        self, run: Run, site: Site, feature: Tensor, examples: Tensor, where: Tensor
    ) -> Tensor:
        """Features [R] of a run at the places [R, k] of examples [R]: [R, k]; of errors [R, k,
        d_in]."""
        numbers, place = torch.unique(feature, return_inverse=True)
        held = torch.stack([self._held[run, site, n] for n in numbers.tolist()])
        return entries(held, place[:, None], examples[:, None], where)


class HeldFeatures:
    """Features that hold throughout, whatever the activations become: x becomes x + Σ (v - f(x)) d
    as the pass goes, and without the error, that is, with an error of 0, x̂ + Σ (v - f(x)) d."""

    def __init__(self, values: Values, into: Run, state: State) -> None:
        self.values, self.into, self.state = values, into, state

    def prepare(self, units: Iterable[Unit]) -> None:
        """Nothing is known before the pass."""

    def edits(self, batch: Packed) -> list[Edit]:
        """One edit for each dictionary and its positions, of all features there and the error."""
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
            self._edit(*place, numbers, place in whole, batch) for place, numbers in places.items()
        )
        return [edit for edit in found if len(edit.rows)]

    def _edit(
        self, site: Site, at: Positions, numbers: list[int], drops_error: bool, batch: Packed
    ) -> Edit:
        slots = self.state.slots(self.into, at)
        rows = slots.some[batch.examples].nonzero()[:, 0]
        where = slots.index[batch.examples[rows]]
        dictionary = dictionary_of(site, self.state.device(self.into), self.state)
        then, rows_of = self._then(site, at, numbers), dictionary.tensors["W_dec"][numbers]

        def change(x: Tensor) -> Tensor:
            features = dictionary.encode(x.float())
            left = dictionary.decode(features) if drops_error else x.float()
            return (left + (then - features[..., numbers]) @ rows_of).to(x.dtype)

        own, part = row_of(site.own, site.part)
        index, valid = torch.full_like(rows, part), torch.ones_like(where, dtype=torch.bool)
        return Edit(own, rows, index, where, valid, op="map", map=change)

    def _then(self, site: Site, at: Positions, numbers: list[int]) -> Tensor:
        """What each feature is set to [m], the same everywhere."""
        if isinstance(self.values, Multiples):
            return self.values.of(site, torch.tensor(numbers))
        first = torch.zeros(1, dtype=torch.long)
        return self.values(Address(site.own, at, first, first))[0, 0].float()


def _number(target: Target) -> int:
    """The number of a feature; 0 of an error, of which there is one."""
    assert target.index is not None or target.site.kind == "error", "a feature has a number"
    return target.index or 0
