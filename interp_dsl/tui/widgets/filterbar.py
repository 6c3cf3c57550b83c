"""The line into which a filter is typed, and what it says of it."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Label

from interp_dsl.runs.text import printable

PAUSE = 0.15
"""Seconds after the last key before the filter is tried."""


class FilterBar(Vertical):
    """Posts `Typed` when the text has changed, `Left` when the keys shall go elsewhere again."""

    DEFAULT_CSS = """
    FilterBar { height: auto; display: none; background: $surface; padding: 0 1; }
    FilterBar.-open { display: block; }
    FilterBar Horizontal { height: 1; }
    FilterBar #slash { width: 2; color: $text-accent; text-style: bold; }
    FilterBar Input { width: 1fr; border: none; height: 1; padding: 0; background: $surface; }
    FilterBar Input:focus { border: none; background: $surface; }
    FilterBar #said { width: 1fr; height: auto; max-height: 3; padding-left: 2;
                      color: $text-muted; }
    FilterBar.-wrong #said { color: $text-error; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Clear the filter", show=False),
        Binding("down", "keep", "To the table", show=False),
    ]

    class Typed(Message):
        """The filter's text, after a moment's rest."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The table shall have the keys again."""

    def __init__(self, example: str = "heads layers 7..11 at S2") -> None:
        super().__init__()
        self._example = example

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Label("/", id="slash")
            yield Input(placeholder=self._example, compact=True, select_on_focus=False)
        yield Label("", id="said", markup=False)

    @property
    def text(self) -> str:
        return self.query_one(Input).value.strip()

    @property
    def is_open(self) -> bool:
        return self.has_class("-open")

    def open(self) -> None:
        self.add_class("-open")
        self.query_one(Input).focus()

    def close(self) -> None:
        """Take the filter away."""
        self.query_one(Input).value = ""
        self.say("")
        self.remove_class("-open")

    def say(self, text: str, is_wrong: bool = False) -> None:
        self.set_class(is_wrong, "-wrong")
        self.query_one("#said", Label).update(Text(printable(f"✗ {text}" if is_wrong else text)))

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        typed = event.value
        self.set_timer(PAUSE, lambda: self._settled(typed))

    def _settled(self, typed: str) -> None:
        if typed == self.query_one(Input).value:
            self.post_message(self.Typed(typed.strip()))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Typed(self.text))
        self.action_keep()

    def action_keep(self) -> None:
        if not self.text:
            self.close()
        self.post_message(self.Left())

    def action_leave(self) -> None:
        self.close()
        self.post_message(self.Typed(""))
        self.post_message(self.Left())
