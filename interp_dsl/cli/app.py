"""`interp`: finds the command, runs it and turns what went wrong into an exit code.

0 fine, 1 a run or a claim failed, 2 a bad program or usage, 3 the environment (a file, a model or
a device is missing), 130 interrupted."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Protocol

from interp_dsl.cli.output import Output
from interp_dsl.language.diagnostics import InterpError

COMMANDS = {
    "run": "run an experiment, with live progress",
    "check": "all errors and warnings of files, nothing executed",
    "plan": "what a run would do, as a database's EXPLAIN prints it",
    "test": "run files and fail on a failed claim",
    "tui": "watch a run and look inside, in the terminal",
    "serve": "the same in a browser",
    "show": "the results of a run as tables, a step's as a figure",
    "report": "a run as one web page",
    "export": "results as csv, parquet, json or markdown",
    "diff": "compare two runs",
    "runs": "list the runs with their sizes and claims",
    "rm": "delete runs",
    "models": "the models at hand",
    "new": "write a starter experiment",
    "fmt": "format files",
    "explain": "what a diagnostic's code means",
    "doctor": "what this machine has",
}


class Command(Protocol):
    """What a command's module holds."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def command(self, args: argparse.Namespace, output: Output) -> int: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    # Threads that wait for work do so asleep: where others use the processor, spinning costs more
    # than waking.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    output = Output()
    try:
        code = _dispatch([a for a in arguments if a != "--debug"], output)
        sys.stdout.flush()
        return code
    except InterpError as error:
        if debug:
            raise
        output.diagnostics(error.diagnostics)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        output.message("interrupted")
        return 130
    except OSError as error:
        if debug:
            raise
        output.message(f"interp: {error}")
        return 3
    except Exception as error:
        if debug:
            raise
        output.message(f"interp: {type(error).__name__}: {error}")
        output.message("this is a fault of interp; --debug shows where")
        return 1


def _dispatch(arguments: list[str], output: Output) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        if len(arguments) > 1 and arguments[1] in COMMANDS:
            return _run([arguments[1], "--help"], output)
        output.write(usage())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        from importlib.metadata import version

        output.write(f"interp {version('interp-dsl')}")
        return 0
    if arguments[0] not in COMMANDS:
        output.message(_unknown(arguments[0]))
        return 2
    return _run(arguments, output)


def _run(arguments: list[str], output: Output) -> int:
    name = arguments[0]
    module: Command = import_module(f"interp_dsl.cli.{name}")
    parser = argparse.ArgumentParser(
        prog=f"interp {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    try:
        args = parser.parse_intermixed_args(arguments[1:])
    except SystemExit as stop:
        return int(stop.code or 0)
    return module.command(args, output)


def usage() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: interp COMMAND …",
            "",
            "Circuit experiments on transformers, written in .interp files.",
            "",
            *lines,
            "",
            "interp COMMAND --help tells more; --debug shows the traceback of a fault;",
            "--version the version.",
        ]
    )


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    if name.endswith(".interp"):
        return f"interp: no command given; did you mean: interp run {name}"
    near = get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {near[0]}?" if near else "interp --help lists the commands"
    return f"interp: there is no command {name}; {hint}"
