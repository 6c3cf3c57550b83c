"""Colours and signs of numbers: a scale around zero, blue above it, orange below.

Colour is never the only sign: where there is none, numbers above zero are shaded blocks, those
below it strokes, and the legend prints both."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.style import Style
from rich.text import Text
from textual.app import App
from textual.color import Color

from interp_dsl.runs.grids import Floats
from interp_dsl.runs.text import decimals, number
from interp_dsl.tui.tones import sign_colors

STEPS = 24
"""Shades on each side of zero."""
GAMMA = 0.75
"""Below 1, so that small values still differ from zero."""
ABOVE, BELOW = "░▒▓█", "-=≡#"
NO_VALUE = STEPS + 1
"""The level of what is missing."""
CURSOR = STEPS + 2
"""The level of half a line under the cursor."""

Levels = NDArray[np.int16]


@dataclass(frozen=True)
class Scale:
    """The colours of a theme: `ground` is the screen's own, `zero` that of the value 0, `ink` that
    of text. `is_plain`: there are no colours to tell by."""

    ground: Color
    zero: Color
    ink: Color
    above: Color
    below: Color
    is_plain: bool = False
    _pairs: dict[tuple[int, int], Style] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def colours(self) -> dict[int, Color]:
        """The colour of every level."""
        found = {NO_VALUE: self.ground, CURSOR: self.ink}
        for level in range(-STEPS, STEPS + 1):
            end = self.above if level > 0 else self.below
            found[level] = self.zero.blend(end, abs(level) / STEPS)
        return found

    @cached_property
    def cells(self) -> dict[int, Style]:
        """The style of a cell of a level, its text readable on it."""
        return {level: self._cell(colour) for level, colour in self.colours.items()}

    @cached_property
    def cursors(self) -> dict[int, Style]:
        """The same under the cursor."""
        plain = Style(reverse=True, bold=True)
        ink = Style(color=self.ground.rich_color, bgcolor=self.ink.rich_color, bold=True)
        return dict.fromkeys(self.colours, plain if self.is_plain else ink)

    def pair(self, upper: int, lower: int) -> Style:
        """The style of `▀` that stands for two cells, one above the other."""
        key = upper, lower
        if key not in self._pairs:
            above, below = self.colours[upper], self.colours[lower]
            self._pairs[key] = Style(color=above.rich_color, bgcolor=below.rich_color)
        return self._pairs[key]

    def tone(self, value: float | None) -> Style:
        """Text of the colour of a number's sign."""
        if value is None or self.is_plain or not value or value != value:
            return Style()
        return Style(color=(self.above if value > 0 else self.below).rich_color)

    @cached_property
    def muted(self) -> Style:
        """Text that stands back."""
        return Style(color=self.ground.blend(self.ink, 0.5).rich_color)

    @cached_property
    def faint(self) -> Style:
        """What is hardly there."""
        return Style(color=self.ground.blend(self.ink, 0.22).rich_color)

    def stroke(self, value: float | None, share: float, near: bool) -> Style:
        """A line of an edge: its sign's colour, the fuller the larger its share of the largest;
        `near`: the edge is looked at."""
        if self.is_plain:
            return Style(bold=near)
        if not value:
            return self.strong if near else self.muted
        colour = self.above if value > 0 else self.below
        fill = 0.35 + 0.4 * share + 0.25 * near
        return Style(color=self.ground.blend(colour, fill).rich_color, bold=near)

    @cached_property
    def strong(self) -> Style:
        return Style(color=self.ink.rich_color, bold=True)

    def _cell(self, colour: Color) -> Style:
        if self.is_plain:
            return Style()
        text = self.ink
        if abs(colour.brightness - self.ink.brightness) < 0.35:
            text = self.ground
        return Style(color=text.rich_color, bgcolor=colour.rich_color)


def scale(app: App[Any]) -> Scale:
    """The scale in the colours of the app's theme as it is now."""
    held = app.theme_variables
    return _scale(held["background"], held["foreground"], app.current_theme.dark, app.no_color)


@lru_cache(maxsize=8)
def _scale(background: str, foreground: str, is_dark: bool, is_plain: bool) -> Scale:
    ground, ink = Color.parse(background), Color.parse(foreground)
    if ground.ansi is not None or ink.ansi is not None:  # a terminal's own colours can't be mixed
        plain = ("#121212", "#e0e0e0") if is_dark else ("#f4f4f4", "#1c1c1c")
        ground, ink = map(Color.parse, plain)
    above, below = sign_colors(ground)
    zero = ground.blend(ink, 0.13 if is_dark else 0.07)
    return Scale(ground, zero, ink, above, below, is_plain)


def levels(values: Floats, limit: float) -> Levels:
    """The level of every value on a scale from -limit to limit: -STEPS to STEPS, 0 for what is less
    than about half a percent of the limit, NO_VALUE for what is not finite."""
    share = np.clip(np.abs(values) / limit, 0.0, 1.0) if limit else np.zeros_like(values)
    with np.errstate(invalid="ignore"):
        steps = np.round(np.nan_to_num(share) ** GAMMA * STEPS) * np.sign(np.nan_to_num(values))
    return np.where(np.isfinite(values), steps, NO_VALUE).astype(np.int16)


def glyph(level: int) -> str:
    """A level as one character: blocks above zero, strokes below, · for zero."""
    if level == NO_VALUE:
        return " "
    if not level:
        return "·"
    ramp = ABOVE if level > 0 else BELOW
    return ramp[min(len(ramp) - 1, (abs(level) - 1) * len(ramp) // STEPS)]


def sign(level: int) -> str:
    """The sign of a level; · for zero, nothing for what is missing."""
    return {1: "+", -1: "−", 0: "·"}[int(np.sign(level))] if level != NO_VALUE else " "


def legend(colours: Scale, limit: float, what: str, width: int) -> Text:
    """The scale with its ends printed: `−5.2 ▕      0      ▏ +5.2  effect on gap`."""
    places = decimals([limit])
    low, high = number(-limit, places), number(limit, places)
    room = max(4, min(24, (width - len(low) - len(high) - len(what) - 6) // 2))
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{low} ", colours.muted)
    _ramp(text, colours, range(-room, 0), room)
    text.append(" 0 ", colours.muted)
    _ramp(text, colours, range(1, room + 1), room)
    text.append(f" {high}", colours.muted)
    return text.append(f"  {what}", colours.strong)


def _ramp(text: Text, colours: Scale, steps: range, room: int) -> None:
    for step in steps:
        level = round(np.sign(step) * np.ceil(abs(step) / room * STEPS))
        text.append(glyph(level) if colours.is_plain else " ", colours.cells[level])
