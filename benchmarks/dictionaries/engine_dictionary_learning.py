"""dictionary_learning's training step, with the defaults of its trainers; activations scaled to a
mean squared norm of 1 and the rate falling over the last fifth, as its demonstration has it; its
warm-ups, and the steps over which it averages a threshold, 1,000 and 2,000 by default, are a
twentieth of all.

Timed: the trainer's `update`, which `trainSAE` calls: forward, losses, counters, backward, clipping
(but for relu, where it has none), Adam, unit norms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from case import BY_COUNT, Batches, Case
from torch import Tensor
from worker import Step, serve


class DictionaryLearning:
    def __init__(self) -> None:
        from dictionary_learning.trainers import (  # type: ignore[import-not-found]
            batch_top_k,
            jumprelu,
            standard,
            top_k,
        )

        self.trainers = {
            "relu": standard.StandardTrainer,
            "topk": top_k.TopKTrainer,
            "batch_topk": batch_top_k.BatchTopKTrainer,
            "jumprelu": jumprelu.JumpReluTrainer,
        }

    def begin(self, case: Case, batches: Batches) -> Step:
        config = self._config(case, batches.d)
        trainer = config.pop("trainer")(**config)
        factor = batches.batch(0, case.batch).square().sum(1).mean().sqrt()
        count = 0
        if case.dead:  # it counts before it asks who is dead: who is must not fire
            trainer.num_tokens_since_fired[: case.dead] = 1 << 60
            trainer.ae.encoder.bias.data[: case.dead] = -100.0

        def step(x: Tensor) -> None:
            nonlocal count
            trainer.update(count, x / factor)
            count += 1

        return step

    def fit(self, case: Case, batches: Batches, into: Path) -> None:
        from dictionary_learning.training import trainSAE

        trainSAE(
            _Data(case, batches),
            [self._config(case, batches.d)],
            case.steps,
            save_dir=str(into),
            normalize_activations=True,
            device="cpu",
        )

    def _config(self, case: Case, d: int) -> dict[str, Any]:
        warming = max(1, case.steps // 20)
        config: dict[str, Any] = {
            "trainer": self.trainers[case.architecture],
            "steps": case.steps,
            "activation_dim": d,
            "dict_size": case.width,
            "layer": 0,
            "lm_name": "text-1l-512",
            "warmup_steps": warming,
            "decay_start": case.steps * 4 // 5,
            "seed": case.seed,
            "device": "cpu",
        }
        if case.lr is not None:
            config["lr"] = case.lr
        if case.architecture in BY_COUNT:
            begins = {"threshold_start_step": warming, "threshold_beta": 1 - 1 / warming}
            return {**config, "k": case.k, **begins}
        name = "l1_penalty" if case.architecture == "relu" else "target_l0"
        torch.manual_seed(case.seed)  # its JumpReLU takes no seed
        return {**config, name: case.sparsity, "sparsity_warmup_steps": warming}


class _Data:
    """The batches in order, from the first again for each loop over them."""

    def __init__(self, case: Case, batches: Batches) -> None:
        self.size, self.batches = case.batch, batches

    def __iter__(self) -> Any:
        return self.batches.all(self.size)


if __name__ == "__main__":
    serve(DictionaryLearning, ["dictionary-learning", "torch"])
