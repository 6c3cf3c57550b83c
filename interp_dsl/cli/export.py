"""Write a run's tables as csv, parquet, json or markdown, circuits as dot, svg, graphml or json,
dictionaries as folders of saelens, dictionary_learning or sparsify, their features as dashboards of
neuronpedia.

One step goes to stdout or to the file of -o; several steps go to the folder of -o."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING

from interp_dsl.cli.circuits import PICTURES, add_threshold_option, encoded, one_circuit
from interp_dsl.cli.dictionaries import DASHBOARDS, DICTIONARIES, write_dictionaries
from interp_dsl.cli.options import add_runs_option
from interp_dsl.cli.output import Output
from interp_dsl.cli.which import LATEST, find_run, find_step
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.runs.circuit_file import circuit_paths
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.text import printable

if TYPE_CHECKING:
    import polars as pl

TABLES = {"csv": ".csv", "parquet": ".parquet", "json": ".json", "markdown": ".md"}
SUFFIXES = {**TABLES, **PICTURES}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", nargs="?", default=LATEST)
    parser.add_argument("step", metavar="STEP", nargs="?")
    parser.add_argument(
        "--format",
        choices=(*SUFFIXES, *DICTIONARIES, *DASHBOARDS),
        help="csv, or what the name of -o ends in",
    )
    parser.add_argument(
        "-o", "--out", dest="to", metavar="PATH", type=Path, help="the file or folder"
    )
    parser.add_argument(
        "--examples", action="store_true", help="the values of single examples, one row each"
    )
    add_threshold_option(parser)
    add_runs_option(parser)


def command(args: argparse.Namespace, output: Output) -> int:
    folder = find_run(args.run, args.runs)
    steps = [find_step(folder, args.step)] if args.step else folder.steps
    form = args.format or _form_of(args.to)
    if form in (*DICTIONARIES, *DASHBOARDS):
        write_dictionaries(folder, args.step, form, args.to, output)
        return 0
    if len(steps) == 1 and not (args.to and args.to.is_dir()):
        _one(_data(folder, steps[0], form, args), args.to, form, output)
        return 0
    if form in PICTURES:
        steps = [step for step in steps if circuit_paths(folder.path, step)]
        if not steps:
            raise InterpError(
                Diagnostic(
                    "E712",
                    f"{folder.path.name} has found no circuit, and {form} draws one",
                    help="export its tables as csv, parquet, json or markdown",
                )
            )
    if args.to is None:
        raise InterpError(
            Diagnostic(
                "E712",
                f"{folder.path.name} has {len(steps)} tables and stdout takes one",
                notes=(f"its steps: {', '.join(steps) or 'none'}",),
                help="name a step, or a folder with -o DIR",
            )
        )
    for step in steps:
        to = args.to / f"{step}{SUFFIXES[form]}"
        _one(_data(folder, step, form, args), to, form, output)
    return 0


def _form_of(to: Path | None) -> str:
    suffix = to.suffix if to is not None else ""
    return next((form for form, end in SUFFIXES.items() if end == suffix), "csv")


def _data(folder: RunFolder, step: str, form: str, args: argparse.Namespace) -> bytes:
    """A step in a format; a circuit in json is its file."""
    is_circuit = form == "json" and circuit_paths(folder.path, step) and not args.examples
    if form in PICTURES or is_circuit:
        return encoded(one_circuit(folder, step, args.threshold), form)
    return _encoded(_table(folder, step, args.examples), form)


def _table(folder: RunFolder, step: str, of_examples: bool) -> pl.DataFrame:
    from interp_dsl.runs.examples import examples

    try:
        return examples(folder, step) if of_examples else folder.read_table(step)
    except FileNotFoundError as error:
        raise InterpError(Diagnostic("E714", str(error)), exit_code=3) from None


def _encoded(table: pl.DataFrame, form: str) -> bytes:
    match form:
        case "parquet":
            buffer = io.BytesIO()
            table.write_parquet(buffer)
            return buffer.getvalue()
        case "json":
            return table.write_json().encode() + b"\n"
        case "markdown":
            return markdown(table).encode()
        case _:
            return table.write_csv().encode()


def markdown(table: pl.DataFrame) -> str:
    """The table in pipes, numbers to the right."""
    ends = ["---:" if dtype.is_numeric() else "---" for dtype in table.schema.values()]
    rows = [[_cell(v) for v in row] for row in table.iter_rows()]
    lines = [table.columns, ends, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return printable(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _one(data: bytes, to: Path | None, form: str, output: Output) -> None:
    if to is None:
        if form == "parquet" and output.is_terminal:
            raise InterpError(
                Diagnostic(
                    "E712", "parquet is no text for a terminal", help="write it with -o FILE"
                )
            )
        output.write_bytes(data)
        return
    from interp_dsl.runs.files import replacing

    with replacing(to) as temporary:
        temporary.write_bytes(data)
    output.message(f"wrote {to}")
