"""Print what a run would do: stages, passes, tokens, memory; nothing is executed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from interp_dsl.cli.options import add_program_options, settings
from interp_dsl.cli.output import Output

if TYPE_CHECKING:
    from interp_dsl.check import Checked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path)
    parser.add_argument("--passes", action="store_true", help="the plan after every pass")
    parser.add_argument("--json", action="store_true", help="the plan as data")
    parser.add_argument("--seed", type=int, help="the seed of the bootstrap")
    add_program_options(parser)


def command(args: argparse.Namespace, output: Output) -> int:
    from interp_dsl.plan import serialise
    from interp_dsl.plan.explain import explain
    from interp_dsl.session import plan_of, prepared, read_source

    given = settings(args)
    found = prepared(read_source(args.file), given)
    plan = plan_of(found, given)
    output.diagnostics(found.diagnostics)
    if args.json:
        output.write(serialise.dumps(plan))
    else:
        output.write(_passes(found) if args.passes else explain(plan))
    return 0


def _passes(found: Checked) -> str:
    from interp_dsl.check.lower import lower
    from interp_dsl.plan.explain import explain_passes
    from interp_dsl.session import experiment_of

    return explain_passes(lower(experiment_of(found)))
