"""Panes with a border, a title and text: what is short enough to be made anew at every change."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import RichLog, Static

from interp_dsl.runs.live import LogLine
from interp_dsl.tui.safe import plain
from interp_dsl.tui.tones import Tones


class Pane(VerticalScroll):
    """Text that scrolls when there is more than room."""

    DEFAULT_CSS = """
    Pane { border: round $foreground 25%; padding: 0 1; scrollbar-size-vertical: 1;
           border-title-color: $foreground; border-subtitle-color: $text-muted; }
    Pane:focus { border: round $primary; }
    Pane Static { width: 1fr; height: auto; }
    """

    class Sized(Message):
        """There is another room now: what was drawn to fill it is to be drawn anew."""

    def compose(self) -> ComposeResult:
        yield Static()

    def on_mount(self) -> None:
        self._shown: tuple[str, Text, str] | None = None

    def on_resize(self) -> None:
        self.post_message(self.Sized())

    def show(self, title: str, lines: Text, below: str = "") -> None:
        if self._shown == (title, lines, below):
            return
        self._shown = (title, lines, below)
        self.border_title = plain(title)
        self.border_subtitle = plain(below) if below else None
        self.query_one(Static).update(lines)

    @property
    def room(self) -> tuple[int, int]:
        """Characters of a line, and lines."""
        return max(1, self.size.width - 1), max(1, self.size.height)


class LogPane(RichLog):
    """The log's lines as they come; it follows its end unless somebody has scrolled up."""

    DEFAULT_CSS = """
    LogPane { border: round $foreground 25%; padding: 0 1; scrollbar-size-vertical: 1;
              background: $background; border-title-color: $foreground;
              border-subtitle-color: $text-muted; }
    LogPane:focus { border: round $primary; background-tint: transparent 0%; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, wrap=True, markup=False, max_lines=5_000)
        self._told = 0

    def follow(self, lines: Iterable[LogLine], count: int, tones: Tones) -> None:
        """Show the lines behind those that are shown; `count` is how many there ever were."""
        held = list(lines)
        new = held[max(0, len(held) - (count - self._told)) :] if count > self._told else []
        if count < self._told:  # another run, or the log from its start
            self.clear()
            new = held
        self._told = count
        for line in new:
            self.write(log_text(line, tones), scroll_end=self.is_vertical_scroll_end)
        self.border_title = plain(f"log · {count:,}" if count else "log")


def log_text(line: LogLine, tones: Tones) -> Text:
    """One line of the log: when, a sign, what."""
    from datetime import datetime

    from interp_dsl.runs.text import printable

    sign, tone = {"good": ("✓", tones.good), "bad": ("✗", tones.bad)}.get(
        line.tone, ("·", tones.muted)
    )
    when = datetime.fromtimestamp(line.time).strftime("%H:%M:%S")
    return Text.assemble((when, tones.muted), "  ", (sign, tone), " ", printable(line.text))
