"""Run an experiment. A run that was stopped goes on where it was: same file, same parameters.

stdout gets the results (with --json every event, a line each; with --quiet the folder alone),
stderr the progress."""

from __future__ import annotations

import argparse
from pathlib import Path

from interp_dsl.cli.options import add_run_options, settings
from interp_dsl.cli.output import Output
from interp_dsl.cli.results import claim_line, print_run
from interp_dsl.cli.watch import again, watcher
from interp_dsl.runs.select import Selection
from interp_dsl.session import Ran, Settings, run_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path)
    parser.add_argument("--out", metavar="DIR", type=Path, help="the run's folder itself")
    parser.add_argument("--json", action="store_true", help="events as lines of JSON")
    parser.add_argument("--quiet", "-q", action="store_true", help="print the folder alone")
    parser.add_argument("--tui", action="store_true", help="watch it in the terminal's screens")
    add_run_options(parser)


def command(args: argparse.Namespace, output: Output) -> int:
    if args.tui:
        return _with_screens(args, output)
    ran = watched(args.file, settings(args), args, output)
    if ran.was_stopped:
        output.message(f"stopped; go on with: {again(args.file, args)}")
    elif args.quiet:
        for claim in ran.folder.claims:
            if not claim["ok"]:
                output.message(claim_line(claim, output))
    elif not args.json:
        print_run(ran.folder, Selection(), output)
    if args.quiet:
        output.write(str(ran.folder.path))
    return exit_code(ran)


def _with_screens(args: argparse.Namespace, output: Output) -> int:
    from interp_dsl.cli.tui import require_terminal, shown
    from interp_dsl.session import require_file

    require_terminal()
    require_file(args.file)
    return shown(args.file, args, output, starts=True)


def watched(path: Path, given: Settings, args: argparse.Namespace, output: Output) -> Ran:
    """Run a file under the watcher that the options call for."""
    watching = watcher(args, output)
    try:
        ran = run_file(path, given, watching)
    finally:
        watching.close()
    output.diagnostics(ran.diagnostics)
    return ran


def exit_code(ran: Ran) -> int:
    """1 where a claim failed, 130 where the run was stopped."""
    if ran.was_stopped:
        return 130
    return 0 if ran.claims_held else 1
