"""The line below every screen: the keys that do something here. One widget, drawn in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.screen import Screen
from textual.widget import Widget

if TYPE_CHECKING:
    from interp_dsl.tui.app import InterpApp

NAMES = {"escape": "esc", "question_mark": "?", "slash": "/", "enter": "⏎"}


class Foot(Widget):
    """Keys and what they do, those of the focused part first; a click is as good as the key."""

    DEFAULT_CSS = """
    Foot { height: 1; dock: bottom; background: $surface; color: $text-muted; padding: 0 1; }
    """

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, screen: Screen[object]) -> None:
        self.refresh()

    def render(self) -> Text:
        tones = cast("InterpApp", self.app).tones
        line = Text(no_wrap=True, overflow="ellipsis")
        told: set[str] = set()
        for held in self.screen.active_bindings.values():
            if not held.binding.show or not held.enabled or held.binding.action in told:
                continue
            told.add(held.binding.action)
            part = Text.assemble((_key(held.binding), tones.accent), " ", held.binding.description)
            part.apply_meta({"key": held.binding.key})
            line.append_text(part)
            line.append("  ")
        return line

    def on_click(self, event: events.Click) -> None:
        key = event.style.meta.get("key")
        if key:
            self.app.simulate_key(str(key))


def _key(binding: Binding) -> str:
    return binding.key_display or NAMES.get(binding.key, binding.key)
