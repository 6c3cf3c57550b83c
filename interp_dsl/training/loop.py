"""The training loop. Killed and run again with `resume`, it goes on with the same numbers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from interp_dsl.training.model import Transformer
from interp_dsl.training.recipes import Figures, Recipe, loss

CHECKPOINT = "checkpoint.pt"
Report = Callable[[Figures], None]


class Trainer:
    """A model, its optimiser and the number of steps done. `curve` holds one row an evaluation:
    step, training loss (nats a token), and the recipe's figures."""

    def __init__(self, recipe: Recipe, out: Path, device: str = "cpu") -> None:
        self.recipe, self.out, self.device = recipe, out, device
        self.model = Transformer(recipe.shape, recipe.seed).to(device)
        schedule = recipe.schedule
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=schedule.lr,
            betas=schedule.betas,
            weight_decay=schedule.weight_decay,
        )
        self.step = 0
        self.curve: list[Figures] = []

    def save(self) -> None:
        state = {
            "step": self.step,
            "weights": self.model.weights(),
            "optimizer": self.optimizer.state_dict(),
            "curve": self.curve,
        }
        self.out.mkdir(parents=True, exist_ok=True)
        part = self.out / f"{CHECKPOINT}.part"
        torch.save(state, part)
        os.replace(part, self.out / CHECKPOINT)

    def load(self) -> None:
        state: dict[str, Any] = torch.load(
            self.out / CHECKPOINT, weights_only=True, map_location=self.device
        )
        self.step, self.curve = state["step"], state["curve"]
        self.model.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])

    def advance(self, steps: int) -> float:
        """One optimiser step of a run of `steps`; the batch's loss before it."""
        schedule = self.recipe.schedule
        for group in self.optimizer.param_groups:
            group["lr"] = schedule.rate(self.step, steps)
        batch = self.recipe.sample(self.step)
        read = None if batch.read is None else batch.read.to(self.device)
        placed = replace(batch, tokens=batch.tokens.to(self.device), read=read)
        value = loss(self.model, placed, self.recipe.pad)
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), schedule.clip)
        self.optimizer.step()
        self.step += 1
        return value.item()

    def snapshot(self) -> None:
        if self.step in self.recipe.snapshots:
            folder = self.out / "steps"
            folder.mkdir(parents=True, exist_ok=True)
            save_file(halved(self.model.weights()), folder / f"step-{self.step}.safetensors")

    def evaluate(self, value: float) -> Figures:
        plain = Transformer.of(self.recipe.shape, {n: w.cpu() for n, w in self._weights()})
        row = {"step": self.step, "loss": value, **self.recipe.evaluate(plain)}
        self.curve.append(row)
        return row

    def _weights(self) -> list[tuple[str, Tensor]]:
        return list(self.model.weights().items())


def halved(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as they are shipped: float16."""
    return {name: w.half().cpu().contiguous() for name, w in weights.items()}


def train(
    recipe: Recipe,
    out: Path,
    *,
    steps: int | None = None,
    resume: bool = False,
    until: int | None = None,
    device: str = "cpu",
    every_seconds: float = 120.0,
    report: Report | None = None,
) -> Trainer:
    """Trains in the folder `out`, which keeps a checkpoint not older than `every_seconds`.
    `until` stops a run of `steps` early, as a kill would, with a checkpoint."""
    total = recipe.schedule.steps if steps is None else steps
    trainer = Trainer(recipe, out, device)
    if (out / CHECKPOINT).exists():
        if not resume:
            raise FileExistsError(f"{out} holds a checkpoint: resume it, or name another folder")
        trainer.load()
    else:
        trainer.snapshot()
    saved = time.monotonic()
    while trainer.step < min(total, until if until is not None else total):
        value = trainer.advance(total)
        trainer.snapshot()
        if trainer.step % recipe.evaluate_every == 0 or trainer.step == total:
            row = trainer.evaluate(value)
            if report is not None:
                report(row)
        if time.monotonic() - saved > every_seconds:
            trainer.save()
            saved = time.monotonic()
    trainer.save()
    return trainer
