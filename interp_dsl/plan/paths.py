"""Paths along which places are moved: part of the algebra of interventions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interp_dsl.plan.algebra import Metric, Run, Source, Vector
    from interp_dsl.plan.dictionaries import DictionaryOf


CELLS = 2**24
"""Features of activations that are held at once."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """`n` directions drawn for each example and position. `how`: random, covariance, difference,
    toward_random or toward_real (geometry/directions.py); all but the first by the site's
    activations in `run`."""

    name: str
    how: str
    n: int = 1
    seed: int = 0
    run: Run | None = None


@dataclass(frozen=True, slots=True)
class Components:
    """The first n principal components of the site's activations in a run."""

    name: str
    run: Run
    n: int = 1


@dataclass(frozen=True, slots=True)
class Toward:
    """Toward what a source would set the place to: `how` by a straight line or, the norm going
    from one to the other, by an arc."""

    name: str
    source: Source
    how: str = "line"


@dataclass(frozen=True, slots=True)
class Between:
    """From the changed one of two runs toward the same place in the other, likewise. `runs` are
    such pairs, one behind the other: one of each model."""

    name: str
    runs: tuple[Run, ...]
    how: str = "line"


@dataclass(frozen=True, slots=True)
class Among:
    """Toward the same place in `n` other examples of a run, likewise: number k leads to the
    (k + 1)-th behind one's own, counted round."""

    name: str
    run: Run
    n: int
    how: str = "line"


@dataclass(frozen=True, slots=True)
class Plane:
    """Where a plane lies that holds a path and the same place in a further example. Points lie on
    it by their length of its own along the path, by their length in L2 across it, counted in the
    distance to that example."""

    name: str
    along: Path


@dataclass(frozen=True, slots=True)
class AlongVector:
    """Along one vector, the same everywhere."""

    name: str
    vector: Vector


@dataclass(frozen=True, slots=True)
class AlongSlope:
    """Up the slope of a metric, at every place its own."""

    name: str
    metric: Metric


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Toward what a dictionary makes of the activation: `how` is one of geometry/reconstruction.py.
    `of`: a dictionary of each place."""

    name: str
    of: tuple[DictionaryOf, ...]
    how: str = "error"
    n: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Decoders:
    """Along decoder directions of features drawn for each example and position. `which`: random,
    active (on in the activation itself), inactive (off in it, and on somewhere in `run`), dead (on
    nowhere in it)."""

    name: str
    of: tuple[DictionaryOf, ...]
    run: Run
    which: str = "random"
    n: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Sized:
    """Along another path, whose own length is that of a dictionary's error: of each place its
    own."""

    path: Path
    of: tuple[DictionaryOf, ...]

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def n(self) -> int:
        return getattr(self.path, "n", 1)


Path = (
    Drawn
    | Components
    | Toward
    | Between
    | Among
    | Plane
    | AlongVector
    | AlongSlope
    | Rebuilt
    | Decoders
    | Sized
)


@dataclass(frozen=True, slots=True)
class Moved:
    """The base value moved along a path. Every unit is a Point, which says along which, by the
    path's name, and how far. `run`: whose activations' median norm lengths are shares of."""

    paths: tuple[Path, ...]
    run: Run | None = None
