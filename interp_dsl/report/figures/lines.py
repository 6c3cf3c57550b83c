"""Curves: a metric against a size, a threshold or a parameter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from interp_dsl.report.figures import style
from interp_dsl.report.figures.style import element, words
from interp_dsl.runs.draw.layout import spread
from interp_dsl.runs.text import decimals, number

LONG, TALL = 480, 250
LEFT, TOP = 70.0, 42.0
APART = 14
"""Pixels from one line's name to the next."""
REACH = 3.0
"""So many times as far as intervals are long in the median, or as far as all points, they may go
beyond the points; what goes further ends in an arrow at the edge."""
DASHES = ("", "7 3", "2 3", "9 3 2 3", "5 2", "1 3")


@dataclass(frozen=True, slots=True)
class Point:
    """A value at `x` with its interval; `note` says where it comes from."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over one axis; `log` where x is spread over powers of ten, `log_y` where y is. `band`
    says what intervals are where they are drawn as a band round each line."""

    title: str
    x_axis: str
    y_axis: str
    lines: Sequence[Line]
    log: bool = False
    log_y: bool = False
    band: str = ""


def lines(chart: Chart) -> str:
    """The chart as SVG, every line named at its end."""
    return _Chart(chart).text()


class _Chart:
    """One drawing: the scales and the parts."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        points = [p for line in chart.lines for p in line.points]
        self.x = _range([self.scaled(p.x) for p in points])
        values = [self.raised(p.y) for p in points]
        self.y = _range([*values, *_near(values, [self.bounds(p) for p in points])])
        self.most = max((len(line.points) for line in chart.lines), default=0)
        self.places = decimals(p.y for p in points)
        self.tall = max(TALL, APART * len(chart.lines))
        self.bottom, self.right = TOP + self.tall, LEFT + LONG
        longest = max((len(line.name) for line in chart.lines), default=0)
        named = min(longest, 32) * style.WIDE + 24 if len(chart.lines) > 1 else 16
        self.width = max(self.right + named, len(chart.title) * 7.4 + 24)

    def scaled(self, x: float) -> float:
        return math.log10(x) if self.chart.log else x

    def across(self, x: float) -> float:
        """How far to the right an x stands."""
        left, right = self.x
        return LEFT + (self.scaled(x) - left) / (right - left) * LONG

    def raised(self, y: float) -> float:
        if not self.chart.log_y:
            return y
        return math.log10(y) if y > 0 else -math.inf

    def bounds(self, point: Point) -> Sequence[float]:
        """The bounds of a point's interval, where it has one."""
        if point.low is None or point.high is None:
            return ()
        return self.raised(point.low), self.raised(point.high)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a point, or of a bound: at the edge where it lies beyond."""
        low, high = self.y
        inside = min(max(self.raised(y), low), high)
        return self.across(x), self.bottom - (inside - low) / (high - low) * self.tall

    def text(self) -> str:
        chart = self.chart
        parts = [words(12, 20, chart.title, 13, font_weight="600"), *self.axes()]
        for i, line in enumerate(chart.lines):
            parts += self.line(line, style.SERIES[i % len(style.SERIES)], DASHES[i % len(DASHES)])
        parts += self.names() if len(chart.lines) > 1 else []
        return style.picture(self.width, self.bottom + 52, chart.title, parts)

    def axes(self) -> Iterator[str]:
        (low, high), log_y = self.y, self.chart.log_y
        for value in style.ticks(low, high):
            y = self.bottom - (value - low) / (high - low) * self.tall
            place = {"x1": LEFT, "x2": self.right, "y1": y, "y2": y}
            is_zero = value == 0 and not log_y
            kind, ink = ("zero", style.FAINT) if is_zero else ("rule", style.RULE)
            yield element("line", class_=kind, stroke=ink, **place)
            said = f"{10**value:.3g}" if log_y else style.tick(value)
            yield words(LEFT - 8, y + 3.5, said, 10.5, style.INK, "end")
        for value in self.x_ticks():
            x = self.across(value)
            place = {"x1": x, "x2": x, "y1": self.bottom, "y2": self.bottom + 4}
            yield element("line", class_="axis", stroke=style.FAINT, **place)
            yield words(x, self.bottom + 18, style.tick(value), 10.5, style.INK, "middle")
        place = {"x1": LEFT, "x2": self.right, "y1": self.bottom, "y2": self.bottom}
        yield element("line", class_="axis", stroke=style.FAINT, **place)
        middle = (LEFT + self.right) / 2
        yield words(middle, self.bottom + 40, self.chart.x_axis, 11, style.FAINT, "middle")
        x, y = 18.0, (TOP + self.bottom) / 2
        turn = f"rotate(-90 {x:.1f} {y:.1f})"
        yield words(x, y, self.chart.y_axis, 11, style.FAINT, "middle", transform=turn)

    def x_ticks(self) -> list[float]:
        """The very values where they are few, else round ones."""
        found = sorted({p.x for line in self.chart.lines for p in line.points})
        places = [self.across(x) for x in found]
        labels = [len(style.tick(x)) * style.WIDE + 10 for x in found]
        apart = [b - a for a, b in pairwise(places)]
        if all(gap >= max(labels) for gap in apart):
            return found
        if not self.chart.log:
            return style.ticks(*self.x)
        powers = range(math.ceil(self.x[0] - 1e-9), math.floor(self.x[1] + 1e-9) + 1)
        return [10.0**power for power in powers]

    def line(self, line: Line, colour: str, dash: str) -> Iterator[str]:
        points = sorted(line.points, key=lambda p: p.x)
        places = [self.at(p.x, p.y) for p in points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        radius = 3.6 if self.most < 40 else 2.2
        if self.chart.band:
            yield from self.band(points, colour)
        look: dict[str, style.Attribute] = {"stroke_width": 1.8, "stroke_dasharray": dash or None}
        yield element("path", class_="curve", d=path, fill="none", stroke=colour, **look)
        for point, (x, y) in zip(points, places, strict=True):
            if point.low is not None and point.high is not None and not self.chart.band:
                bar = self.whisker(point.x, point.low, point.high)
                yield element("path", class_="whisker", d=bar, stroke=colour, fill="none")
            said = style.tooltip(self.said(line, point))
            yield element("circle", said, class_="dot", cx=x, cy=y, r=radius, fill=colour)

    def whisker(self, across: float, low: float, high: float) -> str:
        """The path of an interval: ends where it ends, arrows where it leaves the figure."""
        x, bottom = self.at(across, low)
        _, top = self.at(across, high)
        path = f"M{x:.1f} {top:.1f}V{bottom:.1f}"
        for y, is_out, inward in (
            (top, self.raised(high) > self.y[1], 4),
            (bottom, self.raised(low) < self.y[0], -4),
        ):
            path += f"M{x - 3:.1f} {y + inward:.1f}" if is_out else f"M{x - 3:.1f} {y:.1f}h6"
            path += f"L{x:.1f} {y:.1f}l3 {inward}" if is_out else ""
        return path

    def band(self, points: Sequence[Point], colour: str) -> Iterator[str]:
        """What lies between the bounds of points, one behind another."""
        held = [(p.x, p.low, p.high) for p in points if p.low is not None and p.high is not None]
        if len(held) < 2:
            return
        round_ = [self.at(x, high) for x, _, high in held]
        round_ += [self.at(x, low) for x, low, _ in reversed(held)]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in round_) + "Z"
        yield element("path", class_="band", d=path, fill=colour, fill_opacity=0.16)

    def said(self, line: Line, point: Point) -> str:
        bounds = ""
        if point.low is not None and point.high is not None:
            low, high = number(point.low, self.places), number(point.high, self.places)
            bounds = f" [{low}, {high}]" + (f" ({self.chart.band})" if self.chart.band else "")
        value = f"{point.y:.4g}" if self.chart.log_y else number(point.y, self.places)
        return f"{line.name}: {value}{bounds} at {style.tick(point.x)}{point.note}"

    def names(self) -> Iterator[str]:
        """The lines' names at their ends, moved apart where they would touch."""
        ends = []
        for i, line in enumerate(self.chart.lines):
            last = max(line.points, key=lambda p: p.x)
            ends.append(
                (self.at(last.x, last.y)[1], style.SERIES[i % len(style.SERIES)], line.name)
            )
        ends.sort()
        heights = spread([y / APART for y, _, _ in ends])
        top, room = TOP / APART, self.bottom / APART - (len(ends) - 1)
        for i, (height, (_, colour, name)) in enumerate(zip(heights, ends, strict=True)):
            inside = APART * (min(max(height - i, top), room) + i)
            yield words(self.right + 12, inside + 4, style.shortened(name, 32), 11, colour)


def _near(values: Sequence[float], intervals: Sequence[Sequence[float]]) -> list[float]:
    """The bounds that an axis has room for: few wide intervals would press all points together."""
    bounds = [b for interval in intervals for b in interval if math.isfinite(b)]
    lengths = [i[1] - i[0] for i in intervals if len(i) and all(map(math.isfinite, i))]
    low, high = min(values, default=0.0), max(values, default=0.0)
    reach = max(high - low, REACH * median(lengths) if lengths else 0.0)
    return [bound for bound in bounds if low - reach <= bound <= high + reach]


def _range(values: Sequence[float]) -> tuple[float, float]:
    """From the least to the largest, a little more on both sides."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    return low - room, high + room
