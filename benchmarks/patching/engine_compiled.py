"""interp's compiled forward alone: one pass that is remembered, then passes that start at the
patched layer and position, all cells of a layer (and position) in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from job import Cell, Job
from plan import TOKENS, Group, groups
from torch import Tensor
from worker import Meter, Pairs, checkpoint, serve

if TYPE_CHECKING:
    from interp_dsl.models.compiled.executor import CompiledExecutor
    from interp_dsl.models.compiled.memory import Memory


class Compiled:
    def __init__(self, job: Job) -> None:
        from interp_dsl.models.load import load

        self.extra: dict[str, Any] = {}
        self.job, self.pairs = job, Pairs(job)
        spec = {"kind": "checkpoint", "folder": checkpoint(job)}
        self.model: CompiledExecutor = load(spec, job.device, executor="compiled")  # type: ignore[assignment]
        source = self.model.remember(self.pairs.source, parts=(job.kind,))
        kept = source.z if job.kind == "z" else source.resid_pre
        assert kept is not None
        self.source = kept if job.kind == "z" else kept[..., None, :]

    def sweep(self, cells: Sequence[Cell], meter: Meter) -> list[float]:
        before = self.model.work.copy()
        with meter:
            memory = self.model.remember(self.pairs.base)
            found = self._unpatched(memory).repeat(len(cells))
            for group in groups(cells, self.job):
                self._run(group, cells, memory, found)
            values = [float(x) for x in found.tolist()]
        self.extra = {"work": dict(self.model.work - before)}
        return values

    def _unpatched(self, memory: Memory) -> Tensor:
        """The metric of the base run, which the cells have that no group holds."""
        s, last = self.job.shape, self.job.shape.context - 1
        reads = torch.full_like(self.pairs.base[:, :1], last)
        rows = torch.arange(s.batch, device=self.job.device)
        end = self.model.resume(memory, rows, s.layers - 1, reads=reads, position=last)
        return self.pairs.gap(end.logits[:, 0])

    def _run(self, group: Group, cells: Sequence[Cell], memory: Memory, found: Tensor) -> None:
        s = self.job.shape
        size = max(1, TOKENS // (group.length * s.batch))
        for start in range(0, len(group.cells), size):
            chosen = group.cells[start : start + size]
            logits = self._logits(group, [cells[i].head or 0 for i in chosen], memory)
            gaps = self.pairs.gap(logits.view(len(chosen), s.batch, -1))
            found[torch.tensor(chosen, device=found.device)] = gaps

    def _logits(self, group: Group, heads: list[int], memory: Memory) -> Tensor:
        """[cells × batch, vocab] with one head (or the stream) a cell from the source side."""
        from interp_dsl.models.edits import Edit
        from interp_dsl.plan.places import Site

        s, device = self.job.shape, self.job.device
        count = len(heads) * s.batch
        rows = torch.arange(count, device=device)
        examples = rows % s.batch
        index = torch.tensor(heads, device=device).repeat_interleave(s.batch)
        stop = s.context if group.is_wide else group.position + 1
        at = torch.arange(group.position, stop, device=device).expand(count, -1)
        value = self.source[group.layer][examples[:, None], at, index[:, None]]
        valid = torch.ones_like(at, dtype=torch.bool)
        edit = Edit(Site(self.job.kind, group.layer), rows, index, at, valid, value)
        reads = torch.full((count, 1), s.context - 1, device=device)
        late = self.model.resume(memory, examples, group.layer, [edit], reads, group.position)
        return late.logits[:, 0]


if __name__ == "__main__":
    serve(Compiled, ("interp-dsl", "torch"))
