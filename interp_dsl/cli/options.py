"""Options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.session import RUNS, Settings


def add_program_options(parser: argparse.ArgumentParser) -> None:
    """How a file is read."""
    parser.add_argument(
        "-p",
        dest="params",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="set a parameter of the file; may be given again",
    )
    parser.add_argument(
        "--allow",
        metavar="DIR",
        type=Path,
        action="append",
        default=[],
        help="let the file read below DIR as well; may be given again",
    )
    parser.add_argument(
        "--trust", action="store_true", help="let the file run Python code that it names"
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """How a file is run."""
    add_program_options(parser)
    add_runs_option(parser)
    parser.add_argument(
        "--fresh", action="store_true", help="neither go on with an old run nor reuse its steps"
    )
    parser.add_argument(
        "--device", help="cpu, cuda, cuda:1, mps; a model's own device goes before it"
    )
    parser.add_argument("--seed", type=int, help="the seed of the bootstrap")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="compare the compiled forward with TransformerLens's again",
    )


def add_runs_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs", metavar="DIR", type=Path, default=RUNS, help="the folder of runs (runs)"
    )


def add_rows_options(parser: argparse.ArgumentParser) -> None:
    """How many rows are printed."""
    parser.add_argument("--top", metavar="N", type=_positive, default=10, help="rows (10)")
    parser.add_argument("--all", action="store_true", help="every row")


def rows(args: argparse.Namespace) -> int | None:
    """The number of rows to print, None for all."""
    return None if args.all else int(args.top)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number above 0")
    return int(text)


def settings(args: argparse.Namespace) -> Settings:
    """The settings of parsed options, whichever of them the command has."""
    given = vars(args)
    names = ("out", "runs", "fresh", "trust", "allow", "device", "seed", "verify")
    return Settings(
        params=dict(parameter(text) for text in args.params),
        **{name: given[name] for name in names if name in given},
    )


def parameter(text: str) -> tuple[str, str]:
    """`name=value` in two; InterpError E704 where there is no `=`."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise InterpError(
            Diagnostic(
                "E704", f"-p {text} sets nothing", help="write -p NAME=VALUE, as in -p size=1024"
            )
        )
    return name.strip(), value.strip()
