"""nnsight: one trace a cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from job import Cell, Job
from torch import Tensor
from worker import Meter, Pairs, checkpoint, serve


class Sight:
    def __init__(self, job: Job) -> None:
        from nnsight import NNsight  # type: ignore[import-not-found]
        from transformers import GPT2LMHeadModel

        self.extra: dict[str, Any] = {}
        self.pairs = Pairs(job)
        self.by_head = job.kind == "z"
        self.d_head = job.shape.width // job.shape.heads
        model = GPT2LMHeadModel.from_pretrained(checkpoint(job)).eval().to(job.device)
        self.model = NNsight(model)
        self.sources = [self._source(layer) for layer in range(job.shape.layers)]

    def sweep(self, cells: Sequence[Cell], meter: Meter) -> list[float]:
        with meter:
            found = torch.stack([self._patched(cell) for cell in cells])
            return [float(x) for x in found.tolist()]

    def _module(self, layer: int) -> Any:
        block = self.model.transformer.h[layer]
        return block.attn.c_proj if self.by_head else block

    def _source(self, layer: int) -> Tensor:
        module = self._module(layer)
        with self.model.trace(self.pairs.source, use_cache=False, logits_to_keep=1):
            kept = module.input.clone().save()
        return kept  # type: ignore[no-any-return]

    def _patched(self, cell: Cell) -> Tensor:
        head, d_head = cell.head, self.d_head
        part = slice(None) if head is None else slice(head * d_head, (head + 1) * d_head)
        at = slice(None) if cell.position is None else cell.position
        module, source = self._module(cell.layer), self.sources[cell.layer]
        with self.model.trace(self.pairs.base, use_cache=False, logits_to_keep=1):
            new = module.input.clone()
            new[:, at, part] = source[:, at, part]
            module.input = new
            logits = self.model.lm_head.output[:, -1].save()
        return self.pairs.gap(logits)


if __name__ == "__main__":
    serve(Sight, ("nnsight", "transformers", "torch"))
