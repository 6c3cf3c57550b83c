"""Delete runs. Asks first; a run that a process is writing is left alone."""

from __future__ import annotations

import argparse
import sys

from interp_dsl.cli.options import add_runs_option
from interp_dsl.cli.output import Output
from interp_dsl.cli.which import find_run
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.text import count, file_size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs_named", metavar="RUN", nargs="+")
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask")
    add_runs_option(parser)


def command(args: argparse.Namespace, output: Output) -> int:
    found = {run.path: run for run in (find_run(name, args.runs) for name in args.runs_named)}
    folders = list(found.values())
    for folder in folders:
        if folder.is_alive():
            raise _running(folder)
    if not args.yes and not _is_sure(folders, output):
        output.message("nothing deleted")
        return 1
    for folder in folders:
        folder.remove()
        output.message(f"deleted {folder.path}")
    return 0


def _is_sure(folders: list[RunFolder], output: Output) -> bool:
    if not sys.stdin.isatty():
        raise InterpError(
            Diagnostic("E715", "nobody is there to ask", help="delete without asking: --yes")
        )
    for folder in folders:
        output.message(f"{folder.path}  {folder.status}, {file_size(folder.size())}")
    output.message(f"delete {count(len(folders), 'run')}? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _running(folder: RunFolder) -> InterpError:
    manifest = folder.manifest
    return InterpError(
        Diagnostic(
            "E706",
            f"{folder.path} is being written",
            notes=(f"by process {manifest.get('pid')} on {manifest.get('host')}",),
            help="stop that process first",
        ),
        exit_code=3,
    )
