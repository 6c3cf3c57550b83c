"""Dictionaries beside those that measures compare them with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.dictionaries.likeness import Correlations, mmcs
from interp_dsl.dictionaries.splitting import Firing, Splits
from interp_dsl.engine.harvest import Block
from interp_dsl.engine.kept_dictionaries import read_dictionaries
from interp_dsl.plan.dictionaries import EvaluateDictionary, Judged
from interp_dsl.runs.folder import RunFolder

Features = dict[Judged, Tensor]
"""Of references, by the measure that compares with them."""
Compared = dict[Judged, Correlations | Firing]
"""What a block says of one dictionary beside references."""


class Likeness:
    """The measures of a task that have a reference."""

    def __init__(
        self,
        task: EvaluateDictionary,
        found: Sequence[Dictionary],
        folder: RunFolder,
        device: torch.device,
    ) -> None:
        self.found = found
        self.references = {
            measure: read_dictionaries(folder, measure.reference, device)[0]
            for measure in task.measures
            if measure.reference is not None
        }
        self.sums: dict[tuple[int, Judged], Correlations | Splits] = {
            (i, measure): self._begun(one, measure)
            for measure in self.references
            if measure.compared
            for i, one in enumerate(found)
        }

    def _begun(self, one: Dictionary, measure: Judged) -> Correlations | Splits:
        if measure.function == "universality":
            return Correlations()
        ours, known = (d.tensors["W_dec"] for d in (one, self.references[measure]))
        return Splits(known, ours, measure.given["least"])

    def beside(self, block: Block) -> Features:
        """The references' features on a block of activations."""
        return {
            measure: self.references[measure].encode(block[target])
            for measure in self.references
            for target in measure.compared
        }

    def compared(self, i: int, f: Tensor, references: Features) -> Compared:
        """What features f [R, m] of dictionary i and those of references say on a block."""
        found: Compared = {}
        for measure, g in references.items():
            held = self.sums[i, measure]
            if isinstance(held, Splits):
                found[measure] = Firing.of(f, g, held.parent)
            else:
                found[measure] = Correlations.of(f, g)
        return found

    def add(self, i: int, block: Compared) -> None:
        """What a block of activations says of dictionary i."""
        for measure, found in block.items():
            self.sums[i, measure].add(found)  # type: ignore[arg-type]

    def of(self, i: int, measure: Judged) -> dict[str, float] | None:
        """The values of a measure of dictionary i by name; None for one without a reference."""
        reference = self.references.get(measure)
        if reference is None:
            return None
        held = self.sums.get((i, measure))
        if isinstance(held, Splits):
            return held.told()
        if isinstance(held, Correlations):
            return {measure.name: held.universality}
        ours = self.found[i].tensors["W_dec"]
        return {measure.name: mmcs(reference.tensors["W_dec"], ours)}

    def splits(self) -> Iterator[tuple[int, Judged, Splits]]:
        """How references' features split in each dictionary."""
        for (i, measure), held in self.sums.items():
            if isinstance(held, Splits):
                yield i, measure, held
