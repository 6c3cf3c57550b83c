"""Print what a run would do: tasks, rows, tokens, FLOPs, memory. Nothing is executed, unless it is
to be analyzed: then the file is run, and what the tasks took stands beside the estimates."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp_dsl.cli.options import add_run_options, settings
from interp_dsl.cli.output import Output
from interp_dsl.session import Settings, plan_of, prepared, read_source, run_file

if TYPE_CHECKING:
    from interp_dsl.check import Checked
    from interp_dsl.cli.analyze import Stopwatch
    from interp_dsl.plan.tasks import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--passes", action="store_true", help="the plan after every pass")
    form.add_argument(
        "--analyze",
        action="store_true",
        help="run the file, and print what every task took (with --runs, --fresh, --device)",
    )
    parser.add_argument("--json", action="store_true", help="the plan and its estimates as data")
    add_run_options(parser)


def command(args: argparse.Namespace, output: Output) -> int:
    given = settings(args)
    if args.analyze:
        return _analyzed(args, given, output)
    found = prepared(read_source(args.file), given)
    plan = plan_of(found, given)
    output.diagnostics(found.diagnostics)
    if args.json:
        output.write(json.dumps(_data(plan), indent=1))
    elif args.passes:
        output.write(_passes(found))
    else:
        _print(plan, output)
    return 0


def _print(plan: Plan, output: Output, watch: Stopwatch | None = None) -> None:
    from interp_dsl.plan.explain import explain

    output.write(explain(plan, *(watch.lines(plan) if watch else ())))


def _data(plan: Plan) -> dict[str, Any]:
    from interp_dsl.plan.estimates import estimates
    from interp_dsl.plan.serialise import to_data

    return {"plan": to_data(plan), **estimates(plan).to_data()}


def _passes(found: Checked) -> str:
    from interp_dsl.check.lower import lower
    from interp_dsl.plan.explain import explain_passes
    from interp_dsl.session import experiment_of

    return explain_passes(lower(experiment_of(found)))


def _analyzed(args: argparse.Namespace, given: Settings, output: Output) -> int:
    """Run a file and print its plan with what it took; the exit code is the run's."""
    from interp_dsl.cli.analyze import Stopwatch
    from interp_dsl.cli.run import exit_code
    from interp_dsl.cli.watch import again, watcher
    from interp_dsl.plan.serialise import loads

    shown = watcher(argparse.Namespace(json=False, quiet=False), output)
    watch = Stopwatch(shown)
    try:
        ran = run_file(args.file, given, watch)
    finally:
        shown.close()
    output.diagnostics(ran.diagnostics)
    plan = loads(ran.folder.plan_text)
    if args.json:
        output.write_json(watch.data(_data(plan)))
    else:
        _print(plan, output, watch)
    if ran.was_stopped:
        output.message(f"stopped; go on with: {again(args.file, args)}")
    return exit_code(ran)
