"""List the runs, newest first: state, size, claims."""

from __future__ import annotations

import argparse

from interp_dsl.cli.options import add_runs_option
from interp_dsl.cli.output import Output
from interp_dsl.runs.find import RunSummary, list_runs, summary
from interp_dsl.runs.text import Column, file_size, layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true")
    add_runs_option(parser)


def command(args: argparse.Namespace, output: Output) -> int:
    found = [summary(folder) for folder in list_runs(args.runs)]
    if args.json:
        output.write_json([_data(run) for run in found])
    elif found:
        heading, *lines = layout(_columns(found))
        output.write(output.toned(heading, "dim"))
        for line in lines:
            output.write(line)
    else:
        output.message(f"no runs in {args.runs}")
    return 0


def _columns(found: list[RunSummary]) -> list[Column]:
    return [
        Column("run", [run.path.name for run in found]),
        Column("when", [run.when[:19].replace("T", " ") for run in found]),
        Column("status", [run.status for run in found]),
        Column("size", [file_size(run.bytes) for run in found], right=True),
        Column("claims", [_claims(run) for run in found], right=True),
    ]


def _claims(run: RunSummary) -> str:
    return f"{run.claims_held}/{run.claims}" if run.claims else "·"


def _data(run: RunSummary) -> dict[str, object]:
    return {
        "run": run.path,
        "stem": run.stem,
        "status": run.status,
        "when": run.when,
        "bytes": run.bytes,
        "claims": {"held": run.claims_held, "all": run.claims},
    }
