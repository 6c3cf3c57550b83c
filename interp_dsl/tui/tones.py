"""The theme's colours as styles for text and for the cells that widgets draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.style import Style
from textual.color import Color


@dataclass(frozen=True, slots=True)
class Tones:
    """`muted` for what is beside the point, `faint` for rules and empty bars, `fill` for charts,
    `plus` and `minus` for the two signs. None of them ever is the only sign of anything."""

    text: Style
    strong: Style
    muted: Style
    faint: Style
    primary: Style
    accent: Style
    good: Style
    bad: Style
    warn: Style
    plus: Style
    minus: Style
    fill: Style
    cursor: Style
    cursor_idle: Style
    marked: Style
    head: Style


def tones(variables: Mapping[str, str]) -> Tones:
    """The tones of a theme's variables (`App.theme_variables`)."""
    ground, ink = _color(variables, "background"), _color(variables, "foreground")
    is_ansi = ground.ansi is not None or ink.ansi is not None

    plus, minus = sign_colors(ground)

    def named(name: str) -> Style:
        return Style(color=_color(variables, name).rich_color)

    def between(share: float) -> Style:
        """Ink that has faded by a share into the ground."""
        return Style(dim=True) if is_ansi else Style(color=ink.blend(ground, share).rich_color)

    def tinted(name: str, share: float) -> Style:
        """The ground with a share of a colour in it."""
        if is_ansi:
            return Style(reverse=True)
        return Style(bgcolor=ground.blend(_color(variables, name), share).rich_color)

    return Tones(
        text=Style(),
        strong=Style(bold=True),
        muted=between(0.45),
        faint=between(0.75),
        primary=named("text-primary"),
        accent=named("text-accent"),
        good=named("text-success"),
        bad=named("text-error"),
        warn=named("text-warning"),
        plus=named("text-primary") if is_ansi else Style(color=plus.rich_color),
        minus=named("text-warning") if is_ansi else Style(color=minus.rich_color),
        fill=Style(color=ground.blend(_color(variables, "text-primary"), 0.7).rich_color),
        cursor=tinted("primary", 0.25 if ground.brightness > 0.5 else 0.45),
        cursor_idle=tinted("primary", 0.12),
        marked=named("text-accent") + Style(bold=True),
        head=between(0.35) + Style(bold=True),
    )


def sign_colors(ground: Color) -> tuple[Color, Color]:
    """Blue for what is above zero and orange for what is below, on a dark ground or a light one:
    two hues that every kind of colour vision tells apart."""
    plus, minus = ("#4f9ee8", "#f0803c") if ground.brightness < 0.5 else ("#1f5fa8", "#c4471a")
    return Color.parse(plus), Color.parse(minus)


def _color(variables: Mapping[str, str], name: str) -> Color:
    return Color.parse(variables[name])
