"""An experiment's text beside its plan."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from interp_dsl.tui.base import WIDTHS, InterpScreen
from interp_dsl.tui.widgets.choices import Choices, Group
from interp_dsl.tui.widgets.panes import Pane

SIDES = ("text", "plan")


class Sides(InterpScreen):
    """Text and plan side by side, or one of them where there is less room."""

    HORIZONTAL_BREAKPOINTS = WIDTHS
    DEFAULT_CSS = """
    Sides #sides Pane { width: 1fr; height: 1fr; display: none; }
    Sides.-text #text, Sides.-plan #plan { display: block; }
    Sides.-wide #sides Pane { display: block; }
    Sides.-wide Choices { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("t", "side", "Text or plan", show=False)]
    _side = 0

    def body(self) -> ComposeResult:
        yield Choices()
        with Horizontal(id="sides"):
            yield Pane(id="text")
            yield Pane(id="plan")

    def on_mount(self) -> None:
        self._show_side()

    @property
    def text(self) -> Pane:
        return self.query_one("#text", Pane)

    @property
    def plan(self) -> Pane:
        return self.query_one("#plan", Pane)

    def _show_side(self) -> None:
        self.show_one(SIDES, self._side)
        self.query_one(Choices).show(Group("show", "t", SIDES, self._side))
        self.query_one(f"#{SIDES[self._side]}", Pane).focus()

    def action_side(self) -> None:
        self._side = 1 - self._side
        self._show_side()

    @on(Choices.Picked)
    def _on_picked(self, event: Choices.Picked) -> None:
        self._side = event.index
        self._show_side()
