"""Forward passes of one run: its prompts under its own interventions, and more where asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import torch
from torch import Tensor

from interp_dsl.engine.batches import default_rows, in_batches
from interp_dsl.engine.edits import Editor
from interp_dsl.engine.late import changed
from interp_dsl.engine.metrics import Meter, Reference
from interp_dsl.engine.packed import Packed
from interp_dsl.engine.reads import Reads, Variant, plan_reads
from interp_dsl.engine.report import Report
from interp_dsl.engine.scores import check_finite
from interp_dsl.engine.state import State, canonical, reference_of
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.compiled.memory import Memory
from interp_dsl.models.edits import Edit, entries, moved
from interp_dsl.models.executor import Pass
from interp_dsl.plan.algebra import Metric, Run
from interp_dsl.plan.places import Positions, Site, Unit
from interp_dsl.plan.starts import Start
from interp_dsl.plan.tasks import Forward

K = TypeVar("K")
Ats = tuple[Positions | None, ...]
Reading = Literal["metrics", "everywhere", "nothing"]


class Bench:
    """Runs rows of one run and measures them. A row is an example of the run's side; rows and
    positions are counted in the processor's memory."""

    def __init__(
        self,
        run: Run,
        metrics: Sequence[Metric],
        reference: Reference,
        state: State,
        ats: Ats = (),
        reads_few: bool = True,
    ) -> None:
        """`ats` are positions whose logits are read besides those that the metrics read; without
        `reads_few` all positions are unembedded before these are taken."""
        self.state, self.run, self.reads_few = state, run, reads_few
        self.executor = state.executor(run)
        self.device = self.executor.device
        shape = self.executor.facts.shape
        data, side = state.data[run.data], state.side(run)
        self.reads: Reads = plan_reads(data, side, metrics, self.executor.facts, ats)
        self.meter = Meter(self.reads, metrics, shape.d_vocab_out, reference, self.device)
        self._prompts = {name: self._prompt(v) for name, v in self.reads.variants.items()}
        self._under = [
            (Editor(i, run, state), _joined(state.units(i.units, run))) for i in run.under
        ]
        for editor, unit in self._under:
            editor.check([unit])

    @property
    def width(self) -> int:
        """Tokens of the longest prompt that is run."""
        return max(prompt.tokens.shape[1] for prompt in self._prompts.values())

    @property
    def can_resume(self) -> bool:
        """Whether passes can start in the middle."""
        return isinstance(self.executor, CompiledExecutor)

    def forward(
        self,
        variant: str,
        examples: Tensor,
        editor: Editor | None = None,
        batch: Packed | None = None,
        sites: Sequence[Site] = (),
        reading: Reading = "metrics",
        memory: Memory | None = None,
        more: Sequence[Edit] = (),
    ) -> Pass:
        """One pass of rows of a variant: the run's own interventions, then those of `batch` and
        `more`.
        Logits come from where the metrics read, from all positions or, with the pass ending after
        the last of `sites`, from none. What later passes start from goes into `memory`, whose
        consecutive examples these are."""
        prompt = self._prompts[variant]
        tokens, mask = entries(prompt.tokens, examples), prompt.mask
        mask = None if mask is None else entries(mask, examples)
        edits = self._context(examples, tokens.shape[1])
        if editor is not None and batch is not None:
            edits += editor.edits(batch, tokens.shape[1])
        edits += more
        reads = prompt.reads_of(examples) if reading == "metrics" else None
        wanted = reads if self.reads_few else None
        if reading == "nothing":
            wanted = torch.zeros(len(examples), 0, dtype=torch.long)
        if memory is None:
            found = self.executor.forward(tokens, wanted, edits, sites, mask)
        else:
            assert isinstance(self.executor, CompiledExecutor)
            place = slice(int(examples[0]), int(examples[-1]) + 1)
            found = self.executor.forward(tokens, wanted, edits, sites, mask, (memory, place))
        return found if self.reads_few else _at(reads, found, 0)

    def blank(self, parts: Sequence[str]) -> Memory | None:
        """Room for what late passes start from; None where nothing can start late."""
        if not parts or not isinstance(self.executor, CompiledExecutor):
            return None
        prompt = self._prompts["plain"]
        return self.executor.blank(prompt.tokens, prompt.mask, parts)

    def resume(self, variant: str, editor: Editor, batch: Packed, start: Start) -> Pass:
        """The same as `forward`, taken up from what the run's own pass left; no change of `batch`
        lies before `start`."""
        assert isinstance(self.executor, CompiledExecutor)
        prompt, memory = self._prompts[variant], self._memory(variant)
        width = prompt.tokens.shape[1]
        reads = prompt.reads_of(batch.examples)
        late = self.executor.resume(
            memory,
            batch.examples,
            start.layer,
            editor.edits(batch, width),
            reads if self.reads_few else None,
            start.position,
            context=self._context(batch.examples, width),
            changed=changed(batch, self.run, self.state, start.position) if start.few else None,
        )
        return late if self.reads_few else _at(reads, late, start.position)

    def first_read(self, variant: str) -> int | None:
        """The earliest position that is read, None where all are, or a model looks ahead."""
        reads = self._prompts[variant].reads
        if reads is None or not self.executor.facts.shape.causal:
            return None
        return int(reads.min())

    def measure(
        self,
        examples: Tensor,
        editor: Editor | None = None,
        batch: Packed | None = None,
        start: Callable[[int | None], Start | None] = lambda first_read: None,
    ) -> Tensor:
        """The metrics' values [metrics, R] of rows; `start` tells where a variant is taken up whose
        first read position is given, None for the beginning."""
        logits = {}
        for name in self.reads.variants:
            first = start(self.first_read(name))
            logits[name] = (
                self.forward(name, examples, editor, batch)
                if first is None or editor is None or batch is None
                else self.resume(name, editor, batch, first)
            ).logits
        return self.meter.measure(logits, moved(examples, self.device))

    def _prompt(self, variant: Variant) -> _Prompts:
        mask, reads = variant.mask, variant.reads
        return _Prompts(
            torch.from_numpy(variant.tokens).to(self.device),
            None if mask is None else torch.from_numpy(mask).to(self.device),
            None if reads is None else torch.from_numpy(reads),
        )

    def _memory(self, variant: str) -> Memory:
        """What late passes start from: the run's own pass has left it, else a pass makes it."""
        held = self.state.kept(self.run).memories
        if variant not in held:
            assert isinstance(self.executor, CompiledExecutor)
            prompt = self._prompts[variant]
            width = prompt.tokens.shape[1]
            held[variant] = self.executor.remember(
                prompt.tokens,
                prompt.mask,
                edits=lambda first, stop: self._context(torch.arange(first, stop), width),
                rows=default_rows(width),
            )
        return held[variant]

    def _context(self, examples: Tensor, width: int) -> list[Edit]:
        """The edits of the run's own interventions."""
        return [
            edit
            for context, unit in self._under
            for edit in context.edits(Packed.of_one(unit, examples), width)
        ]


