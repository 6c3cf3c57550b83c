"""What is raced: dictionaries to be fitted, and the activations that they are fitted to; as driver
and workers both read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ARCHITECTURES = ("relu", "topk", "batch_topk", "jumprelu")
BY_COUNT = ("topk", "batch_topk")
"""Those whose sparsity is a number of features, the same for every engine."""

ENGINES = ("sae_lens", "dictionary_learning", "sparsify", "interp")


def having(architecture: str) -> tuple[str, ...]:
    """The engines that have an architecture: sparsify has topk alone."""
    return tuple(e for e in ENGINES if e != "sparsify" or architecture == "topk")


COEFFICIENTS = {
    "relu": {
        "sae_lens": (1.0, 2.5, 6.0),
        "dictionary_learning": (0.044, 0.11, 0.27),
        "interp": (1.0, 2.0, 4.0),
    },
    "jumprelu": {
        "sae_lens": (2.0, 6.0, 18.0),
        "dictionary_learning": (16.0, 32.0, 64.0),
        "interp": (16.0, 32.0, 64.0),
    },
}
"""Of three dictionaries each: relu's L1 in the units of each engine's loss; jumprelu's tanh penalty
in SAELens, elsewhere the number of features that it aims at."""


@dataclass(frozen=True)
class Case:
    """A dictionary of `width` features, fitted in `steps` batches of `batch` activations.
    `sparsity`: k; of relu the coefficient of its L1 and of jumprelu that of its L0, or the number
    of features that it aims at, each in the units of the engine that takes it. `lr` None is the
    engine's own choice. `dead`: so many features count as dead, whatever they do."""

    architecture: str
    width: int
    batch: int
    steps: int
    sparsity: float
    seed: int = 0
    lr: float | None = None
    dead: int = 0

    @property
    def k(self) -> int:
        return int(self.sparsity)

    @property
    def label(self) -> str:
        """A name for its folder."""
        rate = "" if self.lr is None else f"-lr{self.lr:g}"
        return f"{self.architecture}-{self.sparsity:g}{rate}-seed{self.seed}"


@dataclass(frozen=True)
class Job:
    """`folder` holds activations.safetensors."""

    folder: str
    threads: int

    @classmethod
    def read(cls, path: Path) -> Job:
        return cls(**json.loads(path.read_text()))


class Batches:
    """The activations [rows, 512] of a job, in the order in which all engines see them."""

    def __init__(self, folder: str) -> None:
        from safetensors import safe_open

        path = Path(folder) / "activations.safetensors"
        self._held: Any = safe_open(str(path), framework="pt").get_slice("activations")
        self.rows, self.d = self._held.get_shape()

    def batch(self, number: int, size: int) -> Any:
        """Batch `number` [size, d]; from the start again behind the last."""
        first = (number % (self.rows // size)) * size
        return self._held[first : first + size]

    def all(self, size: int) -> Iterator[Any]:
        """One after another without end."""
        number = 0
        while True:
            yield self.batch(number, size)
            number += 1
