"""transformer_lens.patching: its sweep over a frame of the cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from job import Cell, Job
from torch import Tensor
from worker import Meter, Pairs, checkpoint, serve

AXES = {"layer": "layer", "position": "pos", "head": "head_index"}


class Lens:
    def __init__(self, job: Job) -> None:
        import pandas as pd  # type: ignore[import-untyped]
        from transformer_lens import patching
        from transformer_lens.model_bridge import TransformerBridge

        self.extra: dict[str, Any] = {}
        self.pandas, self.patching = pd, patching
        self.pairs = Pairs(job)
        self.name = "resid_pre" if job.kind == "resid_pre" else "z"
        self.model = TransformerBridge.boot_transformers(checkpoint(job), device=job.device)
        ending = "attn.hook_z" if self.name == "z" else "hook_resid_pre"
        _, self.cache = self.model.run_with_cache(
            self.pairs.source, names_filter=lambda name: name.endswith(ending)
        )

    def sweep(self, cells: Sequence[Cell], meter: Meter) -> list[float]:
        frame = self._frame(cells)
        with meter:
            values = self.patching.generic_activation_patch(
                self.model,
                self.pairs.base,
                self.cache,
                self._metric,
                self._setter(cells[0]),
                self.name,
                index_df=frame,
            )
            return [float(x) for x in values.tolist()]

    def _metric(self, logits: Tensor) -> Tensor:
        return self.pairs.gap(logits[:, -1])

    def _frame(self, cells: Sequence[Cell]) -> Any:
        """A row a cell, with the columns that its setter reads."""
        rows = [
            {AXES[name]: at for name in AXES if (at := getattr(cell, name)) is not None}
            for cell in cells
        ]
        return self.pandas.DataFrame(rows)

    def _setter(self, cell: Cell) -> Any:
        if cell.head is None:
            return self.patching.layer_pos_patch_setter
        if cell.position is None:
            return self.patching.layer_head_vector_patch_setter
        return self.patching.layer_pos_head_vector_patch_setter


if __name__ == "__main__":
    serve(Lens, ("transformer-lens", "transformers", "torch"))
