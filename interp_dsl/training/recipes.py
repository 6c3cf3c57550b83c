"""What each bundled model is trained on and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from interp_dsl.data import addition as sums
from interp_dsl.data import docstrings, tasks
from interp_dsl.training import measure
from interp_dsl.training.model import Shape, Transformer

Figures = dict[str, float]
IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """tokens: [n, T]; read: [n], or [n, k], where the next token is an answer of the task, -1 for
    none; None without a task. With `answers_only` the other next tokens are not learned."""

    tokens: Tensor
    read: Tensor | None = None
    answers_only: bool = False


@dataclass(frozen=True)
class Schedule:
    """AdamW's settings. The rate rises over `warmup` steps, stays at `lr` up to the share `hold`
    of all steps, and falls linearly to `floor` times `lr`."""

    steps: int
    lr: float
    weight_decay: float
    hold: float
    batch: int
    warmup: int = 100
    floor: float = 0.05
    clip: float = 1.0
    betas: tuple[float, float] = (0.9, 0.98)

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of the step numbered `step` from 0, of `steps` in all."""
        start = self.hold * steps
        fall = max(0.0, step - start) / max(1.0, steps - start)
        return self.lr * min(1.0, (step + 1) / self.warmup) * (1 - (1 - self.floor) * fall)


@dataclass(frozen=True)
class Recipe:
    """`sample(step)` is the batch of a step, a function of the seed and the step alone, so that a
    resumed run draws what an uninterrupted one does. `evaluate` measures a model on data that
    `sample` never gives. `snapshots` are the steps whose weights are kept. `bos` is the token that
    the loader puts in front of a text, None for none."""

    name: str
    shape: Shape
    schedule: Schedule
    sample: Callable[[int], Batch]
    evaluate: Callable[[Transformer], Figures]
    pad: int | None = None
    snapshots: tuple[int, ...] = ()
    evaluate_every: int = 250
    seed: int = 0
    bos: int | None = tasks.BOS


def loss(model: Transformer, batch: Batch, pad: int | None) -> Tensor:
    """Mean cross-entropy of all next tokens that are not padding, in nats, plus that of the
    answers where the batch has any. The last token of a row is a target only."""
    logits, target = model(batch.tokens[:, :-1]), batch.tokens[:, 1:]
    total: Tensor = logits.new_zeros(())
    if not batch.answers_only:
        real = target if pad is None else target.masked_fill(target == pad, IGNORED)
        total = F.cross_entropy(logits.flatten(0, 1), real.flatten(), ignore_index=IGNORED)
    if batch.read is not None:
        read = batch.read.reshape(len(target), -1)
        rows, column = (read >= 0).nonzero(as_tuple=True)
        at = read[rows, column]
        total = total + F.cross_entropy(logits[rows, at], target[rows, at])
    return total


# ** induction-2l **

INDUCTION = Shape(n_layers=2, n_heads=4, d_model=64, d_head=16, n_ctx=64, d_vocab=256, norm=None)
SNAPSHOTS = (0, 200, 300, 350, 400, 450, 500, 750, 1000, 3000)


def induction(seed: int = 0) -> Recipe:
    schedule = Schedule(steps=3000, lr=3e-3, weight_decay=0.01, hold=0.7, batch=128)

    def sample(step: int) -> Batch:
        rng = np.random.default_rng((seed, 0, step))
        tokens, _ = tasks.induction_blocks(128, INDUCTION.n_ctx, INDUCTION.d_vocab, rng)
        return Batch(torch.from_numpy(tokens))

    return Recipe(
        "induction-2l",
        INDUCTION,
        schedule,
        sample,
        induction_figures,
        snapshots=SNAPSHOTS,
        evaluate_every=100,
        seed=seed,
    )


@torch.no_grad()
def induction_figures(model: Transformer, n: int = 512, seed: int = 0) -> Figures:
    """Accuracy and cross-entropy (nats) on fresh tiled blocks. `repeat` counts the tokens that
    stood one period earlier after the same token, `first` those of the first copy."""
    rng = np.random.default_rng((seed, 1))
    tokens, period = tasks.induction_blocks(n, model.shape.n_ctx, model.shape.d_vocab, rng)
    x = torch.from_numpy(tokens)
    logits = model(x)[:, :-1]
    target = x[:, 1:]
    nll = F.cross_entropy(logits.transpose(1, 2), target, reduction="none")
    place = torch.arange(1, x.shape[1])[None, :]
    periods = torch.from_numpy(period)[:, None]
    repeat, first = place >= periods + 2, place <= periods
    right = logits.argmax(-1) == target
    return {
        "repeat_accuracy": right[repeat].float().mean().item(),
        "repeat_loss": nll[repeat].mean().item(),
        "first_copy_loss": nll[first].mean().item(),
    }


