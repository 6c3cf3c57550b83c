"""The steps of a run whose tables make pictures of a kind, and which of them is looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from interp_dsl.runs.folder import RunFolder

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")


@dataclass
class Stepped:
    """`tables` are those that make pictures, by step, of which `step` is looked at. `read` takes in
    what the run has finished meanwhile. A derived class gives `makes_pictures` and `choose`."""

    folder: RunFolder
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    step: str = ""
    _seen: set[str] = field(default_factory=set)

    def makes_pictures(self, step: str, table: pl.DataFrame) -> bool:
        """Whether there is something to see of a step's table."""
        raise NotImplementedError

    def choose(self, step: str | None = None) -> None:
        """Choose another step; what else is chosen stays as far as it can."""
        raise NotImplementedError

    def read(self) -> set[str]:
        """Read the tables that are new; the steps among them that make pictures."""
        found = {step: table for step, table in self.new() if self.makes_pictures(step, table)}
        self.tables |= found
        if self.tables and not self.step:
            self.choose(step=next(iter(self.tables)))
        return {*found}

    def new(self) -> Iterator[tuple[str, pl.DataFrame]]:
        """The tables that were not there when this was last asked."""
        for step in self.folder.steps:
            if step not in self._seen:
                self._seen.add(step)
                yield step, self.folder.read_table(step)

    @property
    def steps(self) -> list[str]:
        return list(self.tables)

    @property
    def table(self) -> pl.DataFrame:
        return self.tables[self.step]


def kept(wanted: T, known: Sequence[T]) -> T:
    """What is wanted where it is among the known, else the first of them."""
    return wanted if wanted in known else known[0]
