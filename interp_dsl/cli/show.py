"""Show a run's results as tables, or a step as a figure (--plot). RUN is a folder, the beginning of
its name, or `latest`."""

from __future__ import annotations

import argparse
from pathlib import Path

from interp_dsl.cli.circuits import add_threshold_option, circuits, one_circuit, print_graph
from interp_dsl.cli.options import add_rows_options, add_runs_option, rows
from interp_dsl.cli.output import Output
from interp_dsl.cli.results import print_run, print_step
from interp_dsl.cli.which import LATEST, find_run, find_step
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.runs.circuit_file import circuit_paths
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.select import Selection, select
from interp_dsl.runs.text import count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", nargs="?", default=LATEST)
    parser.add_argument("step", metavar="STEP", nargs="?")
    add_rows_options(parser)
    parser.add_argument("--by", metavar="COLUMN", help="the column to order by")
    parser.add_argument("--metric", help="the metric to show")
    parser.add_argument("--graph", action="store_true", help="draw the circuit of STEP")
    add_threshold_option(parser)
    parser.add_argument(
        "--plot", metavar="FILE", type=Path, help="a figure of STEP: .svg, .png or .pdf"
    )
    parser.add_argument(
        "--as",
        dest="form",
        choices=("heatmap", "bars", "curve", "graph"),
        help="what the figure is (what `show` in the text says, else what the step makes)",
    )
    parser.add_argument("--json", action="store_true", help="the same rows as data")
    add_runs_option(parser)


def command(args: argparse.Namespace, output: Output) -> int:
    folder = find_run(args.run, args.runs)
    steps = [find_step(folder, args.step)] if args.step else folder.steps
    selection = Selection(rows(args), args.metric, args.by)
    if args.plot is not None:
        _plot(folder, args, output)
        return 0
    if args.graph:
        print_graph(circuits(folder, _drawn(folder, args.step), args.threshold), output)
        return 0
    if args.json:
        output.write_json(_data(folder, steps, selection))
        return 0
    if args.step:
        print_step(folder, args.step, selection, output)
    else:
        _print_head(folder, output)
        print_run(folder, selection, output)
    return 0


def _plot(folder: RunFolder, args: argparse.Namespace, output: Output) -> None:
    """Write the figure of a step: the one named, else the only one there is."""
    from interp_dsl.report.plot import figure, write

    step = _plotted(folder, args.step)
    table = folder.read_table(step)
    select(table, step, Selection(metric=args.metric))  # refuses a metric that is not there
    has_circuit = bool(circuit_paths(folder.path, step)) and args.form in (None, "graph")
    circuit = one_circuit(folder, step, args.threshold) if has_circuit else None
    write(figure(folder, step, args.metric, args.form, circuit), args.plot)
    output.message(f"wrote {args.plot}")


def _plotted(folder: RunFolder, step: str | None) -> str:
    if step is not None:
        return find_step(folder, step)
    if len(folder.steps) == 1:
        return folder.steps[0]
    raise InterpError(
        Diagnostic(
            "E740",
            f"{folder.path.name} has {count(len(folder.steps), 'step')}, and a figure shows one",
            notes=(f"its steps: {', '.join(folder.steps) or 'none'}",),
            help="name the step",
        )
    )


def _drawn(folder: RunFolder, step: str | None) -> str:
    """The step whose circuit is drawn: the one named, else the only one that has found any."""
    if step is not None:
        return find_step(folder, step)
    found = [name for name in folder.steps if circuit_paths(folder.path, name)]
    if len(found) == 1:
        return found[0]
    raise InterpError(
        Diagnostic(
            "E716",
            f"{folder.path.name} has {count(len(found), 'step')} that found a circuit",
            notes=(f"they are: {', '.join(found)}",) if found else (),
            help="name the step",
        )
    )


def _print_head(folder: RunFolder, output: Output) -> None:
    manifest = folder.manifest
    params = ", ".join(f"{k}={v}" for k, v in (manifest.get("params") or {}).items())
    facts = [folder.status, str(manifest["created"])[:19].replace("T", " ")]
    facts += [str(manifest["device"])] if manifest.get("device") else []
    facts += [params] if params else []
    output.write(f"{folder.path.name}: {' · '.join(facts)}\n")


def _data(folder: RunFolder, steps: list[str], selection: Selection) -> dict[str, object]:
    tables = {step: select(folder.read_table(step), step, selection)[0] for step in steps}
    top = selection.top
    return {
        "run": folder.path,
        "status": folder.status,
        "steps": {
            step: (found if top is None else found.head(top)).to_dicts()
            for step, found in tables.items()
        },
        "claims": folder.claims,
    }
