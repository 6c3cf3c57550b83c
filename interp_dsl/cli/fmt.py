"""Format files in place. With - the text comes from stdin and goes to stdout."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from interp_dsl.cli.output import Output
from interp_dsl.language.diagnostics import InterpError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", help="files, or - for stdin")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 where a file would change"
    )
    parser.add_argument(
        "--diff", action="store_true", help="write nothing; print what would change"
    )


def command(args: argparse.Namespace, output: Output) -> int:
    """0, or 1 where --check finds a file that would change, or the worst of the files' errors."""
    codes = [0]
    for name in args.files:
        try:
            changed = _format(name, args, output)
        except InterpError as error:
            output.diagnostics(error.diagnostics)
            codes.append(error.exit_code)
            continue
        if changed:
            writes = not (args.check or args.diff)
            output.message(f"{'formatted' if writes else 'would format'} {name}")
            codes.append(int(args.check))
    return max(codes)


def _format(name: str, args: argparse.Namespace, output: Output) -> bool:
    """Format one file; whether it changes."""
    from interp_dsl.language.format import format_source
    from interp_dsl.language.source import Source
    from interp_dsl.session import read_source

    is_stdin = name == "-"
    source = Source(sys.stdin.read()) if is_stdin else read_source(Path(name))
    formatted = format_source(source)
    changed = formatted != source.text
    if args.diff and changed:
        output.write(_difference(source.text, formatted, source.name))
    if args.check or args.diff:
        return changed
    if is_stdin:
        output.write(formatted.removesuffix("\n"))
    elif changed:
        _replace(Path(name).resolve(), formatted)
    return changed and not is_stdin


def _replace(path: Path, text: str) -> None:
    """Put the text in place whole; a link and the file's mode stay what they were."""
    from interp_dsl.runs.files import replacing

    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        shutil.copymode(path, temporary)


def _difference(before: str, after: str, name: str) -> str:
    from difflib import unified_diff

    lines = unified_diff(
        before.splitlines(), after.splitlines(), name, f"{name} (formatted)", lineterm=""
    )
    return "\n".join(lines)
