"""A question before something that cannot be taken back."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static


class Confirm(ModalScreen[bool]):
    """True where the answer is yes; Enter on the first button, and Escape, mean no."""

    DEFAULT_CSS = """
    Confirm { align: center middle; }
    Confirm #box { width: 60; height: auto; border: round $warning; padding: 1 2;
                   background: $background; }
    Confirm Horizontal { height: auto; align-horizontal: right; padding-top: 1; }
    Confirm Button { margin-left: 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,q", "answer(False)", "No"),
    ]

    def __init__(self, question: str, deed: str) -> None:
        super().__init__()
        self._question, self._deed = question, deed

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(self._question, markup=False)
            with Horizontal():
                yield Button("Keep going (n)", id="no", compact=True)
                yield Button(f"{self._deed} (y)", id="yes", variant="error", compact=True)

    def on_mount(self) -> None:
        self.query_one("#no", Button).focus()

    @on(Button.Pressed)
    def _on_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, is_sure: bool) -> None:
        self.dismiss(is_sure)
