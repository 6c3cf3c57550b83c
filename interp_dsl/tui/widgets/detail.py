"""The pane beside a table: what is known of the row under the cursor."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from interp_dsl.tui.safe import plain


class Detail(VerticalScroll):
    """A title and lines of text that somebody else has made."""

    DEFAULT_CSS = """
    Detail { border: round $foreground 25%; padding: 0 1; height: 1fr;
             border-title-color: $foreground; scrollbar-size-vertical: 1; }
    Detail:focus { border: round $primary; }
    """

    def compose(self) -> ComposeResult:
        yield Static(id="lines")

    def show(self, title: str, lines: Text) -> None:
        self.border_title = plain(title)
        self.query_one("#lines", Static).update(lines)

    @property
    def room(self) -> int:
        """Characters of a line."""
        return max(20, self.size.width - 4)
