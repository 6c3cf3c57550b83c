"""Fitting dictionaries: activations block after block, a training step of each dictionary for each
batch, and checkpoints from which training goes on as if it had never stopped."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp_dsl.dictionaries.training import Figures, Trainer
from interp_dsl.engine.activations import Store
from interp_dsl.engine.ahead import ahead, has_room, in_turn
from interp_dsl.engine.crew import Hands, crewed
from interp_dsl.engine.fit_through import through_model
from interp_dsl.engine.fitting import (
    Checkpoints,
    Fitting,
    Turn,
    begun,
    finish,
    named,
    read_and_rebuilt,
    resumed,
)
from interp_dsl.engine.harvest import Block, Harvest, joined
from interp_dsl.engine.interrupts import Stop, Stopped
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.plan.dictionaries import Fit, Fitted
from interp_dsl.plan.places import Target
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.training import collapsed

POINTS = 200
"""Points of a training curve, about."""
RESAMPLED, CHUNK = 819_200, 8_192
"""Inputs that resampling looks at, at most (Bricken et al. 2023), and at once."""


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
    harvest = Harvest(task.runs, task.targets, state, task.seed, task.batch, report)
    if task.store is not None:
        _use_store(task, harvest, key_of, report, stop)
    fitting = resumed(task, key, folder, harvest.device) or begun(task, harvest, stop.check)
    if fitting.done:
        report.note(f"{task.step}: goes on behind step {fitting.done:,} of {task.steps:,}")
    _say_passes(task, harvest.stream.a_pass, report)
    with _hands(task, fitting, harvest.device) as hands:
        _train(task, fitting, harvest, Checkpoints(folder, task.step, key), report, stop, hands)
    finish(task, key, fitting, folder)
    for one, row in zip(task.dictionaries, fitting.rows[-len(task.dictionaries) :], strict=True):
        report.note(
            f"{named(task, one)}: l0 {row['l0']:.1f}, fvu {row['fvu']:.3f}, {row['dead']:,} dead "
            f"after {row['tokens']:,} tokens"
        )
    for text in collapsed(folder, task.step):
        report.note(text)


def _hands(
    task: Fit, fitting: Fitting, device: torch.device
) -> AbstractContextManager[Hands | None]:
    """The helpers of a fit in several processes. Raises InterpError E673 off the processor."""
    if task.workers == 1 or fitting.done == task.steps:
        return nullcontext()
    if device.type != "cpu":
        raise InterpError(
            Diagnostic(
                "E673",
                f"{task.workers} processes share a processor's work, and this runs on {device}",
                help="leave out `workers`, or run with --device cpu",
            ),
            exit_code=1,
        )
    return crewed(fitting.trainers, task.workers)


def _train(
    task: Fit,
    fitting: Fitting,
    harvest: Harvest,
    checkpoints: Checkpoints,
    report: Report,
    stop: Stop,
    hands: Hands | None,
) -> None:
    """All steps that are left. Raises Stopped, after a checkpoint, when the run is to stop."""
    stream, total = harvest.stream, task.learned
    if task.objective == "mse":
        turns: Generator[Turn | None] = _blocks(task, fitting, harvest, report, stop, hands)
    else:
        turns = through_model(task, fitting, harvest)
        total = stream.tokens_in(stream.reaching(total))
    try:
        with closing(turns):
            for turn in turns:
                if turn is None:
                    checkpoints.write_in_time(fitting)
                    continue
                _step(task, fitting, turn, total, report)
                stop.check()
    except Stopped:
        if fitting.done:
            checkpoints.write(fitting)
        raise


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


def _blocks(
    task: Fit,
    fitting: Fitting,
    harvest: Harvest,
    report: Report,
    stop: Stop,
    hands: Hands | None,
) -> Generator[Turn | None]:
    """Steps on single activations, out of blocks that are shuffled as a whole. Raises Stopped
    between two passes of a block that is being made."""
    starts = range(0, task.learned, task.buffer)
    ends = [*starts[1:], task.learned]
    done = fitting.done // (task.buffer // task.inputs)
    spans = list(zip(starts, ends, strict=True))[done:]
    way = ahead if task.looks_ahead and has_room(harvest) else in_turn
    made = way(harvest, spans, stop.check)
    for number, held in enumerate(made, done):
        first = fitting.done - number * (task.buffer // task.inputs)
        start, end = spans[number - done]
        order = harvest.order(number, end - start)[first * task.inputs :]
        for rows in torch.split(order, task.inputs):
            batches = {target: x[rows] for target, x in held.items()}

            def learn(
                one: Fitted, trainer: Trainer, batches: Block = batches, held: Block = held
            ) -> Figures:
                if fitting.done in (one.given.get("resample") or ()):
                    _resample(task, one, trainer, joined(held, one.read), fitting.done, report)
                    if hands is not None:
                        hands.share_state(trainer)
                x, onto = read_and_rebuilt(one, batches)
                return trainer.step(x, onto) if hands is None else hands.step(trainer, x, onto)

            yield Turn(learn, (fitting.done + 1) * task.inputs)
        yield None


def _step(task: Fit, fitting: Fitting, turn: Turn, total: int, report: Report) -> None:
    """A training step of each dictionary, out of `total` tokens."""
    n = fitting.done
    is_point = n % max(1, task.steps // POINTS) == 0 or n == task.steps - 1
    for one, trainer in zip(task.dictionaries, fitting.trainers, strict=True):
        figures = turn.learn(one, trainer)
        if is_point:
            fitting.rows.append(_point(task, one, n, turn.tokens, trainer, figures))
            report.event("fit", step=task.step, total=task.steps, **_told(fitting.rows[-1]))
    fitting.done += 1
    if is_point:
        report.progress(turn.tokens, total)


def _resample(
    task: Fit, one: Fitted, trainer: Trainer, held: Tensor, n: int, report: Report
) -> None:
    """New features for dead ones, from inputs of the block in hand, of which there are as many as
    published at most."""
    generator = torch.Generator().manual_seed(_seed(task.seed, n))
    order = torch.randperm(len(held), generator=generator)[:RESAMPLED].to(held.device)
    batches = (held[rows] for rows in torch.split(order, CHUNK))
    changed = trainer.resample(batches, one.option("window") * task.inputs, generator)
    report.note(f"{named(task, one)}: {changed:,} features resampled at step {n:,}")


def _seed(*numbers: int) -> int:
    """A seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _point(
    task: Fit, one: Fitted, n: int, tokens: int, trainer: Trainer, figures: Figures
) -> dict[str, Any]:
    """A point of the training curve. Raises InterpError E671 for a loss that is not finite."""
    loss = figures.loss
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
        "tokens": tokens,
        "loss": loss,
        "mse": figures.mse,
        "penalty": figures.penalty,
        "l0": figures.l0,
        "fvu": figures.fvu,
        "dead": figures.n_dead,
        "lr": trainer.settings.lr * trainer.schedule.rate(n),
    }


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as an event tells it; its step is a step of training."""
    return {"at" if key == "step" else key: value for key, value in row.items()}


def _say_passes(task: Fit, a_pass: int, report: Report) -> None:
    times = task.learned / a_pass
    if times > 1:
        report.note(
            f"{task.step}: the data holds {a_pass:,} tokens, so it is passed {times:.1f} times"
        )
