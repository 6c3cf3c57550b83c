"""What a step measured on single examples, for filters of examples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interp_dsl.engine.state import State
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.plan.algebra import ScoreOf
from interp_dsl.plan.expressions import Tables
from interp_dsl.plan.units import expand
from interp_dsl.runs.curves import BY_EXAMPLE


def per_example(ref: ScoreOf, n: int, state: State) -> NDArray[np.float64]:
    """A score's values for the n examples of the data to filter. E637 for a column that single
    examples lack, E638 where the step measured another number of examples."""
    row = Tables(state.rows, expand).row(ref)
    result = state.result(ref.step)
    at = result.rows.index(row)
    names = ("base", "value", "effect", *BY_EXAMPLE)
    tensors = {
        name: np.asarray(result.tensors[name][at], dtype=np.float64)
        for name in names
        if name in result.tensors
    }
    if {"base", "value"} <= tensors.keys():
        tensors["effect"] = tensors["value"] - tensors["base"]
    if ref.column not in tensors:
        raise InterpError(
            Diagnostic(
                "E637",
                f"{ref.column} is a number of all examples together",
                help=f"filter examples by {', '.join(tensors)}",
            )
        )
    if len(tensors[ref.column]) != n:
        raise InterpError(
            Diagnostic(
                "E638",
                f"step {ref.step} measured {len(tensors[ref.column])} examples, and the data to "
                f"filter has {n}",
                help="filter the data that the step measured",
            )
        )
    return tensors[ref.column]
