"""A curve in characters: points, the line between them, the place that is looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.text import Text
from textual.reactive import reactive
from textual.widget import Widget

from interp_dsl.runs.cuts import Curve
from interp_dsl.runs.text import decimals, number, printable
from interp_dsl.tui.widgets.scale import Scale, scale

LINE, POINT, HERE = "·", "•", "●"


class Chart(Widget):
    """`at` is the x that is marked: by a column of `│` and, on a point, `●`."""

    DEFAULT_CSS = """
    Chart { width: 1fr; height: 1fr; min-height: 5; }
    """
    curve: reactive[Curve | None] = reactive(None)
    at: reactive[float | None] = reactive(None)

    def render(self) -> Text:
        if self.curve is None:
            return Text("")
        return drawn(self.curve, self.at, self.size.width, self.size.height, scale(self.app))


def drawn(curve: Curve, at: float | None, width: int, height: int, colours: Scale) -> Text:
    """The chart in `height` lines: a title, the curve with the ends of its axes."""
    points = curve.points
    title = Text().append(printable(curve.y), colours.strong)
    title.append(f" by {printable(curve.x)}, {printable(curve.source)}", colours.muted)
    title.truncate(width, overflow="ellipsis")
    if not points or height < 4:
        return title
    ys = [p.y for p in points]
    low, high = min(0.0, *ys), max(ys) if max(ys) > 0 else 0.0
    labels = [_short(high, ys), _short(low, ys)]
    margin = max(map(len, labels)) + 1
    cells = plot(curve, at, max(4, width - margin), height - 2, low, high)
    lines = [title]
    for y, row in enumerate(cells):
        label = labels[0] if not y else labels[1] if y == len(cells) - 1 else ""
        line = Text().append(label.rjust(margin - 1) + " ", colours.muted)
        for sign in row:
            line.append(sign, colours.strong if sign in (POINT, HERE) else colours.muted)
        lines.append(line)
    xs = [p.x for p in points]
    ends = f"{xs[0]:.3g}", f"{xs[-1]:.3g}"
    space = max(1, width - margin - len(ends[0]) - len(ends[1]))
    lines.append(Text(" " * margin + ends[0] + " " * space + ends[1], colours.muted))
    return Text("\n", no_wrap=True).join(lines)


def plot(
    curve: Curve, at: float | None, width: int, height: int, low: float, high: float
) -> list[list[str]]:
    """The curve as rows of characters from the top down. x runs by rank where the points span more
    than a hundredfold, as thresholds and shares do by design."""
    xs, ys = [p.x for p in curve.points], [p.y for p in curve.points]
    columns = [round(x * (width - 1)) for x in _places(xs, xs)]
    rows = [_row(y, low, high, height) for y in ys]
    cells = [[" "] * width for _ in range(height)]
    marked = None if at is None else round(_places([at], xs)[0] * (width - 1))
    if marked is not None:
        for line in cells:
            line[marked] = "│"
    for column in range(columns[0], columns[-1] + 1):
        y = float(np.interp(column, columns, rows))
        cells[round(y)][column] = LINE
    for column, row in zip(columns, rows, strict=True):
        cells[row][column] = POINT
    if marked is not None:
        y = float(np.interp(marked, columns, rows))
        cells[round(y)][marked] = HERE
    return cells


def _places(wanted: Sequence[float], xs: Sequence[float]) -> list[float]:
    """Where values stand between the first x (0) and the last (1)."""
    if len(xs) < 2 or xs[0] == xs[-1]:
        return [0.0 for _ in wanted]
    positive = [x for x in xs if x > 0]
    if positive and xs[-1] / positive[0] > 100:
        ranks = np.linspace(0, 1, len(xs))
        return [float(v) for v in np.interp(wanted, xs, ranks)]
    return [float(np.clip((v - xs[0]) / (xs[-1] - xs[0]), 0, 1)) for v in wanted]


def _row(y: float, low: float, high: float, height: int) -> int:
    share = (y - low) / (high - low) if high > low else 0.0
    return height - 1 - round(share * (height - 1))


def _short(value: float, values: Sequence[float]) -> str:
    whole = all(float(v).is_integer() for v in values)
    return f"{value:.0f}" if whole else number(value, min(3, decimals(values)), signed=value < 0)
