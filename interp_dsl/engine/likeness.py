"""Dictionaries beside those that measures compare them with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.dictionaries.likeness import Correlations, mmcs
from interp_dsl.engine.harvest import Block, joined
from interp_dsl.engine.kept_dictionaries import read_dictionaries
from interp_dsl.plan.dictionaries import EvaluateDictionary, Judged
from interp_dsl.runs.folder import RunFolder

Features = dict[Judged, Tensor]
"""Of references, by the measure that compares with them."""


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
        self._sums = {
            (i, measure): Correlations()
            for measure in self.references
            if measure.compared
            for i in range(len(found))
        }

    def beside(self, block: Block) -> Features:
        """The references' features on a block of activations."""
        return {
            measure: reference.encode(joined(block, measure.compared))
            for measure, reference in self.references.items()
            if measure.compared
        }

    def add(self, i: int, block: Mapping[Judged, Correlations]) -> None:
        """What a block of activations says of dictionary i."""
        for measure, found in block.items():
            self._sums[i, measure].add(found)

    def of(self, i: int, measure: Judged) -> float | None:
        """The measure of dictionary i; None for one without a reference."""
        reference = self.references.get(measure)
        if reference is None:
            return None
        if measure.compared:
            return self._sums[i, measure].universality
        return mmcs(reference.tensors["W_dec"], self.found[i].tensors["W_dec"])
