"""Columns of a polars frame as cells: each knows its width, how its rows read, and what it is
sorted by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from rich.cells import cell_len
from rich.style import Style

from interp_dsl.runs.text import MISSING, decimals, interval, number, printable
from interp_dsl.tui.tones import Tones
from interp_dsl.tui.widgets.cells import AXIS, Cell, bar, fitted

if TYPE_CHECKING:
    import polars as pl

WIDEST = 36
BAR = 7
"""Cells of a bar on each side of its axis."""


class Column(Protocol):
    """`by` is the frame's column that it is sorted by; `signed` whether size comes before sign."""

    title: str
    by: str
    width: int
    right: bool
    signed: bool

    def cells(self, rows: pl.DataFrame, tones: Tones) -> list[Cell]: ...


@dataclass
class TextColumn:
    """Text as it stands."""

    title: str
    by: str
    width: int
    right: bool = False
    signed: bool = False

    @classmethod
    def of(cls, frame: pl.DataFrame, name: str, title: str | None = None) -> TextColumn:
        title = printable(title or name)
        is_number = frame.schema[name].is_numeric()
        widest = _widest(frame, name)
        return cls(title, name, _width(title, [widest]), right=is_number)

    def cells(self, rows: pl.DataFrame, tones: Tones) -> list[Cell]:
        return [(fitted(_text(v), self.width, self.right), Style()) for v in rows[self.by]]


@dataclass
class FlagColumn:
    """True as a word, false as nothing."""

    title: str
    by: str
    width: int
    word: str = "yes"
    right: bool = False
    signed: bool = False

    def cells(self, rows: pl.DataFrame, tones: Tones) -> list[Cell]:
        return [(fitted(self.word if v else "", self.width), tones.accent) for v in rows[self.by]]


@dataclass
class NumberColumn:
    """Numbers with fixed decimals; `signed` ones carry their sign, in its tone too."""

    title: str
    by: str
    width: int
    places: int
    signed: bool = True
    right: bool = True

    @classmethod
    def of(
        cls,
        frame: pl.DataFrame,
        name: str,
        title: str | None = None,
        signed: bool = True,
        places: int | None = None,
    ) -> NumberColumn:
        title = printable(title or name)
        ends = _ends(frame, name)
        found = decimals(ends) if places is None else places
        widths = [len(number(end, found, signed)) for end in ends]
        return cls(title, name, _width(title, widths), found, signed)

    def cells(self, rows: pl.DataFrame, tones: Tones) -> list[Cell]:
        shown = [number(v, self.places, self.signed) for v in rows[self.by]]
        return [(text.rjust(self.width), self._tone(text, tones)) for text in shown]

    def _tone(self, text: str, tones: Tones) -> Style:
        """That of the sign; what is shown as zero has none."""
        if not self.signed or not text.strip("+-0.·"):
            return tones.muted
        return tones.minus if text.startswith("-") else tones.plus


@dataclass
class OwnColumn:
    """Numbers that have nothing to do with each other, each with decimals of its own."""

    title: str
    by: str
    width: int
    right: bool = True
    signed: bool = True

    @classmethod
    def of(cls, frame: pl.DataFrame, name: str) -> OwnColumn:
        widths = [len(own_number(v)) for v in frame[name]]
        return cls(name, name, _width(name, widths))

    def cells(self, rows: pl.DataFrame, tones: Tones) -> list[Cell]:
        return [(own_number(v).rjust(self.width), Style()) for v in rows[self.by]]


def own_number(value: float | None) -> str:
    """A number with four figures."""
    return number(value, decimals([value]), False)


@dataclass
class BarColumn:
    """A bar from zero, to the right for values above it; the longest is the largest size."""

    by: str
    largest: float
    title: str
    width: int = 2 * BAR + 1
    right: bool = False
    signed: bool = True

    @classmethod
    def of(cls, frame: pl.DataFrame, name: str, title: str = "") -> BarColumn:
        largest = max((abs(end) for end in _ends(frame, name)), default=0.0)
        scale = f"±{number(largest, decimals([largest]), False)}" if largest else ""
        return cls(name, largest, title or scale.center(2 * BAR + 1).rstrip())

    def cells(self, rows: pl.DataFrame, tones: Tones) -> list[Cell]:
        bars = [(bar(v, self.largest, BAR), v) for v in rows[self.by]]
        return [(text, self._tone(text, v, tones)) for text, v in bars]

    def _tone(self, text: str, value: float | None, tones: Tones) -> Style:
        if value is None or text.strip() == AXIS:
            return tones.faint
        return tones.minus if value < 0 else tones.plus