@dataclass(frozen=True)
class _Prompts:
    """Tokens and mask [n, T] on the device; reads [n, r] in the processor's memory."""

    tokens: Tensor
    mask: Tensor | None
    reads: Tensor | None

    def reads_of(self, examples: Tensor) -> Tensor | None:
        return None if self.reads is None else self.reads[examples]


def _at(reads: Tensor | None, found: Pass, first: int) -> Pass:
    """A pass with the logits of positions [R, r] alone, out of those from `first` on."""
    if reads is None:
        return found
    rows = torch.arange(len(reads))[:, None]
    return replace(found, logits=entries(found.logits, rows, reads - first))


def _joined(units: Sequence[Unit]) -> Unit:
    return Unit(tuple(t for u in units for t in u.targets))


def run_forward(task: Forward, ats: Ats, state: State, report: Report) -> None:
    """Run all examples of a task's run once; keep its sites, the values of its metrics and, at the
    positions `ats`, its logits as the reference of other runs."""
    run, kept = task.run, state.kept(task.run)
    reference = state.kept(reference_of(run, state.data[run.data]))
    bench = Bench(run, task.metrics, reference.logits, state, ats, task.reads_few)
    n = state.data[run.data].n
    values = torch.empty(len(task.metrics), n, device=bench.device)
    memory = bench.blank(task.remembers)

    def work(start: int, stop: int) -> None:
        examples = torch.arange(start, stop)
        reading: Reading = "nothing" if task.stops else "metrics"
        found = bench.forward("plain", examples, sites=task.sites, reading=reading, memory=memory)
        for site, x in found.sites.items():
            _store(kept.sites, site, canonical(x), start, n)
        if not task.stops:
            there = moved(examples, bench.device)
            for at in ats:
                _store(kept.logits, at, bench.meter.at(at, found.logits, there), start, n)
            if task.metrics:
                logits = {"plain": found.logits} | {
                    name: bench.forward(name, examples).logits
                    for name in bench.reads.variants
                    if name != "plain"
                }
                values[:, start:stop] = bench.meter.measure(logits, there)
        report.progress(stop, n)

    in_batches(n, task.batch or default_rows(bench.width), work, report.note)
    if memory is not None:
        kept.memories["plain"] = memory
    check_finite(values[:, None], task.metrics, ["the plain run"], f"{run.side} of {run.data}")
    for metric, held in zip(task.metrics, values, strict=True):
        kept.values[metric.term] = held


def _store(held: dict[K, Tensor], key: K, part: Tensor, start: int, n: int) -> None:
    """Put a batch's part into the tensor [n, …] of all examples."""
    if start == 0:
        held[key] = part.new_empty((n, *part.shape[1:]))
    held[key][start : start + len(part)] = part