# ** ioi-3l **

IOI = Shape(
    n_layers=3,
    n_heads=4,
    d_model=64,
    d_head=16,
    n_ctx=32,
    d_vocab=len(tasks.IOI_WORDS),
    d_mlp=256,
    act="gelu",
)


def ioi(seed: int = 0) -> Recipe:
    schedule = Schedule(steps=1500, lr=2e-3, weight_decay=0.05, hold=0.6, batch=128)

    def sample(step: int) -> Batch:
        rng = np.random.default_rng((seed, 0, step))
        tokens, read = tasks.ioi_sentences(128, "train", rng)
        return Batch(torch.from_numpy(tokens), torch.from_numpy(read))

    return Recipe("ioi-3l", IOI, schedule, sample, pair_figures("ioi-3l"), tasks.PAD, seed=seed)


# ** docstring-4l **

DOCSTRING = Shape(
    n_layers=4,
    n_heads=8,
    d_model=96,
    d_head=12,
    n_ctx=72,
    d_vocab=len(docstrings.DOCSTRING_WORDS),
)


def docstring(seed: int = 0) -> Recipe:
    schedule = Schedule(steps=3000, lr=3e-3, weight_decay=0.1, hold=0.6, batch=64)

    def sample(step: int) -> Batch:
        rng = np.random.default_rng((seed, 0, step))
        methods, read = docstrings.docstring_methods(32, "train", rng)
        tokens = np.full((64, DOCSTRING.n_ctx), tasks.PAD)
        tokens[:32, : methods.shape[1]] = methods
        tokens[32:] = docstrings.argument_lists(32, DOCSTRING.n_ctx, rng)
        reads = np.concatenate([read, np.full_like(read, -1)])
        return Batch(torch.from_numpy(tokens), torch.from_numpy(reads))

    figures = pair_figures("docstring-4l")
    return Recipe("docstring-4l", DOCSTRING, schedule, sample, figures, tasks.PAD, seed=seed)


# ** modadd-113 **

ADDITION = Shape(
    n_layers=1,
    n_heads=4,
    d_model=128,
    d_head=32,
    n_ctx=3,
    d_vocab=len(sums.ADDITION_WORDS),
    d_mlp=512,
    norm=None,
)


def addition(seed: int = 0) -> Recipe:
    """Weight decay is as strong as in the paper (Nanda et al. 2023)."""
    schedule = Schedule(steps=4000, lr=2e-3, weight_decay=1.0, hold=0.7, batch=512)
    pairs = sums.addends("train")
    rows = np.concatenate(
        [sums.addition_prompts(pairs), pairs.sum(1, keepdims=True) % sums.MODULUS], axis=1
    )

    def sample(step: int) -> Batch:
        chosen = np.random.default_rng((seed, 0, step)).permutation(len(rows))[: schedule.batch]
        at_equals = torch.full((schedule.batch,), 2)
        return Batch(torch.from_numpy(rows[chosen]), at_equals, answers_only=True)

    figures = pair_figures("modadd-113")
    return Recipe("modadd-113", ADDITION, schedule, sample, figures, seed=seed, bos=None)


# ** tasks of pairs **


def pair_figures(name: str, n: int = 2048, seed: int = 1) -> Callable[[Transformer], Figures]:
    """Measures on a task's held-out pairs: the share of answers that have the highest logit, and
    the mean logit difference answer - wrong on both sides."""

    @torch.no_grad()
    def figures(model: Transformer) -> Figures:
        data = tasks.task(name, n, seed, "heldout")
        assert data.corrupt is not None
        clean = model(torch.from_numpy(data.clean))
        corrupt = model(torch.from_numpy(data.corrupt))
        best = clean[torch.arange(n), torch.from_numpy(data.position)].argmax(-1)
        return {
            "accuracy": (best == torch.from_numpy(data.answer)).float().mean().item(),
            "logit_diff": measure.logit_diff(clean, data),
            "corrupt_logit_diff": measure.logit_diff(corrupt, data),
        }

    return figures