@dataclass
class IntervalColumn:
    """Two bounds; `not run` where a unit was skipped because it cannot have an effect."""

    low: str
    high: str
    by: str
    width: int
    places: int
    skipped: str | None = None
    title: str = "95% interval"
    right: bool = True
    signed: bool = False

    @classmethod
    def of(
        cls, frame: pl.DataFrame, low: str, high: str, places: int, skipped: str | None = None
    ) -> IntervalColumn:
        ends = [*_ends(frame, low), *_ends(frame, high)]
        widest = max((len(number(end, places)) for end in ends), default=0)
        return cls(low, high, low, max(12, 2 * widest + 4), places, skipped)

    def cells(self, rows: pl.DataFrame, tones: Tones) -> list[Cell]:
        passed: Iterable[bool | None] = rows[self.skipped] if self.skipped else [False] * len(rows)
        bounds = zip(rows[self.low], rows[self.high], passed, strict=True)
        return [
            ("not run".rjust(self.width) if no else self._text(a, b), tones.muted)
            for a, b, no in bounds
        ]

    def _text(self, low: float | None, high: float | None) -> str:
        return interval(low, high, self.places).rjust(self.width)


@dataclass
class RanksColumn:
    """Two ranks, and which way they went."""

    before: str
    after: str
    by: str
    title: str = "rank"
    width: int = 15
    right: bool = False
    signed: bool = field(default=True)

    def cells(self, rows: pl.DataFrame, tones: Tones) -> list[Cell]:
        pairs = zip(rows[self.before], rows[self.after], strict=True)
        return [self._cell(a, b, tones) for a, b in pairs]

    def _cell(self, a: int | None, b: int | None, tones: Tones) -> Cell:
        before, after = (MISSING if r is None else str(r) for r in (a, b))
        if a is None or b is None or a == b:
            text = before if a == b else f"{before} → {after}"
            return fitted(text, self.width), tones.muted
        sign, tone = ("▲", tones.good) if b < a else ("▼", tones.bad)
        return fitted(f"{before} → {after} {sign}", self.width), tone


def plain_columns(frame: pl.DataFrame) -> list[Column]:
    """The columns of a table that is no score table; signs where there are two."""
    found: list[Column] = []
    for name, dtype in frame.schema.items():
        if dtype.is_float():
            is_signed = any(end < 0 for end in _ends(frame, name))
            found.append(NumberColumn.of(frame, name, signed=is_signed))
        else:
            found.append(TextColumn.of(frame, name))
    return found


def _text(value: object) -> str:
    if value is None:
        return MISSING
    return f"{value:g}" if isinstance(value, float) else str(value)


def _widest(frame: pl.DataFrame, name: str) -> int:
    """Cells of the widest value, as long as text is made of narrow characters; wide ones are
    counted where a column is short enough to look at every value."""
    import polars as pl

    values = frame[name]
    if not values.len():
        return 0
    texts = values.cast(pl.String).unique() if values.dtype != pl.String else values
    if texts.len() <= 2_000:
        return max((cell_len(printable(t)) for t in texts if t is not None), default=1)
    length = texts.str.len_bytes().max()
    return int(length) if isinstance(length, int) else 1


def _ends(frame: pl.DataFrame, name: str) -> list[float]:
    """The smallest and the largest number of a column, as far as it has any."""
    column = frame[name]
    if column.dtype.is_float():
        column = column.fill_nan(None)
    ends = [column.min(), column.max()]
    return [float(end) for end in ends if isinstance(end, int | float)]


def _width(title: str, widths: Iterable[int]) -> int:
    """Room for the title with its arrow, and for the cells; not more than WIDEST."""
    return min(WIDEST, max([cell_len(title) + 2, 3, *widths]))
