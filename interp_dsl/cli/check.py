"""Check files: all errors and warnings, nothing executed. The findings go to stdout."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from interp_dsl.cli.options import add_program_options, settings
from interp_dsl.cli.output import Output, is_colored
from interp_dsl.language.diagnostics import Diagnostic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path)
    parser.add_argument("--format", choices=["text", "short", "json"], default="text")
    parser.add_argument("--quiet", "-q", action="store_true", help="no summary")
    add_program_options(parser)


def command(args: argparse.Namespace, output: Output) -> int:
    from interp_dsl.session import checked, read_source

    given = settings(args)
    found: list[Diagnostic] = []
    waiting: list[str] = []
    for path in args.files:
        one = checked(read_source(path), given)
        found += one.diagnostics
        waiting += one.waiting
    if found or args.format == "json":
        output.write(output.rendered(found, args.format, is_colored(sys.stdout)))
    if not args.quiet and args.format == "text":
        for note in dict.fromkeys(waiting):
            output.message(f"note: {note}")
        output.message(_summary(found, args.files))
    return 2 if any(d.severity == "error" for d in found) else 0


def _summary(found: Sequence[Diagnostic], files: Sequence[Path]) -> str:
    where = str(files[0]) if len(files) == 1 else f"{len(files)} files"
    counts = [
        f"{n} {severity}{'s' * (n != 1)}"
        for severity in ("error", "warning")
        if (n := sum(d.severity == severity for d in found))
    ]
    return f"{where}: {', '.join(counts) or 'nothing to complain about'}"
