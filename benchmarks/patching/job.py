"""What is raced: shapes, sweeps and the cells of a sweep, as driver and workers both read them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["z", "resid_pre"]


@dataclass(frozen=True)
class Shape:
    """Sizes of the model, and of the prompts that it is run on."""

    layers: int
    width: int
    heads: int
    vocab: int
    context: int
    batch: int


@dataclass(frozen=True)
class Cell:
    """One patch: a head's z, or the residual stream before a layer (`head` None); at one position,
    or at all of them (`position` None)."""

    layer: int
    position: int | None
    head: int | None


@dataclass(frozen=True)
class Sweep:
    """`sample`: so many seeded cells instead of all."""

    name: str
    kind: Kind
    by_position: bool
    shape: Shape
    sample: int | None = None

    def cells(self) -> tuple[Cell, ...]:
        """The cells that are run, in order."""
        every = list(self._every())
        if self.sample is None or self.sample >= len(every):
            return tuple(every)
        chosen = sorted(random.Random(0).sample(range(len(every)), self.sample))
        return tuple(every[i] for i in chosen)

    def _every(self) -> Iterator[Cell]:
        positions = range(self.shape.context) if self.by_position else (None,)
        heads = range(self.shape.heads) if self.kind == "z" else (None,)
        for layer in range(self.shape.layers):
            for position in positions:
                for head in heads:
                    yield Cell(layer, position, head)


@dataclass(frozen=True)
class Job:
    """A sweep as a worker gets it. `folder` holds checkpoint/, pairs.safetensors, race.interp."""

    sweep: str
    kind: Kind
    shape: Shape
    cells: tuple[Cell, ...]
    folder: str
    device: str
    threads: int

    @classmethod
    def read(cls, path: Path) -> Job:
        held = json.loads(path.read_text())
        held["shape"] = Shape(**held["shape"])
        held["cells"] = tuple(Cell(**cell) for cell in held["cells"])
        return cls(**held)


_SMALL = Shape(layers=4, width=256, heads=8, vocab=5000, context=32, batch=16)
_SHORT = Shape(layers=4, width=256, heads=8, vocab=512, context=32, batch=16)
_FEW = Shape(layers=4, width=256, heads=8, vocab=512, context=16, batch=4)
_TINY = Shape(layers=2, width=32, heads=4, vocab=60, context=6, batch=3)
_GPT2 = Shape(layers=12, width=768, heads=12, vocab=50257, context=32, batch=16)

PRESETS: dict[str, tuple[Sweep, ...]] = {
    "tiny": (
        Sweep("heads", "z", False, _TINY),
        Sweep("residual-by-position", "resid_pre", True, _TINY),
        Sweep("heads-by-position", "z", True, _TINY),
        Sweep("heads-by-position-sampled", "z", True, _TINY, sample=9),
    ),
    "small": (
        Sweep("heads", "z", False, _SMALL),
        Sweep("residual-by-position", "resid_pre", True, _SHORT),
        Sweep("heads-by-position", "z", True, _FEW),
    ),
    "gpt2-small": (Sweep("heads-by-position-sampled", "z", True, _GPT2, sample=96),),
}
