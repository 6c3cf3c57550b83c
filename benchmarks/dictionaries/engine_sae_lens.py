"""SAELens's training step, with the settings of its guide "Training SAEs" and the defaults of its
classes where that is silent: activations scaled to a mean length of √d, the rate falling over the
last fifth, L1 rising over the first twentieth; for jumprelu the tanh penalty, rising over the whole
fit, and the loss of dead pre-activations. A feature is dead after a tenth of the steps, by default
after 1,000.

Timed: `SAETrainer.step`, the seam that its loop and its trainer of several SAEs both call: the
scaler, forward, losses, counters, backward, clipping, Adam, schedulers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from case import Batches, Case
from torch import Tensor
from worker import Step, serve

SCALED_BY = 8
"""Batches of the whole that its scale is estimated from; by default it is a thousand."""


class SaeLens:
    def __init__(self) -> None:
        import sae_lens  # noqa: F401  # type: ignore[import-not-found]

    def begin(self, case: Case, batches: Batches) -> Step:
        trainer = _trainer(case, batches)
        scaler = trainer.activation_scaler
        scaler.estimate_scaling_factor(batches.d, batches.all(case.batch), 1)

        def step(x: Tensor) -> None:
            if case.dead:
                trainer.n_forward_passes_since_fired[: case.dead] = 1e9
            trainer.step(x)
            trainer.n_training_steps += 1

        return step

    def fit(self, case: Case, batches: Batches, into: Path) -> None:
        _trainer(case, batches).fit().save_inference_model(str(into))


def _trainer(case: Case, batches: Batches) -> Any:
    from sae_lens.config import SAETrainerConfig
    from sae_lens.saes.sae import TrainingSAE
    from sae_lens.training.sae_trainer import SAETrainer

    torch.manual_seed(case.seed)
    sae = TrainingSAE.from_dict(_sae(case, batches.d))
    rate = {} if case.lr is None else {"lr": case.lr}
    config = SAETrainerConfig(
        total_training_samples=case.steps * case.batch,
        train_batch_size_samples=case.batch,
        lr_decay_steps=case.steps // 5,
        dead_feature_window=max(1, case.steps // 10),
        n_batches_for_norm_estimate=SCALED_BY,
        **rate,
    )
    config.lr_end = config.lr / 10  # as the runner's configuration has it
    return SAETrainer(config, sae, _Provider(case, batches))


class _Provider:
    """The batches in order; those that the scale is estimated from come again."""

    def __init__(self, case: Case, batches: Batches) -> None:
        self.size, self.batches, self.number = case.batch, batches, -SCALED_BY

    def __iter__(self) -> _Provider:
        return self

    def __next__(self) -> Tensor:
        self.number += 1
        number = self.number - 1
        found: Tensor = self.batches.batch(number % SCALED_BY if number < 0 else number, self.size)
        return found


def _sae(case: Case, d: int) -> dict[str, Any]:
    """The configuration of an SAE in training."""
    own: dict[str, Any] = {
        "relu": {
            "architecture": "standard",
            "l1_coefficient": case.sparsity,
            "l1_warm_up_steps": case.steps // 20,
        },
        "topk": {"architecture": "topk", "k": case.k},
        "batch_topk": {"architecture": "batchtopk", "k": case.k},
        "jumprelu": {
            "architecture": "jumprelu",
            "jumprelu_sparsity_loss_mode": "tanh",
            "l0_coefficient": case.sparsity,
            "l0_warm_up_steps": case.steps,
            "jumprelu_bandwidth": 2.0,
            "jumprelu_init_threshold": 0.1,
            "pre_act_loss_coefficient": 3e-6,
        },
    }[case.architecture]
    normalized = "expected_average_only_in"
    return {"d_in": d, "d_sae": case.width, "normalize_activations": normalized, **own}


if __name__ == "__main__":
    serve(SaeLens, ["sae-lens", "torch"])
