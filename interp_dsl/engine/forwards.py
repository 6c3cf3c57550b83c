"""Forward passes of one run: its prompts under its own interventions, and more where asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from interp_dsl.engine.batches import default_rows, in_batches
from interp_dsl.engine.edits import Block, Editor
from interp_dsl.engine.late import Entry
from interp_dsl.engine.metrics import Meter, Reference
from interp_dsl.engine.reads import Reads, plan_reads
from interp_dsl.engine.report import Report
from interp_dsl.engine.scores import check_finite
from interp_dsl.engine.state import State, canonical, reference_of
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.compiled.memory import Memory
from interp_dsl.models.edits import Edit
from interp_dsl.models.executor import Pass
from interp_dsl.plan.algebra import Metric, Run
from interp_dsl.plan.places import Positions, Site, Unit
from interp_dsl.plan.tasks import Forward

K = TypeVar("K")
Ats = tuple[Positions | None, ...]


class Bench:
    """Runs rows of one run and measures them. A row is an example of the run's side."""

    def __init__(
        self, run: Run, metrics: Sequence[Metric], reference: Reference, state: State, ats: Ats = ()
    ) -> None:
        """`ats` are positions whose logits are read besides those that the metrics read."""
        self.state, self.run = state, run
        self.executor = state.executor(run)
        self.device = self.executor.device
        shape = self.executor.facts.shape
        data, side = state.data[run.data], state.side(run)
        self.reads: Reads = plan_reads(data, side, metrics, self.executor.facts, ats)
        self.meter = Meter(self.reads, metrics, shape.d_vocab_out, reference, self.device)
        self._tensors = {
            name: (
                torch.from_numpy(v.tokens).to(self.device),
                None if v.mask is None else torch.from_numpy(v.mask).to(self.device),
                None if v.reads is None else torch.from_numpy(v.reads).to(self.device),
            )
            for name, v in self.reads.variants.items()
        }
        self._first_read = {
            name: 0 if v.reads is None else int(v.reads.min())
            for name, v in self.reads.variants.items()
        }
        self._memories: dict[str, Memory] = {}
        self._under = [
            (Editor(i, run, state), _joined(state.units(i.units, run))) for i in run.under
        ]
        for editor, unit in self._under:
            editor.check([unit])

    @property
    def width(self) -> int:
        """Tokens of the longest prompt that is run."""
        return max(tokens.shape[1] for tokens, _, _ in self._tensors.values())

    def forward(
        self,
        variant: str,
        examples: Tensor,
        editor: Editor | None = None,
        blocks: Sequence[Block] = (),
        sites: Sequence[Site] = (),
        everywhere: bool = False,
        start: Entry | None = None,
    ) -> Pass:
        """One pass of rows of a variant: the run's own interventions, then those of `blocks`.
        Logits come from where the metrics read, or from all positions. With a `start` the pass is
        taken up there; no change of `blocks` lies before it."""
        tokens, mask, reads = (None if x is None else x[examples] for x in self._tensors[variant])
        assert tokens is not None
        edits = [
            edit
            for context, unit in self._under
            for edit in context.edits([Block(unit, 0, examples)], tokens.shape[1])
        ]
        if editor is not None:
            edits += editor.edits(blocks, tokens.shape[1])
        if start is not None:
            return self._resumed(variant, examples, edits, reads, start)
        return self.executor.forward(tokens, None if everywhere else reads, edits, sites, mask)

    @property
    def can_resume(self) -> bool:
        """Whether passes can start in the middle: the compiled executor, and no interventions of
        the run's own, which a clean pass does not hold."""
        return isinstance(self.executor, CompiledExecutor) and not self.run.under

    def _resumed(
        self,
        variant: str,
        examples: Tensor,
        edits: Sequence[Edit],
        reads: Tensor | None,
        start: Entry,
    ) -> Pass:
        """A pass from the memory of the clean one. Logits wanted everywhere, and those of a model
        that looks ahead, leave no position out."""
        assert isinstance(self.executor, CompiledExecutor)
        tokens, mask, _ = self._tensors[variant]
        if variant not in self._memories:
            self._memories[variant] = self.executor.remember(tokens, mask)
        position = 0
        if reads is not None and self.executor.facts.shape.causal:
            position = min(start.position, self._first_read[variant])
        memory = self._memories[variant]
        return self.executor.resume(memory, examples, start.layer, edits, reads, position)

    def measure(
        self,
        examples: Tensor,
        editor: Editor | None = None,
        blocks: Sequence[Block] = (),
        start: Entry | None = None,
    ) -> Tensor:
        """The metrics' values [metrics, R] of rows."""
        logits = {
            name: self.forward(name, examples, editor, blocks, start=start).logits
            for name in self.reads.variants
        }
        return self.meter.measure(logits, examples)


def _joined(units: Sequence[Unit]) -> Unit:
    return Unit(tuple(t for u in units for t in u.targets))


def run_forward(task: Forward, ats: Ats, state: State, report: Report) -> None:
    """Run all examples of a task's run once; keep its sites, the values of its metrics and, at the
    positions `ats`, its logits as the reference of other runs."""
    run, kept = task.run, state.kept(task.run)
    reference = state.kept(reference_of(run, state.data[run.data]))
    bench = Bench(run, task.metrics, reference.logits, state, ats)
    n = state.data[run.data].n
    values = torch.empty(len(task.metrics), n, device=bench.device)

    def work(start: int, stop: int) -> None:
        examples = torch.arange(start, stop, device=bench.device)
        found = bench.forward("plain", examples, sites=task.sites)
        for at in ats:
            _store(kept.logits, at, bench.meter.at(at, found.logits, examples), start, n)
        for site, x in found.sites.items():
            _store(kept.sites, site, canonical(x), start, n)
        if task.metrics:
            logits = {"plain": found.logits} | {
                name: bench.forward(name, examples).logits
                for name in bench.reads.variants
                if name != "plain"
            }
            values[:, start:stop] = bench.meter.measure(logits, examples)
        report.progress(stop, n)

    in_batches(n, task.batch or default_rows(bench.width), work, report.note)
    check_finite(values[:, None], task.metrics, ["the plain run"], f"{run.side} of {run.data}")
    for metric, held in zip(task.metrics, values, strict=True):
        kept.values[metric.term] = held


def _store(held: dict[K, Tensor], key: K, part: Tensor, start: int, n: int) -> None:
    """Put a batch's part into the tensor [n, …] of all examples."""
    if start == 0:
        held[key] = part.new_empty((n, *part.shape[1:]))
    held[key][start : start + len(part)] = part
