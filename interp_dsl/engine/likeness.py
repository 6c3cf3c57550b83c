"""Dictionaries beside those that measures compare them with."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.dictionaries.likeness import Correlations, mmcs
from interp_dsl.engine.harvest import Block
from interp_dsl.engine.kept_dictionaries import read_dictionaries
from interp_dsl.plan.dictionaries import EvaluateDictionary, Judged
from interp_dsl.runs.folder import RunFolder


class Likeness:
    """The measures of a task that have a reference."""

    def __init__(
        self,
        task: EvaluateDictionary,
        found: Sequence[Dictionary],
        folder: RunFolder,
        device: torch.device,
    ) -> None:
        self.task, self.found = task, found
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

    def add(self, block: Block) -> None:
        """Features of both, on a block of activations."""
        for (i, measure), sums in self._sums.items():
            x = block[self.task.of.fitted[i].target]
            (target,) = measure.compared
            sums.add(self.found[i].encode(x), self.references[measure].encode(block[target]))

    def of(self, i: int, measure: Judged) -> float | None:
        """The measure of dictionary i; None for one without a reference."""
        reference = self.references.get(measure)
        if reference is None:
            return None
        if measure.compared:
            return self._sums[i, measure].universality
        return mmcs(reference.tensors["W_dec"], self.found[i].tensors["W_dec"])
