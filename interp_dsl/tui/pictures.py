"""What the panes beside the tasks show: curves, leading components, claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from interp_dsl.runs.live import Point, RunLive
from interp_dsl.runs.text import decimals, interval, number, printable
from interp_dsl.runs.training import MEASURES, Curves
from interp_dsl.tui.tones import Tones
from interp_dsl.tui.widgets.cells import bar, fitted
from interp_dsl.tui.widgets.charts import curve, is_flat

SMALLEST = 3
"""Lines of a curve, at least."""
NARROWEST, GAP = 17, 2
"""Characters of a curve beside others, at least, and between two."""
HALF = 5


def curves(live: RunLive, tones: Tones, width: int, height: int) -> Text:
    """As many of the newest curves as have room, one below the other."""
    held = [(name, points) for name, points in live.curves.items() if len(points) > 1]
    if not held:
        return Text("curves appear while a task counts on\nor a search judges edges", tones.muted)
    n = max(1, min(len(held), (height + 1) // (SMALLEST + 3)))
    lines = max(1, (height + 1) // n - 3)
    shown = [_curve(name, points, tones, width, lines) for name, points in held[-n:]]
    return Text("\n\n").join(shown)


def training(curves: Curves, tones: Tones, width: int, height: int) -> Text:
    """The curves of a dictionary's fit over tokens, as many beside each other as stand best."""
    held = {name: points for name, points in curves.items() if len(points) > 1}
    if not held:
        return Text("curves appear after two points of training", tones.muted)
    most = max(1, (width + GAP) // (NARROWEST + GAP))
    columns = min(len(held), most)
    while columns > 1 and height // -(-len(held) // (columns - 1)) >= SMALLEST + 4:
        columns -= 1  # wider ones, as long as they are not too low
    rows = -(-len(held) // columns)
    wide = (width + GAP) // columns - GAP
    lines = max(1, (height + 1) // rows - 3)
    drawn = [_curve(MEASURES[n], points, tones, wide, lines) for n, points in held.items()]
    blocks = [_beside(drawn[i : i + columns], wide) for i in range(0, len(drawn), columns)]
    return Text("\n\n").join(blocks)


def _beside(texts: Sequence[Text], width: int) -> Text:
    """Texts of as many lines beside each other, each `width` cells wide."""
    columns = [text.split("\n") for text in texts]
    rows = []
    for lines in zip(*columns, strict=True):
        row = Text(no_wrap=True)
        for i, line in enumerate(lines):
            row.append(" " * (GAP if i else 0))
            row.append_text(line)
            row.append(" " * max(0, width - line.cell_len))
        rows.append(row)
    return Text("\n", no_wrap=True).join(rows)


def _curve(name: str, points: Sequence[Point], tones: Tones, width: int, height: int) -> Text:
    ys = [y for _, y in points]
    places = 0 if all(y == int(y) for y in ys) else _apart(min(ys), max(ys))
    now, low, high = (number(y, places, False) for y in (ys[-1], min(ys), max(ys)))
    margin = max(len(low), len(high))
    text = Text(no_wrap=True)
    text.append(fitted(name, max(1, width - len(now) - 1)) + " ", tones.muted)
    text.append(now + "\n", tones.strong)
    drawn = curve(points, max(2, width - margin - 2), height)
    for i, line in enumerate(drawn):
        label = high if i == 0 else low if i == len(drawn) - 1 else ""
        text.append(label.rjust(margin) + " ", tones.muted)
        text.append("┤" if label else "│", tones.faint)
        text.append(line + "\n", tones.fill)
    ends = _end(points[0][0]), _end(points[-1][0])
    room = max(1, width - margin - 2 - len(ends[0]))
    text.append(" " * (margin + 2) + ends[0] + ends[1].rjust(room), tones.muted)
    return text


def _end(x: float) -> str:
    return f"{x:,.0f}" if x == int(x) else f"{x:,.3g}"


def _apart(low: float, high: float) -> int:
    """Decimals with which the two ends of a curve can be told apart."""
    first = places = decimals([low, high])
    if first < 0 or is_flat(low, high):
        return first
    while places < first + 4 and number(low, places) == number(high, places):
        places += 1
    return places


def leading(rows: Sequence[Mapping[str, Any]], tones: Tones, width: int) -> Text:
    """The leading components of a step with signed bars and intervals."""
    if not rows:
        return Text("the leading components appear\nas the shards of a step finish", tones.muted)
    effects = [float(row["effect"]) for row in rows]
    places, largest = decimals(effects), max(map(abs, effects))
    numbers = [number(effect, places) for effect in effects]
    wide = max(map(len, numbers))
    bounds = [interval(row.get("low"), row.get("high"), places) for row in rows]
    rest = width - wide - 2 * HALF - 5
    needed = min(24, max(cell_len(printable(str(row["unit"]))) for row in rows))
    room = max(map(len, bounds)) + 2
    room = room if rest - room >= needed else 0  # names before intervals
    text = Text(no_wrap=True)
    for row, effect, shown, bound in zip(rows, effects, numbers, bounds, strict=True):
        tone = tones.plus if effect > 0 else tones.minus
        text.append(fitted(str(row["unit"]), max(6, rest - room)) + "  ")
        text.append(shown.rjust(wide), tone)
        text.append(f"  {bar(effect, largest, HALF)}", tone)
        text.append(f"  {bound}" if room else "", tones.muted)
        text.append("\n")
    return text


def claims(
    told: Sequence[Mapping[str, Any]], expected: Sequence[str], tones: Tones
) -> tuple[str, Text]:
    """A title with the count, and the claims: those decided, then those that wait."""
    text = Text()
    for claim in told:
        held = bool(claim["ok"])
        text.append("✓ true   " if held else "✗ false  ", tones.good if held else tones.bad)
        text.append(printable(str(claim["text"])) + "\n")
        text.append(f"         {printable(_found(claim))}\n", tones.muted)
    known = {str(claim["text"]) for claim in told}
    for words in expected:
        if words not in known:
            text.append("○ waits  ", tones.muted)
            text.append(printable(words) + "\n", tones.muted)
    if not text:
        text.append("this experiment expects nothing;\nadd a claim: expect …", tones.muted)
        return "claims", text
    true = sum(bool(claim["ok"]) for claim in told)
    return f"claims · {true} of {max(len(expected), len(told))} true", text


def _found(claim: Mapping[str, Any]) -> str:
    value, low, high = claim.get("value"), claim.get("low"), claim.get("high")
    if claim.get("message"):
        found = str(claim["message"])
    elif isinstance(value, float):
        found = f"found {number(value, decimals([value, low, high]))}"
    else:
        found = f"found {value}"
    if isinstance(value, float) and low is not None:
        found += f" {interval(low, high, decimals([value, low, high]))}"
    return found
