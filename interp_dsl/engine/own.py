"""Metrics made by a person's own code: `python("module:function")`."""

from __future__ import annotations

import torch
from torch import Tensor

from interp_dsl.data.types import Data
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.own import own_function
from interp_dsl.plan.algebra import MetricCall
from interp_dsl.plan.metrics import calls
from interp_dsl.plan.tasks import (
    Attribution,
    Evaluate,
    EvaluateCircuit,
    Factor,
    Forward,
    NodeTask,
    Plan,
    Search,
    Sweep,
)


def own_metric(call: MetricCall, logits: Tensor, examples: Tensor, data: Data) -> Tensor:
    """What the function makes of logits [rows, d_vocab_out] in float32, the number of each row's
    example [rows], and the data: values [rows]. Raises InterpError E626 where it fails or gives
    something else."""
    given = dict(call.arguments)
    target, folder = str(given["target"]), given.get("folder")
    try:
        values = own_function(target, str(folder) if folder else None)(logits, examples, data)
    except Exception as why:
        raise _refused(target, f"it raised {type(why).__name__}: {why}") from why
    if not isinstance(values, Tensor) or values.shape != examples.shape:
        got = (
            f"a tensor {list(values.shape)}"
            if isinstance(values, Tensor)
            else type(values).__name__
        )
        raise _refused(target, f"it returned {got} for {len(examples)} rows")
    return values.detach().to(logits.device, torch.float32)


def require_trust(plan: Plan, trusted: bool) -> None:
    """Raises InterpError E458 for a plan that brings code of its own where none is trusted."""
    measuring = Forward | Sweep | Evaluate | Search | EvaluateCircuit | Attribution | Factor
    measuring |= NodeTask
    metrics = [m for t in plan.tasks if isinstance(t, measuring) for m in t.metrics]
    own = [c for m in metrics for c in calls(m.term) if c.function == "python"]
    if own and not trusted:
        target = dict(own[0].arguments)["target"]
        raise InterpError(
            Diagnostic(
                "E458",
                f'the metric python("{target}") runs code, which needs --trust',
                help="read the code, then run again with --trust",
            )
        )


def _refused(target: str, why: str) -> InterpError:
    return InterpError(
        Diagnostic(
            "E626",
            f'python("{target}") gives no metric',
            notes=(why,),
            help="write function(logits, examples, data) -> one value a row, as a tensor",
        ),
        exit_code=1,
    )
