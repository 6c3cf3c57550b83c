"""Print what a run would do: stages, passes, tokens, memory; nothing is executed."""

from __future__ import annotations

import argparse
from pathlib import Path

from interp_dsl.cli.options import add_program_options, settings
from interp_dsl.cli.output import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path)
    parser.add_argument("--passes", action="store_true", help="the plan after every pass")
    parser.add_argument("--json", action="store_true", help="the plan as data")
    parser.add_argument("--seed", type=int, help="the seed of the bootstrap")
    add_program_options(parser)


def command(args: argparse.Namespace, output: Output) -> int:
    from interp_dsl.plan import serialise
    from interp_dsl.plan.explain import explain
    from interp_dsl.session import plan_file

    plan, diagnostics = plan_file(args.file, settings(args))
    output.diagnostics(diagnostics)
    output.write(serialise.dumps(plan) if args.json else explain(plan, passes=args.passes))
    return 0
