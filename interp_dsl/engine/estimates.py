"""Estimates of units: each method of verbs/estimates.py that has them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from interp_dsl.circuits.attribution.direct import direct_logit_attribution
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.engine.batches import in_batches
from interp_dsl.engine.forwards import Bench
from interp_dsl.engine.report import Report
from interp_dsl.engine.scores import no_units
from interp_dsl.engine.site_estimates import SiteEstimates, compiled, examples_of, rows_of
from interp_dsl.engine.state import State
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.graph import Graph
from interp_dsl.plan.places import ALL, Unit
from interp_dsl.plan.tasks import Attribute


def unit_estimates(
    task: Attribute, state: State, report: Report
) -> tuple[tuple[Unit, ...], Tensor]:
    """The units and their estimated effects [metrics, units, n], float64 in the processor's
    memory. Raises InterpError E643 for no units, E650 for a method that the hooks do not run, E651
    and E654."""
    run = task.variant.into
    units = state.units(task.intervention.units, run)
    if not units:
        raise no_units(task.step)
    bench = Bench(run, task.metrics, state.kept(task.reference).logits, state)
    if len(bench.reads.variants) > 1:
        raise sequences(state.data[run.data].name)
    kind = _Direct if task.method == "dla" else SiteEstimates
    of_batch = kind(task, bench, units)
    n = state.data[run.data].n
    found = torch.empty(len(task.metrics), len(units), n, dtype=torch.float64)

    def work(start: int, stop: int) -> None:
        numbers = torch.arange(start, stop)
        found[:, :, start:stop] = of_batch(numbers)
        report.progress(stop, n)

    in_batches(n, of_batch.rows, work, report.note)
    return units, found


class _Direct:
    """Direct logit attribution of whole nodes."""

    def __init__(self, task: Attribute, bench: Bench, units: Sequence[Unit]) -> None:
        executor = compiled(bench.executor, task.method)
        graph = Graph(executor.facts.shape, split_embed=True)
        self.forward = EdgeForward(executor.model, graph, executor.tf32)
        self.task, self.bench, self.rows = task, bench, rows_of(bench)
        self.members = torch.zeros(len(units), len(graph.senders), dtype=torch.float64)
        for u, unit in enumerate(units):
            for target in unit.targets:
                if target.place not in graph.senders or target.positions != ALL:
                    raise _no_node(task.method, unit)
                self.members[u, graph.senders.index(target.place)] = 1

    def __call__(self, numbers: Tensor) -> Tensor:
        """[metrics, units, B]"""
        found = [
            direct_logit_attribution(self.forward, examples_of(self.bench, numbers, m)).senders
            for m in range(len(self.task.metrics))
        ]
        return self.members @ torch.stack(found).cpu().double()


def sequences(data: str) -> InterpError:
    return InterpError(
        Diagnostic(
            "E651",
            f"a metric reads answers of several tokens of {data}, and slopes are of the prompts "
            "alone",
            help="use answers of one token, or measure kl()",
        ),
        exit_code=1,
    )


def _no_node(method: str, unit: Unit) -> InterpError:
    return InterpError(
        Diagnostic(
            "E654",
            f"{unit} is no whole node, and {method} looks at those",
            help="attribute nodes, heads or mlps, without positions",
        ),
        exit_code=1,
    )
