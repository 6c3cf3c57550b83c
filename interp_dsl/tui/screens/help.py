"""What `?` says: what the screen shows, and every key that works on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from interp_dsl.tui.base import InterpScreen
from interp_dsl.tui.safe import plain
from interp_dsl.tui.tones import Tones

if TYPE_CHECKING:
    from interp_dsl.tui.app import InterpApp

HIDDEN = frozenset(
    ["ctrl+q", "ctrl+c", "tab", "shift+tab", "ctrl+p", "ctrl+i", "super+c", "colon"]
    + [f"ctrl+{key}" for key in ("pageup", "pagedown", "home", "end")]
)
KEYS = 14


class HelpScreen(ModalScreen[None]):
    """The keys of the screen below."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen #box { width: 76; max-width: 96%; height: auto; max-height: 92%;
                      border: round $primary; background: $background; padding: 0 1;
                      border-title-color: $foreground; border-subtitle-color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark", "dismiss", "Close")]

    def __init__(self, below: Screen[object], tones: Tones) -> None:
        super().__init__()
        self._below, self._tones = below, tones

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="box"):
            yield Static(self._text())

    def on_mount(self) -> None:
        box = self.query_one("#box")
        box.border_title = plain("help")
        box.border_subtitle = plain("esc closes")
        box.focus()

    def _text(self) -> Text:
        text = Text()
        if isinstance(self._below, InterpScreen) and self._below.HELP:
            text.append(self._below.HELP + "\n\n")
        own, everywhere = _sorted(list(self._below.active_bindings.values()))
        self._append(text, "on this screen", own)
        views = [
            (one.key, f"{one.title}: {one.about}") for one in cast("InterpApp", self.app).views
        ]
        self._append(text, "views", views)
        more = [*everywhere, (": ctrl+p", "Commands"), ("tab", "The next part of the screen")]
        self._append(text, "everywhere", more)
        return text

    def _append(self, text: Text, title: str, keys: list[tuple[str, str]]) -> None:
        text.append(f"{title}\n", self._tones.head)
        for key, what in keys:
            text.append(f"  {key:<{KEYS}}", self._tones.accent)
            text.append(f"{what}\n")
        text.append("\n")


def _sorted(active: list[ActiveBinding]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The keys of the screen and its parts, and those of the app; several keys of one action
    together."""
    from textual.app import App

    own: dict[str, list[str]] = {}
    everywhere: dict[str, list[str]] = {}
    for held in sorted(active, key=lambda held: not held.binding.show):
        binding = held.binding
        if binding.key in HIDDEN or not binding.description or not held.enabled:
            continue
        if binding.action.startswith("show("):
            continue
        group = everywhere if isinstance(held.node, App) else own
        what = f"{binding.description}: {held.tooltip}" if held.tooltip else binding.description
        group.setdefault(what, []).append(binding.key_display or _shown(binding.key))
    return [(" ".join(dict.fromkeys(keys)), what) for what, keys in own.items()], [
        (" ".join(dict.fromkeys(keys)), what) for what, keys in everywhere.items()
    ]


def _shown(key: str) -> str:
    names = {"pageup": "pgup", "pagedown": "pgdn", "up": "↑", "down": "↓", "left": "←"}
    return {**names, "right": "→", "escape": "esc"}.get(key, key)
