"""The terminal's screens of a run: to watch it think, then to look inside.

They read run folders and events and never import torch; what they ask of a run in return is to be
cancelled. `app` holds the run that is looked at, `views` lists what can be seen of it, `base` is
what a view's screen is built on, `feed` brings the events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RUNS = Path("runs")


def main(
    target: Path | None = None,
    runs: Path = RUNS,
    command: tuple[str, ...] = (),
    theme: str | None = None,
    starts: bool = False,
) -> Left:
    """Open a run's folder, a folder of runs or an `.interp` file; with None the newest run in
    `runs`. `command` are options for `interp run`, were the file to be run; `starts`: it is run at
    once where it has no errors."""
    from interp_dsl.tui.app import InterpApp

    app = InterpApp(target, runs, command, theme, starts)
    app.run()
    return Left(app.started, app.child_code, app.has_child, app.return_code or 0)


@dataclass(frozen=True, slots=True)
class Left:
    """What the screens leave behind: the folder of a run that was started from them, the exit code
    of its process (None while it goes on), and whether it goes on; `code` is the screens' own."""

    started: Path | None
    child_code: int | None
    goes_on: bool
    code: int
