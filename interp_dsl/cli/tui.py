"""Watch a run, finished or going on, and look inside: tasks, ranked components, maps, circuits.

TARGET is a run (its folder, the beginning of its name, or `latest`), a folder of runs, or an
.interp file, which is checked, planned and run from there. Without TARGET the newest run."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from interp_dsl.cli.options import add_run_options
from interp_dsl.cli.output import Output
from interp_dsl.cli.watch import run_options
from interp_dsl.cli.which import find_run
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.session import require_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET", nargs="?")
    parser.add_argument("--theme", metavar="NAME", help="textual-light, ansi-dark, nord, …")
    add_run_options(parser)


def command(args: argparse.Namespace, output: Output) -> int:
    require_terminal()
    target = None if args.target is None else _target(args.target, args.runs)
    return shown(target, args, output)


def shown(
    target: Path | None, args: argparse.Namespace, output: Output, starts: bool = False
) -> int:
    """The screens until they are left; what goes on without them is said. The exit code is that of
    a run that was started from them and has ended, else 0."""
    from interp_dsl.tui import main

    fresh = ["--fresh"] if args.fresh else []
    options = (*run_options(args), *fresh)
    left = main(target, args.runs, options, getattr(args, "theme", None), starts)
    if left.goes_on and left.started is not None:
        output.message(f"the run goes on; see it again with: interp tui {left.started}")
    return left.code or left.child_code or 0


def _target(name: str, runs: Path) -> Path:
    path = Path(name)
    if path.suffix == ".interp":
        require_file(path)
        return path
    if path.is_dir():
        return path
    return find_run(name, runs).path


def require_terminal() -> None:
    """InterpError E717 where the screens have no terminal to stand on, nor a browser's (whose
    server names the driver)."""
    if not os.environ.get("TEXTUAL_DRIVER") and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InterpError(
            Diagnostic(
                "E717",
                "the screens need a terminal",
                help="interp show and interp run print the same without one",
            ),
            exit_code=3,
        )
