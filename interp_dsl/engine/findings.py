"""The score table of evaluated circuits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from interp_dsl.engine.batches import too_many
from interp_dsl.engine.by_edge import kept_of
from interp_dsl.engine.edges import EdgeBench
from interp_dsl.engine.evidence import FUNCTIONS, SHARED, Case, Columns
from interp_dsl.engine.measured import Measured, measured
from interp_dsl.engine.scores import Scored, check_finite
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.precision import float32_products
from interp_dsl.models.room import is_out_of_memory
from interp_dsl.plan.tasks import EvaluateCircuit
from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.schema import score_table


def evaluate_circuits(
    task: EvaluateCircuit, bench: EdgeBench, circuits: Mapping[float | None, Circuit], seed: int
) -> Scored:
    """A row a circuit and finding, with further ones where a finding has them; and where a finding
    has values of single examples, these. Raises InterpError E640, E641 and E656."""
    with torch.no_grad(), float32_products(bench.executor.tf32):
        found = measured(bench, [kept_of(c, bench.graph) for c in circuits.values()])
        check_finite(
            torch.cat([found.circuits, found.full[None]]).transpose(0, 1),
            task.metrics,
            [*(f"threshold {t}" for t in circuits), "the whole model"],
            task.step,
            task.place,
        )
        rows: list[dict[str, Any]] = []
        values: list[Tensor] = []
        for threshold, case in _cases(task, bench, circuits, found, seed):
            finding = case.finding
            about = {"unit": "circuit", "position": "all", "metric": finding.name, "n": bench.n}
            which = {"threshold": threshold} if len(circuits) > 1 else {}
            for columns in _told(case, task.step):
                rows.append({**about, **columns, **which})
                own = finding.function is None
                values.append(case.circuit if own else torch.full_like(case.circuit, torch.nan))
    extra = {"threshold": "number"} if len(circuits) > 1 else {}
    table = score_table(rows, extra)  # type: ignore[arg-type]
    return Scored(table, {"value": torch.stack(values).float().numpy()})


def _cases(
    task: EvaluateCircuit,
    bench: EdgeBench,
    circuits: Mapping[float | None, Circuit],
    found: Measured,
    seed: int,
) -> Iterator[tuple[float | None, Case]]:
    """A case a circuit and finding; those that all circuits share at last, of no threshold."""
    held = tuple(circuits.values())

    def cases(at: int, is_shared: bool) -> Iterator[Case]:
        for finding in task.findings:
            if (finding.function in SHARED) is is_shared:
                m = task.metrics.index(finding.metric)
                about = (found.circuits[at, m], found.empty[m], found.full[m])
                yield Case(bench, held[at], held, finding, m, *about, seed)

    for at, threshold in enumerate(circuits):
        for case in cases(at, False):
            yield threshold, case
    for case in cases(0, True):
        yield None, case


def _told(case: Case, step: str) -> list[Columns]:
    try:
        return FUNCTIONS[case.finding.function](case)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise too_many(case.bench.n) from error
    except ValueError as error:
        raise InterpError(
            Diagnostic(
                "E656",
                f"{step}: {case.finding.name} cannot be measured here",
                notes=(str(error),),
                help="leave it out, or evaluate another circuit or other data",
            ),
            exit_code=1,
        ) from None
