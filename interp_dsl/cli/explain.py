"""Tell what a diagnostic's code means and how to mend it; without a code, list them all."""

from __future__ import annotations

import argparse

from interp_dsl.cli.output import Output
from interp_dsl.language.codes import all_codes, lookup
from interp_dsl.language.diagnostics import Diagnostic, InterpError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("code", metavar="CODE", nargs="?", help="as in E201 or W104")
    parser.add_argument("--json", action="store_true")


def command(args: argparse.Namespace, output: Output) -> int:
    if args.code in (None, "list"):
        return _list(args.json, output)
    entry = lookup(args.code.upper())
    if entry is None:
        raise _unknown(args.code.upper())
    if args.json:
        output.write_json({"code": entry.code, "title": entry.title, "text": entry.text})
    else:
        output.write(f"{output.toned(f'{entry.code}: {entry.title}', 'bold')}\n\n{entry.text}")
    return 0


def _list(as_json: bool, output: Output) -> int:
    entries = [entry for code in all_codes() if (entry := lookup(code))]
    if as_json:
        output.write_json([{"code": e.code, "title": e.title} for e in entries])
    else:
        output.write("\n".join(f"{e.code}  {e.title}" for e in entries))
    return 0


def _unknown(code: str) -> InterpError:
    from difflib import get_close_matches

    near = get_close_matches(code, all_codes(), n=1)
    hint = f"did you mean {near[0]}?" if near else "interp explain lists the codes"
    return InterpError(Diagnostic("E708", f"there is no code {code}", help=hint))
