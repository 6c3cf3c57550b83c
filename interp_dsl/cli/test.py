"""Run files and fail when a claim fails: a paper's findings as a regression suite."""

from __future__ import annotations

import argparse
from pathlib import Path

from interp_dsl.cli.options import add_run_options, settings
from interp_dsl.cli.output import Output
from interp_dsl.cli.results import claim_line
from interp_dsl.cli.run import watched
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.runs.text import count
from interp_dsl.session import Ran


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path)
    parser.add_argument("--json", action="store_true", help="events as lines of JSON")
    parser.add_argument("--quiet", "-q", action="store_true", help="failed claims only")
    add_run_options(parser)


def command(args: argparse.Namespace, output: Output) -> int:
    """0 where every claim of every file holds; else the worst of the files' codes."""
    codes: list[int] = []
    failed = held = 0
    for path in args.files:
        try:
            ran = watched(path, settings(args), args, output)
        except InterpError as error:
            output.diagnostics(error.diagnostics)
            codes.append(error.exit_code)
            continue
        claims = ran.folder.claims
        held += sum(bool(c["ok"]) for c in claims)
        failed += sum(not c["ok"] for c in claims)
        codes.append(_report(path, ran, args, output))
        if ran.was_stopped:
            return 130
    if not args.json:
        broken = sum(code > 1 for code in codes)
        also = f", {count(broken, 'file')} did not run" if broken else ""
        output.write(f"{count(held, 'claim')} held, {failed} failed{also}")
    return max(codes)


def _report(path: Path, ran: Ran, args: argparse.Namespace, output: Output) -> int:
    """Print a file's claims; 1 where it failed."""
    is_good = not ran.was_stopped and ran.claims_held
    if not args.json:
        if not args.quiet or not is_good:
            output.write(f"{path}  {ran.status}, {ran.folder.path}")
        for claim in ran.folder.claims:
            if not args.quiet or not claim["ok"]:
                output.write(f"  {claim_line(claim, output)}")
    return 0 if is_good else 1
