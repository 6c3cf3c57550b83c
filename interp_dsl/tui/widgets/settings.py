"""The line that says what is chosen on a screen, and with which keys to choose otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.style import Style
from rich.text import Text
from textual import events
from textual.geometry import Size
from textual.reactive import reactive
from textual.widget import Widget

from interp_dsl.runs.text import printable
from interp_dsl.tui.tones import tones
from interp_dsl.tui.widgets.flow import flow


@dataclass(frozen=True, slots=True)
class Setting:
    """One of the things to be chosen: its key, its name, what is chosen now and, where there are
    several, which of how many. `action` is the screen's, run by a click."""

    key: str
    name: str
    value: str
    at: int = 0
    count: int = 1
    action: str = ""


class Settings(Widget):
    """Key, name and value of each setting; those with an alternative can be clicked."""

    DEFAULT_CSS = """
    Settings { width: 1fr; height: auto; padding: 0 1; }
    """
    settings: reactive[tuple[Setting, ...]] = reactive((), layout=True)

    def render(self) -> Text:
        return self._lines(self.content_size.width or 78)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self._lines(width).plain.count("\n") + 1

    def _lines(self, width: int) -> Text:
        return flow(map(self._said, self.settings), width)

    def _said(self, setting: Setting) -> Text:
        held = tones(self.app.theme_variables)
        text, several = Text(), setting.count > 1
        parts = [
            (setting.key if several else "", held.accent + held.strong),
            (setting.name, held.muted),
            (printable(setting.value), held.strong),
            (f"{setting.at + 1}/{setting.count}" if several else "", held.muted),
        ]
        for said, style in parts:
            if said:
                text.append(" " if text else "").append(said, style)
        if several:
            text.stylize(Style(meta={"choose": setting.action}))
        return text

    async def on_click(self, event: events.Click) -> None:
        action = event.style.meta.get("choose")
        if action:
            await self.run_action(f"screen.{action}")


def turned(values: Sequence[str], now: str, by: int) -> str:
    """The value `by` places further around."""
    return values[(values.index(now) + by) % len(values)] if now in values else values[0]
