"""A line to slide along: a place on it is one of several."""

from __future__ import annotations

from rich.text import Text
from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from interp_dsl.tui.tones import tones
from interp_dsl.tui.widgets.scale import scale


class Slider(Widget):
    """`at` of `count` places; `title` stands before the line, `words` behind it. Posts `Moved` when
    a person moves it by the mouse."""

    DEFAULT_CSS = """
    Slider { width: 1fr; height: 1; padding: 0 1; }
    """
    at: reactive[int] = reactive(0)
    count: reactive[int] = reactive(1)
    title: reactive[str] = reactive("")
    words: reactive[str] = reactive("")

    class Moved(Message):
        """The slider was put elsewhere."""

        def __init__(self, slider: Slider, at: int) -> None:
            super().__init__()
            self.slider, self.at = slider, at

    @property
    def _line(self) -> tuple[int, int]:
        """Where the line begins, and how long it is."""
        start = len(self.title) + 2 + 4
        room = self.content_size.width - start - len(self.words) - 3
        return start, max(6, min(60, room))

    def render(self) -> Text:
        colours, (_, length) = scale(self.app), self._line
        held = tones(self.app.theme_variables)
        place = round(self.at * (length - 1) / max(1, self.count - 1))
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(", . ", held.accent + held.strong)
        text.append(f"{self.title}  ", colours.muted)
        text.append("━" * place, colours.muted)
        text.append("●", colours.strong)
        text.append("─" * (length - 1 - place), colours.muted)
        return text.append(f"  {self.words}", colours.strong)

    def on_click(self, event: events.Click) -> None:
        self._go(event.x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if event.button == 1:
            self._go(event.x)

    def _go(self, x: int) -> None:
        start, length = self._line
        share = (x - 1 - start) / max(1, length - 1)
        at = round(max(0.0, min(1.0, share)) * (self.count - 1))
        if at != self.at:
            self.at = at
            self.post_message(self.Moved(self, at))
