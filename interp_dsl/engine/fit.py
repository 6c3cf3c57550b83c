"""Fitting dictionaries: activations block after block, a training step of each dictionary for each
batch, and checkpoints from which training goes on as if it had never stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary, Scale
from interp_dsl.dictionaries.ends import Itself, Onto
from interp_dsl.dictionaries.named import architecture
from interp_dsl.dictionaries.schedules import Schedule
from interp_dsl.dictionaries.starting import mean_length, scale_of
from interp_dsl.dictionaries.training import Figures, Settings, Trainer
from interp_dsl.engine.activations import Store
from interp_dsl.engine.harvest import Block, Harvest, joined
from interp_dsl.engine.interrupts import Stop
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.plan.dictionaries import Fit, Fitted
from interp_dsl.plan.places import Target, Unit
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import FIT_COLUMNS, polars_types
from interp_dsl.runs.training import dictionary_name

POINTS = 200
"""Points of a training curve, about."""
SHARE = 20
"""Checkpoints take at most one part in so many of the time."""
FIRST = 8_192
"""Activations that say their scale and where biases begin, at most."""

RESAMPLED, CHUNK = 819_200, 8_192
"""Inputs that resampling looks at, at most (Bricken et al. 2023), and at once."""

Arrays = dict[str, NDArray[Any]]


def fit(
    task: Fit,
    key: str,
    state: State,
    folder: RunFolder,
    report: Report,
    stop: Stop,
    key_of: Callable[[Target], str],
) -> None:
    """Fit a task's dictionaries, going on from a checkpoint of this key where there is one; the
    table is the training curve. What is stored of a target has the name `key_of` it. Raises
    Stopped, after a checkpoint, when the run is to stop; InterpError E670 for data without text,
    E671 where a loss is not finite."""
    harvest = Harvest(task.run, task.targets, state, task.seed, task.batch, report)
    if task.store is not None:
        _use_store(task, harvest, key_of, report, stop)
    fitting = _resumed(task, key, folder, harvest.device) or _begun(task, harvest)
    _say_passes(task, harvest.stream.a_pass, report)
    checkpoints = _Checkpoints(folder, task.step, key)
    while fitting.done < task.steps:
        number, first = divmod(fitting.done, task.buffer // task.inputs)
        start = number * task.buffer
        end = min(start + task.buffer, task.steps * task.inputs)
        held, order = harvest.block(start, end), harvest.order(number, end - start)
        for rows in torch.split(order[first * task.inputs :], task.inputs):
            _step(task, fitting, held, rows, report)
            if stop.is_wanted:
                checkpoints.write(fitting)
                stop.check()
        checkpoints.write_in_time(fitting)
    _finish(task, key, fitting, folder)
    for one, row in zip(task.dictionaries, fitting.rows[-len(task.dictionaries) :], strict=True):
        report.note(
            f"{named(task, one)}: l0 {row['l0']:.1f}, fvu {row['fvu']:.3f}, {row['dead']:,} dead "
            f"after {row['tokens']:,} tokens"
        )


def _use_store(
    task: Fit, harvest: Harvest, key_of: Callable[[Target], str], report: Report, stop: Stop
) -> None:
    """Read activations from files, once they are all there."""
    assert task.store is not None
    store = Store(Path(task.store), harvest, key_of)
    found = store.fill(stop)
    told = "are read from" if found == store.count else "are kept in"
    report.note(f"{task.step}: activations {told} {task.store}")
    harvest.source = store.of


@dataclass
class _Fitting:
    """Dictionaries in training: `done` steps; of each target's activations the `scales`, the
    `lengths` once scaled and the `widths`; the rows of the training curves so far."""

    trainers: list[Trainer]
    scales: Mapping[Target, float]
    lengths: Mapping[Target, float]
    widths: Mapping[Target, int]
    done: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)


def _step(task: Fit, fitting: _Fitting, held: Block, rows: Tensor, report: Report) -> None:
    """A training step of each dictionary, on the same rows of a block."""
    n = fitting.done
    is_point = n % max(1, task.steps // POINTS) == 0 or n == task.steps - 1
    batches = {target: x[rows] for target, x in held.items()}
    for one, trainer in zip(task.dictionaries, fitting.trainers, strict=True):
        if n in (one.given.get("resample") or ()):
            changed = _resample(task, one, trainer, joined(held, one.read), n)
            report.note(f"{named(task, one)}: {changed:,} features resampled at step {n:,}")
        figures = trainer.step(*_read_and_rebuilt(one, batches))
        if is_point:
            fitting.rows.append(_point(task, one, n, trainer, figures))
            report.event("fit", step=task.step, total=task.steps, **_told(fitting.rows[-1]))
    fitting.done += 1
    if is_point:
        report.progress(fitting.done * task.inputs, task.steps * task.inputs)


def _read_and_rebuilt(one: Fitted, block: Block) -> tuple[Tensor, Tensor | None]:
    """What a dictionary reads of a block and, where that is something else, what it rebuilds."""
    return joined(block, one.read), None if one.onto is None else block[one.onto]


def _resample(task: Fit, one: Fitted, trainer: Trainer, held: Tensor, n: int) -> int:
    """New features for dead ones, from inputs of the block in hand, of which there are as many as
    published at most."""
    generator = torch.Generator().manual_seed(_seed(task.seed, n))
    order = torch.randperm(len(held), generator=generator)[:RESAMPLED].to(held.device)
    batches = (held[rows] for rows in torch.split(order, CHUNK))
    return trainer.resample(batches, one.option("window") * task.inputs, generator)


def _seed(*numbers: int) -> int:
    """A seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _point(task: Fit, one: Fitted, n: int, trainer: Trainer, figures: Figures) -> dict[str, Any]:
    """A point of the training curve. Raises InterpError E671 for a loss that is not finite."""
    loss, mse = figures.loss, figures.terms["mse"]
    if not math.isfinite(loss):
        raise InterpError(
            Diagnostic(
                "E671",
                f"the loss of {named(task, one)} is {loss} at training step {n:,}",
                help="take a smaller lr, or clip=1",
            ),
            exit_code=1,
        )
    return {
        "dictionary": one.label or None,
        "step": n,
        "tokens": (n + 1) * task.inputs,
        "loss": loss,
        "mse": mse,
        "penalty": loss - mse,
        "l0": figures.l0,
        "fvu": figures.fvu,
        "dead": figures.n_dead,
        "lr": trainer.settings.lr * trainer.schedule.rate(n),
    }


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as an event tells it; its step is a step of training."""
    return {"at" if key == "step" else key: value for key, value in row.items()}


def named(task: Fit, one: Fitted) -> str:
    """`sae`, or `sae[k=32]` among others."""
    return dictionary_name(task.step, one.label)


def _say_passes(task: Fit, a_pass: int, report: Report) -> None:
    times = task.steps * task.inputs / a_pass
    if times > 1:
        report.note(
            f"{task.step}: the data holds {a_pass:,} tokens, so it is passed {times:.1f} times"
        )


# ---- beginning, checkpoints, end


def _begun(task: Fit, harvest: Harvest) -> _Fitting:
    """Before the first step: scales and beginnings of biases are from the first activations."""
    first = harvest.block(0, min(FIRST, task.steps * task.inputs))
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
) -> _Fitting:
    trainers = []
    for one in task.dictionaries:
        options, (x, y) = one.given, _read_and_rebuilt(one, first)
        settings = Settings(
            options["width"],
            options["lr"],
            options["clip"],
            options["dead_after"],
            options["bias"],
            options["seed"],
            _scale(one, scales, first),
            None if one.onto is None else scales[one.onto],
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
    return _Fitting(trainers, scales, lengths, widths)


def _scale(one: Fitted, scales: Mapping[Target, float], first: Block) -> Scale:
    """The factor of what a dictionary reads; of several places, for each element."""
    if not one.others:
        return scales[one.target]
    parts = [first[t].new_full((first[t].shape[1],), scales[t]) for t in one.read]
    return torch.cat(parts)


class _Checkpoints:
    """States of training in the run folder, the newest alone."""

    def __init__(self, folder: RunFolder, step: str, key: str) -> None:
        self.folder, self.step, self.key = folder, step, key
        self._ended, self._took = time.monotonic(), 0.0

    def write_in_time(self, fitting: _Fitting) -> None:
        """Write where writing has taken little of the time so far."""
        if time.monotonic() - self._ended >= SHARE * self._took:
            self.write(fitting)

    def write(self, fitting: _Fitting) -> None:
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


def _resumed(task: Fit, key: str, folder: RunFolder, device: torch.device) -> _Fitting | None:
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


def _finish(task: Fit, key: str, fitting: _Fitting, folder: RunFolder) -> None:
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


def _about(one: Fitted, trainer: Trainer, found: Dictionary, fitting: _Fitting) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if one.onto is not None:
        more = {"onto": one.onto.place, "onto_scale": fitting.scales[one.onto]}
    if one.others:
        more["places"] = [
            {"site": t.place, "width": fitting.widths[t], "scale": fitting.scales[t]}
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
