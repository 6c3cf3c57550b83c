"""Tables as plain text: aligned columns, numbers with sign and fixed decimals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from interp_dsl.language.cells import cells, clean

MISSING = "·"


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading and its cells, already text."""

    name: str
    cells: Sequence[str]
    right: bool = False


def layout(columns: Sequence[Column], gap: str = "  ") -> list[str]:
    """The heading and the rows, every column as wide as its widest cell."""
    aligned = [_aligned(column) for column in columns]
    return [gap.join(cells).rstrip() for cells in zip(*aligned, strict=True)]


def _aligned(column: Column) -> list[str]:
    shown = [printable(cell) for cell in (column.name, *column.cells)]
    width = max(map(cells, shown))
    spaces = [" " * (width - cells(cell)) for cell in shown]
    return [s + c if column.right else c + s for c, s in zip(shown, spaces, strict=True)]


def printable(text: str) -> str:
    """Text from data on one line, harmless to a terminal."""
    return clean(text.replace("\n", "⏎").replace("\t", "⇥"))


def decimals(values: Iterable[float | None]) -> int:
    """Digits after the point that show four figures of the largest value; -1 where only an
    exponent reads well."""
    sizes = [abs(v) for v in values if v is not None and math.isfinite(v) and v != 0]
    if not sizes:
        return 3
    exponent = math.floor(math.log10(max(sizes)))
    return -1 if exponent < -6 or exponent > 9 else max(0, 3 - exponent)


def number(value: float | None, places: int, signed: bool = True) -> str:
    """A number with its sign and a fixed count of decimals."""
    if value is None or math.isnan(value):
        return MISSING
    sign = "+" if signed else ""
    if places < 0:
        return f"{value:{sign}.3e}"
    text = f"{value:{sign}.{places}f}"
    return text if float(text) or not signed else text.replace("-", "+")


def interval(low: float | None, high: float | None, places: int, signed: bool = True) -> str:
    """Two bounds in brackets."""
    if low is None or high is None:
        return "·"
    return f"[{number(low, places, signed)}, {number(high, places, signed)}]"


def exact(value: float | None, signed: bool = True) -> str:
    """A number alone: at least four of its own figures, at least three decimals."""
    places = decimals([value])
    return number(value, places if places < 0 else max(3, places), signed)


def share(value: float | None) -> str:
    """A share in per cent with three figures of its own."""
    if value is None or math.isnan(value):
        return MISSING
    return f"{100 * value:#.3g}".rstrip(".") + "%" if value else "0%"


def count(n: float, unit: str) -> str:
    """`1 claim`, `2 claims`."""
    return f"{n:,} {unit}{'' if n == 1 else 's'}"


def file_size(n: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"


def short_duration(seconds: float) -> str:
    """Seconds as a person reads them, milliseconds below one."""
    return duration(seconds) if seconds >= 1 else f"{max(0.0, 1000 * seconds):.3g} ms"


def duration(seconds: float) -> str:
    """Seconds as a person reads them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
