"""A plain Hugging Face model and PyTorch's own hooks: one forward a cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from job import Cell, Job
from torch import Tensor, nn
from worker import Meter, Pairs, checkpoint, serve

Hook = Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...] | None]


class Hooks:
    def __init__(self, job: Job) -> None:
        from transformers import GPT2LMHeadModel

        self.extra: dict[str, Any] = {}
        self.pairs = Pairs(job)
        self.by_head = job.kind == "z"
        self.d_head = job.shape.width // job.shape.heads
        self.model = GPT2LMHeadModel.from_pretrained(checkpoint(job)).eval().to(job.device)
        self.sources = [self._source(layer) for layer in range(job.shape.layers)]

    def sweep(self, cells: Sequence[Cell], meter: Meter) -> list[float]:
        with meter:
            found = [self._gap(self.pairs.base, cell.layer, self._patch(cell)) for cell in cells]
            return [float(x) for x in torch.stack(found).tolist()]

    def _module(self, layer: int) -> nn.Module:
        block: nn.Module = self.model.transformer.h[layer]
        return block.get_submodule("attn.c_proj") if self.by_head else block

    def _gap(self, tokens: Tensor, layer: int, hook: Hook) -> Tensor:
        handle = self._module(layer).register_forward_pre_hook(hook)
        logits = self.model(tokens, use_cache=False, logits_to_keep=1).logits[:, -1]
        handle.remove()
        return self.pairs.gap(logits)

    def _source(self, layer: int) -> Tensor:
        """What goes into the patched module on the source side [batch, context, width]."""
        seen: list[Tensor] = []

        def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen.append(inputs[0].clone())

        self._gap(self.pairs.source, layer, keep)
        return seen[0]

    def _patch(self, cell: Cell) -> Hook:
        head, d_head = cell.head, self.d_head
        part = slice(None) if head is None else slice(head * d_head, (head + 1) * d_head)
        at = slice(None) if cell.position is None else cell.position
        source = self.sources[cell.layer]

        def patch(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            x = inputs[0].clone()
            x[:, at, part] = source[:, at, part]
            return (x, *inputs[1:])

        return patch


if __name__ == "__main__":
    serve(Hooks, ("transformers", "torch"))
