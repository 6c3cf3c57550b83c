"""The state of a fit: how it begins, its checkpoints, from which training goes on as if it had
never stopped, and what it leaves."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary, Scale
from interp_dsl.dictionaries.ends import Itself, Onto
from interp_dsl.dictionaries.named import architecture
from interp_dsl.dictionaries.products import BY_NAME
from interp_dsl.dictionaries.schedules import Schedule
from interp_dsl.dictionaries.starting import mean_length, scale_of
from interp_dsl.dictionaries.training import Figures, Settings, Trainer
from interp_dsl.engine.harvest import Block, Harvest, joined
from interp_dsl.plan.dictionaries import Fit, Fitted
from interp_dsl.plan.places import Target, Unit
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import FIT_COLUMNS, polars_types
from interp_dsl.runs.training import dictionary_name

SHARE = 20
"""Checkpoints take at most one part in so many of the time."""
FIRST = 8_192
"""Activations that say their scale and where biases begin, at most."""

Arrays = dict[str, NDArray[Any]]


@dataclass
class Fitting:
    """Dictionaries in training: `done` steps; of each target's activations the `scales`, the
    `lengths` once scaled and the `widths`; the rows of the training curves so far."""

    trainers: list[Trainer]
    scales: Mapping[Target, float]
    lengths: Mapping[Target, float]
    widths: Mapping[Target, int]
    done: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Turn:
    """A training step to be taken: what each dictionary does, and how many tokens will have been
    learned from behind it."""

    learn: Callable[[Fitted, Trainer], Figures]
    tokens: int


def named(task: Fit, one: Fitted) -> str:
    """`sae`, or `sae[k=32]` among others."""
    return dictionary_name(task.step, one.label)


def read_and_rebuilt(one: Fitted, block: Block) -> tuple[Tensor, Tensor | None]:
    """What a dictionary reads of a block and, where that is something else, what it rebuilds."""
    return joined(block, one.read), None if one.onto is None else block[one.onto]


def begun(task: Fit, harvest: Harvest, check: Callable[[], None] = lambda: None) -> Fitting:
    """Before the first step: scales and beginnings of biases are from the first activations.
    `check` is called before every pass, and may raise."""
    first = harvest.block(0, min(FIRST, task.learned), check)
    plain = {t for d in task.dictionaries if d.option("normalize") == "none" for t in _ends(d)}
    scales = {t: 1.0 if t in plain else scale_of(x) for t, x in first.items()}
    lengths = {t: mean_length(x) * scales[t] for t, x in first.items()}
    return _fitting(task, scales, lengths, first)


def _ends(one: Fitted) -> tuple[Target, ...]:
    return (*one.read, *one.rebuilt)


def _fitting(
    task: Fit,
    scales: Mapping[Target, float],
    lengths: Mapping[Target, float],
    first: Block,
) -> Fitting:
    trainers = []
    for one in task.dictionaries:
        options, (x, y) = one.given, read_and_rebuilt(one, first)
        settings = Settings(
            options["width"],
            options["lr"],
            options["clip"],
            options["dead_after"],
            options["bias"],
            options["seed"],
            _scale(one, scales, first),
            None if one.onto is None else scales[one.onto],
            BY_NAME[options["dtype"]],
        )
        schedule = Schedule(
            task.steps, options["warmup"], options["decay"], options.get("sparsity_warmup", 0.0)
        )
        length = math.hypot(*(lengths[target] for target in one.read))
        parts = tuple(first[target].shape[1] for target in one.read)
        made = architecture(one.architecture, options, length, parts)
        ends = Itself() if one.onto is None else Onto(options["skip"])
        trainers.append(Trainer(made, settings, schedule, x, ends, y))
    widths = {target: x.shape[1] for target, x in first.items()}
    return Fitting(trainers, scales, lengths, widths)


def _scale(one: Fitted, scales: Mapping[Target, float], first: Block) -> Scale:
    """The factor of what a dictionary reads; of several places, for each element."""
    if not one.others:
        return scales[one.target]
    parts = [first[t].new_full((first[t].shape[1],), scales[t]) for t in one.read]
    return torch.cat(parts)


class Checkpoints:
    """States of training in the run folder, the newest alone."""

    def __init__(self, folder: RunFolder, step: str, key: str) -> None:
        self.folder, self.step, self.key = folder, step, key
        self._ended, self._took = time.monotonic(), 0.0

    def write_in_time(self, fitting: Fitting) -> None:
        """Write where writing has taken little of the time so far."""
        if time.monotonic() - self._ended >= SHARE * self._took:
            self.write(fitting)

    def write(self, fitting: Fitting) -> None:
        started = time.monotonic()
        tensors: Arrays = {}
        for i, trainer in enumerate(fitting.trainers):
            tensors |= {f"{i}.{k}": v.cpu().numpy() for k, v in trainer.state().items()}
        for name in ("scales", "lengths", "widths"):
            tensors[name] = np.array(list(getattr(fitting, name).values()))
        table = pl.DataFrame(fitting.rows, schema=polars_types(FIT_COLUMNS))
        self.folder.write_part(self.step, fitting.done, table, tensors, self.key)
        self.folder.keep_part(self.step, fitting.done, self.key)
        self._ended = time.monotonic()
        self._took = self._ended - started


def resumed(task: Fit, key: str, folder: RunFolder, device: torch.device) -> Fitting | None:
    """The newest checkpoint of this key; None where there is none."""
    finished = folder.parts(task.step, key)
    if not finished:
        return None
    table, held = folder.read_part(task.step, finished[-1], key)
    scales, lengths = (
        dict(zip(task.targets, map(float, held[name]), strict=True))
        for name in ("scales", "lengths")
    )
    widths = map(int, held["widths"])
    first = {t: torch.zeros(1, d, device=device) for t, d in zip(task.targets, widths, strict=True)}
    fitting = _fitting(task, scales, lengths, first)
    for i, trainer in enumerate(fitting.trainers):
        prefix = f"{i}."
        mine = {k.removeprefix(prefix): v for k, v in held.items() if k.startswith(prefix)}
        trainer.restore({k: torch.from_numpy(v) for k, v in mine.items()})
    fitting.done, fitting.rows = finished[-1], table.to_dicts()
    return fitting


def finish(task: Fit, key: str, fitting: Fitting, folder: RunFolder) -> None:
    """Write the dictionaries, the table and what is known of each."""
    tensors: Arrays = {}
    about = []
    for one, trainer in zip(task.dictionaries, fitting.trainers, strict=True):
        found = trainer.dictionary()
        prefix = f"{one.label}/" if one.label else ""
        tensors |= {f"{prefix}{k}": v.cpu().numpy() for k, v in found.saved().items()}
        about.append(_about(one, trainer, found, fitting))
    folder.write_tensors(task.step, tensors)
    folder.write_table(task.step, pl.DataFrame(fitting.rows, schema=polars_types(FIT_COLUMNS)))
    folder.finish_step(task.step, key, dictionaries=about)
    folder.drop_parts(task.step)


def _about(one: Fitted, trainer: Trainer, found: Dictionary, fitting: Fitting) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if one.onto is not None:
        more = {"onto": one.onto.place, "onto_scale": fitting.scales[one.onto]}
    if one.others:
        more["places"] = [
            {
                "site": t.place,
                "width": fitting.widths[t],
                "scale": fitting.scales[t],
                "length": fitting.lengths[t] / fitting.scales[t],
            }
            for t in one.read
        ]
    return {
        "label": one.label,
        "site": Unit(one.read).place,
        "architecture": one.architecture,
        "activation": found.activation,
        "k": found.k,
        "convention": trainer.architecture.convention,
        "scale": fitting.scales[one.target],
        "options": one.given,
        **more,
    }
