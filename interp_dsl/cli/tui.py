"""Watch a run, finished or going on, and look inside: tasks, ranked components, maps, circuits.

TARGET is a run (its folder, the beginning of its name, or `latest`), a folder of runs, or an
.interp file, which is checked, planned and run from there. Without TARGET the newest run."""

from __future__ import annotations

import argparse
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

    from interp_dsl.tui import main

    return main(
        target, args.runs, (*run_options(args), *(["--fresh"] if args.fresh else [])), args.theme
    )


def _target(name: str, runs: Path) -> Path:
    path = Path(name)
    if path.suffix == ".interp":
        require_file(path)
        return path
    if path.is_dir():
        return path
    return find_run(name, runs).path


def require_terminal() -> None:
    """InterpError E717 where the screens have no terminal to stand on."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InterpError(
            Diagnostic(
                "E717",
                "the screens need a terminal",
                help="interp show and interp run print the same without one",
            ),
            exit_code=3,
        )
