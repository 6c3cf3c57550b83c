"""pyvene: an intervenable model a layer, values of the source side handed in, a forward a cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from engine_hf_hooks import Hooks
from job import Cell, Job
from torch import Tensor
from worker import Meter, serve


class Vene:
    def __init__(self, job: Job) -> None:
        import pyvene  # type: ignore[import-not-found]

        self.extra: dict[str, Any] = {}
        self.job, plain = job, Hooks(job)
        self.pairs, self.sources = plain.pairs, plain.sources
        self.base = {"input_ids": self.pairs.base, "logits_to_keep": 1}
        where = {"component": "block_input", "unit": "pos"}
        if job.kind == "z":
            where = {"component": "head_attention_value_output", "unit": "h.pos"}
        self.models = [
            pyvene.IntervenableModel(
                pyvene.IntervenableConfig([{"layer": layer, **where}]), plain.model
            )
            for layer in range(job.shape.layers)
        ]
        for model in self.models:
            model.set_device(job.device)

    def sweep(self, cells: Sequence[Cell], meter: Meter) -> list[float]:
        with meter:
            found = torch.stack([self._patched(cell) for cell in cells])
            return [float(x) for x in found.tolist()]

    def _patched(self, cell: Cell) -> Tensor:
        s, source = self.job.shape, self.sources[cell.layer]
        at = list(range(s.context)) if cell.position is None else [cell.position]
        places: Any = [at] * s.batch
        value = source[:, at]
        if cell.head is not None:
            places = [[[cell.head]] * s.batch, places]
            value = value.view(s.batch, len(at), s.heads, -1)[:, :, [cell.head]].transpose(1, 2)
        model = self.models[cell.layer]
        _, output = model(
            self.base,
            unit_locations={"sources->base": ([None], [places])},
            source_representations={model.sorted_keys[0]: value},
            use_cache=False,
        )
        return self.pairs.gap(output.logits[:, -1])


if __name__ == "__main__":
    serve(Vene, ("pyvene", "transformers", "torch"))
