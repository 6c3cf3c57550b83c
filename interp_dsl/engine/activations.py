"""Activations kept on disk: a second fit of the same places, model and data reads what the first
has passed through the model.

    STORE/<key>/about.json              what it is of: place, width, rows, model, data
    STORE/<key>/<first>.safetensors     `activations` [rows, width], float32, of the text of the
                                        examples from `first` on, one after the other

The key is of the model, the data, the interventions under which it was run, and the place. A file
is whole or not there, so a store that was broken off goes on with the files that it lacks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from interp_dsl.engine.batches import in_batches
from interp_dsl.engine.harvest import Block, Harvest
from interp_dsl.engine.interrupts import Stop
from interp_dsl.plan.places import Target
from interp_dsl.runs.files import replacing, write_json

ROWS = 1 << 16
"""Activations of a file, about."""
OPEN = 512
"""Files that are held open at most."""


class Store:
    """The activations of all examples of a harvest, by target."""

    def __init__(self, path: Path, harvest: Harvest, key_of: Callable[[Target], str]) -> None:
        self.harvest = harvest
        self.folders = {target: path / key_of(target)[:16] for target in harvest.targets}
        self._ends = [0, *harvest.stream.counts.cumsum().tolist()]
        self._files: dict[tuple[Target, int], Any] = {}
        examples = range(len(self._ends) - 1)
        parts = groupby(examples, key=lambda example: self._ends[example] // ROWS)
        self._firsts = [*(next(part) for _, part in parts), len(examples)]

    def fill(self, stop: Stop) -> int:
        """Pass through the model what is not there yet. Returns how many of its files were."""
        found = 0
        for first, last in zip(self._firsts, self._firsts[1:], strict=False):
            lacking = [t for t in self.folders if not self._path(t, first).is_file()]
            found += len(self.folders) - len(lacking)
            if lacking:
                self._keep(first, last, lacking)
            self.harvest.report.progress(last, self._firsts[-1])
            stop.check()
        return found

    def of(self, examples: Tensor) -> Block:
        """The activations of examples [B], in their order."""
        return {target: self._rows(target, examples.tolist()) for target in self.folders}

    @property
    def count(self) -> int:
        """Its files."""
        return len(self.folders) * (len(self._firsts) - 1)

    def _path(self, target: Target, first: int) -> Path:
        return self.folders[target] / f"{first:08d}.safetensors"

    def _keep(self, first: int, last: int, lacking: Sequence[Target]) -> None:
        held: dict[Target, list[Tensor]] = {target: [] for target in lacking}

        def work(start: int, stop: int) -> None:
            block = self.harvest.of(torch.arange(first + start, first + stop))[1]
            for target, x in {target: block[target].cpu() for target in lacking}.items():
                held[target].append(x)  # of all or of none, where memory runs out

        harvest = self.harvest
        harvest.rows = in_batches(last - first, harvest.rows, work, harvest.report.note)
        for target, parts in held.items():
            rows = torch.cat(parts)
            with replacing(self._path(target, first)) as temporary:
                save_file({"activations": rows}, temporary)
            if last == self._firsts[-1]:
                self._tell(target, rows.shape[1])

    def _tell(self, target: Target, width: int) -> None:
        about = {"place": replace(target, model=None).place, "width": width, "rows": self._ends[-1]}
        about |= {"examples": self._firsts[-1], **self.harvest.about[target]}
        write_json(self.folders[target] / "about.json", about)

    def _rows(self, target: Target, examples: Sequence[int]) -> Tensor:
        parts = []
        for example in examples:
            first = self._firsts[bisect_right(self._firsts, example) - 1]
            start, stop = (end - self._ends[first] for end in self._ends[example : example + 2])
            parts.append(self._slice(target, first)[start:stop])
        return torch.cat(parts).to(self.harvest.device)

    def _slice(self, target: Target, first: int) -> Any:
        key = target, first
        if key not in self._files:
            if len(self._files) >= OPEN:
                self._files.clear()
            file = safe_open(self._path(target, first), "pt")
            self._files[key] = file.get_slice("activations")  # type: ignore[no-untyped-call]
        return self._files[key]
