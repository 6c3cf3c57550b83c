"""Ranked bars with intervals: one unit a row, zero in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from interp_dsl.report.figures import style
from interp_dsl.report.figures.style import element, words
from interp_dsl.runs.text import decimals, number

LONG, ROW, MOST = 420, 22, 40


@dataclass(frozen=True, slots=True)
class Bar:
    """A value with its interval. `verified` is measured where the value is an estimate."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    verified: float | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Bars in their order; `left_out` rows are not among them."""

    title: str
    quantity: str
    bars: Sequence[Bar]
    left_out: int = 0


def bars(ranking: Ranking) -> str:
    """The ranking as SVG."""
    return _Bars(ranking).text()


class _Bars:
    """One drawing: the scale and the parts."""

    def __init__(self, ranking: Ranking) -> None:
        self.ranking = ranking
        held = [v for b in ranking.bars for v in (b.value, b.low, b.high, b.verified)]
        values = [0.0, *(v for v in held if v is not None)]
        self.least, self.most = min(values), max(values)
        if self.least == self.most:
            self.most = 1.0
        self.places = decimals(b.value for b in ranking.bars)
        longest = max((len(b.name) for b in ranking.bars), default=0)
        self.left = 20 + min(longest, 44) * style.WIDE
        self.right = self.left + LONG
        self.top = 40.0
        self.bottom = self.top + len(ranking.bars) * ROW
        self.width = max(self.right + 84, len(ranking.title) * 7.4 + 24)

    def at(self, value: float) -> float:
        """The place of a value on the scale."""
        return self.left + (value - self.least) / (self.most - self.least) * LONG

    def text(self) -> str:
        ranking = self.ranking
        parts = [words(12, 20, ranking.title, 13, font_weight="600"), *self.axis()]
        for i, bar in enumerate(ranking.bars):
            parts += self.row(bar, self.top + (i + 0.5) * ROW)
        return style.picture(self.width, self.bottom + 58, ranking.title, parts)

    def axis(self) -> Iterator[str]:
        for value in style.ticks(self.least, self.most):
            x = self.at(value)
            ink = style.INK if value == 0 else style.RULE
            place = {"x1": x, "x2": x, "y1": self.top - 4, "y2": self.bottom + 4}
            yield element("line", class_="zero" if value == 0 else "rule", stroke=ink, **place)
            yield words(x, self.bottom + 18, style.tick(value), 10.5, style.INK, "middle")
        middle = (self.left + self.right) / 2
        yield words(middle, self.bottom + 36, self.ranking.quantity, 11, style.FAINT, "middle")
        yield from self.notes(middle, self.bottom + 52)

    def notes(self, middle: float, y: float) -> Iterator[str]:
        """What a diamond means, and how much is not drawn."""
        left_out, verified = (
            self.ranking.left_out,
            any(b.verified is not None for b in self.ranking.bars),
        )
        said = ["measured by a real patch"] if verified else []
        said += [f"{left_out:,} smaller ones are not drawn"] if left_out else []
        text = "; ".join(said)
        if verified:
            yield _diamond(middle - len(text) * 2.45 - 12, y - 3.5)
        if text:
            yield words(middle, y, text, 10, style.FAINT, "middle")

    def row(self, bar: Bar, y: float) -> Iterator[str]:
        zero, end = self.at(0.0), self.at(bar.value)
        kind, colour = style.sign(bar.value)
        name = style.shortened(bar.name, 44)
        yield words(self.left - 8, y + 4, name, 11, style.INK, "end")
        yield element(
            "rect",
            style.tooltip(f"{bar.name}: {number(bar.value, self.places)}"),
            class_=kind,
            x=min(zero, end),
            y=y - 6.5,
            width=max(abs(end - zero), 0.6),
            height=13,
            fill=colour,
        )
        if bar.low is not None and bar.high is not None:
            low, high = self.at(bar.low), self.at(bar.high)
            path = f"M{low:.1f} {y:.1f}H{high:.1f}M{low:.1f} {y - 3:.1f}v6M{high:.1f} {y - 3:.1f}v6"
            yield element("path", class_="whisker", d=path, stroke=style.INK, fill="none")
        if bar.verified is not None:
            yield _diamond(self.at(bar.verified), y)
        said = number(bar.value, self.places)
        yield words(self.right + 10, y + 4, said, 10.5, style.FAINT)


def _diamond(x: float, y: float) -> str:
    path = f"M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z"
    return element("path", class_="mark", d=path, stroke=style.INK, fill=style.PAPER)
