"""Log: all that the run has said."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult

from interp_dsl.runs.events import Event
from interp_dsl.tui.base import RunScreen
from interp_dsl.tui.widgets.panes import LogPane, log_text


class LogScreen(RunScreen):
    """The log over the whole screen; it follows its end unless somebody has scrolled up."""

    HELP: ClassVar[str] = (
        "What the run has said, the newest last. The picture follows the end of the log unless "
        "you scroll up; End follows again. All events stand in the run's events.jsonl."
    )
    DEFAULT_CSS = "LogScreen LogPane { height: 1fr; }"

    def body(self) -> ComposeResult:
        yield LogPane()

    def on_mount(self) -> None:
        self.query_one(LogPane).focus()

    def on_run_events(self, events: list[Event]) -> None:
        self.query_one(LogPane).follow(self.live.log, self.live.lines, self.home.tones)

    def export(self) -> Path | None:
        if not self.live.log:
            return None
        path = self.export_path(".txt")
        lines = [log_text(line, self.home.tones).plain for line in self.live.log]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path
