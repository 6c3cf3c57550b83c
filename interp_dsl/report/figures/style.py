"""What figures share: colours, elements, words, the numbers on an axis.

Blue is above zero and vermilion below, a pair that every common kind of colour blindness keeps
apart (Okabe and Ito 2008). A value's colour is the sign's, as opaque as the value is large: white
at zero on paper, dark on a dark page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from interp_dsl.runs.draw.xml import text
from interp_dsl.runs.text import printable

POSITIVE, NEGATIVE = "#1f5fa8", "#c4471a"
INK, FAINT, RULE, PAPER = "#1c2430", "#5b6573", "#d5d9e0", "#ffffff"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#8a6d00", "#444c5c")
"""Colours of curves, in their order."""
FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
WIDE = 6.4
"""Pixels of an average character at 11 px."""

Attribute = str | float | None


def element(name: str, *inside: str, **attributes: Attribute) -> str:
    """An element: `class_` becomes class, `text_anchor` text-anchor, None is left out. What is
    `inside` is SVG already; attributes are escaped."""
    held = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_written(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{held}>{''.join(inside)}</{name}>" if inside else f"<{name}{held}/>"


def _written(value: str | float) -> str:
    if isinstance(value, str):
        return text(printable(value))
    return f"{value:.2f}".rstrip("0").rstrip(".")


def words(
    x: float,
    y: float,
    said: str,
    size: float = 11,
    fill: str = INK,
    anchor: str | None = None,
    **more: Attribute,
) -> str:
    """A line of text of any origin with its base line at `y`; `anchor` is middle or end."""
    return element(
        "text",
        text(printable(said)),
        x=x,
        y=y,
        font_size=size,
        fill=fill,
        text_anchor=anchor,
        class_={INK: "ink", FAINT: "faint", PAPER: "over"}.get(fill),
        **more,
    )


def tooltip(said: str) -> str:
    """What a reader is told who points at the element that this is put into."""
    return element("title", text(printable(said)))


def picture(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    """The whole figure on white paper, in whole pixels."""
    width, height = math.ceil(width), math.ceil(height)
    paper = element("rect", class_="paper", width=width, height=height, fill=PAPER)
    return element(
        "svg",
        tooltip(title),
        paper,
        "\n".join(parts),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label=title,
        font_family=FONT,
    )


def sign(value: float) -> tuple[str, str]:
    """The class and the colour of a value's sign."""
    return ("positive", POSITIVE) if value >= 0 else ("negative", NEGATIVE)


def shortened(said: str, most: int) -> str:
    """The beginning of a text that is longer than `most` characters."""
    return said if len(said) <= most else said[: most - 1] + "…"


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, at most `most`: multiples of 1, 2 or 5 times a power of
    ten."""
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    for step in (power * factor for factor in (1, 2, 5, 10, 20)):
        # What misses an end by rounding alone is at that end.
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [step * i for i in range(first, last + 1)]


def tick(value: float) -> str:
    """A tick's number, with a proper minus."""
    return f"{value:.10g}".replace("-", "−") if abs(value) > 1e-12 else "0"
