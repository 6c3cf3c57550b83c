"""A dialog with the training curves of a dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from interp_dsl.runs.training import Curves
from interp_dsl.tui import pictures
from interp_dsl.tui.safe import plain
from interp_dsl.tui.widgets.settings import turned

if TYPE_CHECKING:
    from interp_dsl.tui.app import InterpApp


class TrainingScreen(ModalScreen[None]):
    """The curves of one of a step's dictionaries; Escape closes."""

    DEFAULT_CSS = """
    TrainingScreen { align: center middle; }
    TrainingScreen #box { width: 96%; max-width: 130; height: 90%; max-height: 40;
                          background: $background; border: round $border; padding: 0 1;
                          border-title-color: $foreground; border-subtitle-color: $text-muted; }
    TrainingScreen Static { width: 1fr; height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", "Close"),
        Binding("left_square_bracket", "turn(-1)", "Before", show=False, key_display="["),
        Binding("right_square_bracket", "turn(1)", "Dictionary", key_display="[ ]"),
    ]

    def __init__(self, curves: Mapping[str, Curves], name: str) -> None:
        super().__init__()
        self._curves, self._chosen = curves, name

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(id="curves", markup=False)

    def on_mount(self) -> None:
        self.call_after_refresh(self._show)

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        box, names = self.query_one("#box"), [*self._curves]
        at = f"{names.index(self._chosen) + 1}/{len(names)} · [ ] others · " if names[1:] else ""
        box.border_title = plain(f"{self._chosen} · over tokens")
        box.border_subtitle = plain(f"{at}esc closes")
        lines, tones = self.query_one("#curves", Static), cast("InterpApp", self.app).tones
        width, height = lines.size
        lines.update(pictures.training(self._curves[self._chosen], tones, width, height))

    def action_turn(self, by: int) -> None:
        """Another dictionary of the step."""
        self._chosen = turned([*self._curves], self._chosen, by)
        self._show()
