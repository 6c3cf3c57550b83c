"""The terminal's screens of a run: to watch it think, then to look inside.

They read run folders and events and never import torch; what they ask of a run in return is to be
cancelled. `app` holds the run that is looked at, `views` lists what can be seen of it, `base` is
what a view's screen is built on, `feed` brings the events."""

from __future__ import annotations

from pathlib import Path

RUNS = Path("runs")


def main(
    target: Path | None = None,
    runs: Path = RUNS,
    command: tuple[str, ...] = (),
    theme: str | None = None,
) -> int:
    """Open a run's folder, a folder of runs or an `.interp` file; with None the newest run in
    `runs`. `command` are options for `interp run`, were the file to be run. Returns an exit
    code."""
    from interp_dsl.tui.app import InterpApp

    return InterpApp(target, runs, command, theme).run() or 0
