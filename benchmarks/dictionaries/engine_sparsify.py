"""sparsify's training step, with its defaults (signed gradients, schedule-free) but for AuxK, which
is on, of features that were silent for a tenth of all activations, by default ten million.

Its loop trains inside the forward of a model. Here the model is a table of the activations, and its
tokens are their numbers. Timed: `Trainer.fit` over one batch: the forward that looks them up, the
SAE's, loss, backward, optimizer, unit norms, counters; without writing the checkpoint at its end.
It clips nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # its kernels are for CUDA

import torch
from case import Batches, Case
from torch import Tensor, nn
from worker import Step, serve

SITE = "site"
ROWS = 256
"""Numbers in a sequence."""


class Table(nn.Module):
    """A model that says activations by their numbers."""

    def __init__(self, case: Case, batches: Batches) -> None:
        super().__init__()
        self.site, self.device = nn.Identity(), torch.device("cpu")
        self.size, self.batches, self.given = case.batch, batches, None
        self.dummy_inputs = {"input_ids": torch.zeros(1, 1, dtype=torch.int64)}

    @property
    def base_model(self) -> Table:
        return self

    def forward(self, input_ids: Tensor) -> Tensor:
        if input_ids.numel() == 1:
            found = self.batches.batch(0, 1)
        elif self.given is not None:
            found = self.given
        else:
            found = self.batches.batch(int(input_ids[0, 0]) // self.size, self.size)
        made: Tensor = self.site(found.view(*input_ids.shape, -1))
        return made


class Numbers(torch.utils.data.Dataset[Any]):
    """Sequences of the numbers of activations."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count // ROWS

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        if i >= len(self):
            raise IndexError
        return {"input_ids": torch.arange(i * ROWS, (i + 1) * ROWS)}

    def select(self, _: object) -> Numbers:
        return self


class Sparsify:
    def __init__(self) -> None:
        import sparsify  # noqa: F401  # type: ignore[import-not-found]

    def begin(self, case: Case, batches: Batches) -> Step:
        trainer = _trainer(case, batches, case.batch, ".")
        trainer.save = lambda: None

        def step(x: Tensor) -> None:
            trainer.model.given = x
            if case.dead:
                trainer.num_tokens_since_fired[SITE][: case.dead] = 1 << 60
            trainer.fit()

        return step

    def fit(self, case: Case, batches: Batches, into: Path) -> None:
        torch.manual_seed(case.seed)
        _trainer(case, batches, case.steps * case.batch, str(into)).fit()
        for file in (into / "run" / SITE).iterdir():
            shutil.move(file, into / file.name)
        shutil.rmtree(into / "run")


def _trainer(case: Case, batches: Batches, count: int, into: str) -> Any:
    from sparsify import SparseCoderConfig, TrainConfig, Trainer

    config = TrainConfig(
        SparseCoderConfig(num_latents=case.width, k=case.k),
        batch_size=case.batch // ROWS,
        lr=case.lr,
        auxk_alpha=1 / 32,
        dead_feature_threshold=case.steps * case.batch // 10,
        hookpoints=[SITE],
        init_seeds=[case.seed],
        log_to_wandb=False,
        save_every=1 << 60,
        save_dir=into,
        run_name="run",
    )
    return Trainer(config, Numbers(count), Table(case, batches))


if __name__ == "__main__":
    serve(Sparsify, ["eai-sparsify", "torch"])
