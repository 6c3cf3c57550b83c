"""Processes that help to train: each has the same trainers and takes each step on its part of the
batch. This process hands out the parts and keeps what is learned; one that ends, or is killed,
takes its helpers with it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
from torch import Tensor

from interp_dsl.dictionaries.architectures.base import Architecture, Params
from interp_dsl.dictionaries.crew import Together
from interp_dsl.dictionaries.ends import Ends
from interp_dsl.dictionaries.schedules import Schedule
from interp_dsl.dictionaries.training import Figures, Settings, Trainer

STEP, STATE, END = range(3)
PATIENCE = timedelta(hours=2)
"""How long helpers wait for the next step: blocks of activations are made between."""


@dataclass(frozen=True)
class Recipe:
    """What makes a trainer, and its state; `d_onto` of what a transcoder rebuilds."""

    architecture: Architecture
    settings: Settings
    schedule: Schedule
    ends: Ends
    d_in: int
    d_onto: int | None
    state: Params

    @classmethod
    def of(cls, trainer: Trainer) -> Recipe:
        params = trainer.params
        d_onto = None if trainer.ends.is_tied else params["decoder"].shape[1]
        return cls(
            trainer.architecture,
            trainer.settings,
            trainer.schedule,
            trainer.ends,
            params["encoder"].shape[1],
            d_onto,
            {name: value.clone() for name, value in trainer.state().items()},
        )

    def trainer(self) -> Trainer:
        first = torch.zeros(1, self.d_in)
        onto = None if self.d_onto is None else torch.zeros(1, self.d_onto)
        given = self.architecture, self.settings, self.schedule, first
        made = Trainer(*given, self.ends, onto, Together())
        made.restore(self.state)
        return made


class Hands:
    """Trainers that take their steps with the helpers'."""

    def __init__(self, trainers: Sequence[Trainer], size: int) -> None:
        self.trainers, self.size = trainers, size

    def step(self, trainer: Trainer, x: Tensor, onto: Tensor | None) -> Figures:
        """A step on a batch x [B, d_in], onto [B, d_out], B a multiple of the processes."""
        self._tell(STEP, trainer, len(x) // self.size)
        other = None if onto is None else _handed_out(onto, self.size)
        figures = trainer.step(_handed_out(x, self.size), other)
        y = x * trainer.settings.scales[0] if onto is None else onto * trainer.settings.scales[1]
        return replace(figures, y=y)

    def share_state(self, trainer: Trainer) -> None:
        """Give helpers what was changed here alone."""
        self._tell(STATE, trainer, 0)
        _broadcast(trainer)

    def end(self) -> None:
        dist.broadcast(torch.tensor([END, 0, 0]), 0)

    def _tell(self, what: int, trainer: Trainer, rows: int) -> None:
        number = next(i for i, one in enumerate(self.trainers) if one is trainer)
        dist.broadcast(torch.tensor([what, number, rows]), 0)


@contextmanager
def crewed(trainers: Sequence[Trainer], size: int) -> Iterator[Hands]:
    """The trainers with `size` - 1 helpers, which end with the block."""
    threads = torch.get_num_threads()
    with TemporaryDirectory(prefix="interp-") as folder:
        place = Path(folder)
        recipes = [Recipe.of(trainer) for trainer in trainers]
        share = max(1, threads // size)
        (place / "recipes").write_bytes(pickle.dumps((recipes, share)))
        command = [sys.executable, "-m", "interp_dsl.engine.crew", folder, str(size)]
        helpers = [subprocess.Popen([*command, str(rank)]) for rank in range(1, size)]
        try:
            _meet(place, 0, size)
            torch.set_num_threads(share)
            for trainer in trainers:
                trainer.crew = Together()
            hands = Hands(trainers, size)
            yield hands
            hands.end()
            for helper in helpers:
                helper.wait()
        finally:
            torch.set_num_threads(threads)
            for helper in helpers:
                helper.terminate()
                helper.wait()
            if dist.is_initialized():
                dist.destroy_process_group()


def help_out(folder: Path, size: int, rank: int) -> None:
    """Take part in steps until told to end, or until the others are gone."""
    recipes, threads = pickle.loads((folder / "recipes").read_bytes())
    torch.set_num_threads(threads)
    _meet(folder, rank, size)
    trainers = [recipe.trainer() for recipe in recipes]
    while True:
        told = torch.zeros(3, dtype=torch.int64)
        dist.broadcast(told, 0)
        what, number, rows = told.tolist()
        if what == END:
            return
        recipe, trainer = recipes[number], trainers[number]
        if what == STATE:
            _broadcast(trainer)
            continue
        onto = None if recipe.d_onto is None else _received(rows, recipe.d_onto)
        trainer.step(_received(rows, recipe.d_in), onto)


def _meet(folder: Path, rank: int, size: int) -> None:
    where = f"file://{folder / 'meet'}"
    dist.init_process_group("gloo", where, PATIENCE, size, rank)


def _handed_out(whole: Tensor, size: int) -> Tensor:
    parts = [part.contiguous() for part in whole.chunk(size)]
    own = torch.empty_like(parts[0])
    dist.scatter(own, parts, 0)
    return own


def _received(rows: int, width: int) -> Tensor:
    own = torch.empty(rows, width)
    dist.scatter(own, None, 0)
    return own


def _broadcast(trainer: Trainer) -> None:
    for name, value in trainer.state().items():
        if name != "n_steps":
            dist.broadcast(value, 0)


def main() -> None:
    folder, size, rank = sys.argv[1:]
    try:
        help_out(Path(folder), int(size), int(rank))
    except (RuntimeError, KeyboardInterrupt):
        if dist.is_initialized():  # the others are gone: nobody is left to be told why
            os._exit(1)
        raise
    os._exit(0)  # what is left of the group's threads would abort an orderly end now and then


if __name__ == "__main__":
    main()
