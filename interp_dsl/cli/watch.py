"""Watchers of a run: what goes to the terminal while it works."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interp_dsl.cli.output import Output
from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.live import ending, imported, outcome, task_name, time_left
from interp_dsl.runs.text import printable
from interp_dsl.session import RUNS

EVERY = 5.0


class Quiet:
    """Says only what is wrong."""

    def __init__(self, output: Output) -> None:
        self.output = output

    def checked(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.output.diagnostics(diagnostics)

    def started(self, folder: RunFolder, resumed: bool) -> None:
        """A quiet watcher has nothing to say of a beginning."""

    def event(self, event: Event) -> None:
        """A quiet watcher has nothing to say of what happens."""

    def close(self) -> None:
        """Nothing is on the screen that must go."""


class Lines(Quiet):
    """A line for each thing that happens: for logs and pipes."""

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self._said: dict[str, float] = {}
        self._steps: dict[str, str] = {}
        self._left: dict[str, str] = {}

    def started(self, folder: RunFolder, resumed: bool) -> None:
        self.output.message(f"{'going on in' if resumed else 'running in'} {folder.path}")

    def event(self, event: Event) -> None:
        line = self._line(event)
        if line is not None:
            self.output.message(printable(line))

    def _line(self, event: Event) -> str | None:
        match event["event"]:
            case "task_started":
                self._steps[event["task"]] = task_name(event)
                self._said[event["task"]] = event["time"]
                return None
            case "progress":
                return self._progress(event)
            case "edges":
                self._left[f"search:{event['step']}"] = time_left(event)
                return None
            case "task_finished":
                return f"{task_name(event)}: {outcome(event)}"
            case "note":
                return f"note: {event['text']}"
            case "imported":
                return imported(event)
            case "run_finished":
                return ending(event)
            case _:
                return None

    def _progress(self, event: Event) -> str | None:
        """Now and then how far a long task is."""
        task, done, total = event["task"], event["done"], event.get("total")
        if event["time"] - self._said.get(task, 0.0) < EVERY:
            return None
        self._said[task] = event["time"]
        share = f" of {total:,} ({done / total:.0%})" if total else ""
        left = f", {said}" if (said := self._left.get(task)) else ""
        return f"{self._steps.get(task, task)}: {done:,}{share}{left}"


class JsonLines(Quiet):
    """Every event as a line of JSON on stdout, the folder first. A reader that goes away does not
    stop the run."""

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self._is_read = True

    def started(self, folder: RunFolder, resumed: bool) -> None:
        self._write({"event": "folder", "path": folder.path, "resumed": resumed})

    def event(self, event: Event) -> None:
        self._write(event)

    def _write(self, value: dict[str, Any]) -> None:
        if not self._is_read:
            return
        try:
            self.output.write_json(value, indent=None)
            sys.stdout.flush()
        except BrokenPipeError:
            self._is_read = False
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def watcher(args: argparse.Namespace, output: Output) -> Quiet:
    """The watcher that the options and the terminal call for."""
    if args.json:
        return JsonLines(output)
    if args.quiet:
        return Quiet(output)
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from interp_dsl.cli.live import Live

        return Live(output)
    return Lines(output)


def again(path: Path, args: argparse.Namespace) -> str:
    """The command that goes on with a stopped run, as a shell takes it."""
    return shlex.join(["interp", "run", str(path), *run_options(args)])


def run_options(args: argparse.Namespace) -> list[str]:
    """The options of `interp run` that these were parsed from, but for --fresh."""
    words = [word for text in args.params for word in ("-p", text)]
    words += [word for folder in args.allow for word in ("--allow", str(folder))]
    words += ["--trust"] if args.trust else []
    words += ["--verify"] if getattr(args, "verify", False) else []
    words += ["--runs", str(args.runs)] if args.runs != RUNS else []
    for name in ("out", "device", "seed"):
        value = getattr(args, name, None)
        words += [] if value is None else [f"--{name}", str(value)]
    return words
