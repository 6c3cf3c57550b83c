"""Forward passes of one run: its prompts under its own interventions, and more where asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import torch
from torch import Tensor

from interp_dsl.engine.batches import default_rows, in_batches
from interp_dsl.engine.edits import Contexts, Editor
from interp_dsl.engine.late import changed
from interp_dsl.engine.means import behind_first
from interp_dsl.engine.metrics import Meter, Reference
from interp_dsl.engine.packed import Packed
from interp_dsl.engine.reads import Reads, Variant, plan_reads
from interp_dsl.engine.report import Report
from interp_dsl.engine.scores import check_finite
from interp_dsl.engine.state import State, canonical, reference_of
from interp_dsl.geometry.moments import Moments
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.compiled.forward import Rooms
from interp_dsl.models.compiled.memory import Memory
from interp_dsl.models.edits import Edit, entries, moved
from interp_dsl.models.executor import Pass
from interp_dsl.plan.algebra import Metric, Run
from interp_dsl.plan.metrics import reads_outputs, streams
from interp_dsl.plan.places import Positions, Site
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
        reads_answers: bool = False,
    ) -> None:
        """`ats` are positions whose logits are read besides those that the metrics read; without
        `reads_few` all positions are unembedded before these are taken. `reads_answers`: only
        tokens that answers begin with are unembedded."""
        self.state, self.run, self.reads_few = state, run, reads_few
        self.executor = state.executor(run)
        self.device = self.executor.device
        shape = self.executor.facts.shape
        data, side = state.data[run.data], state.side(run)
        self.reads: Reads = plan_reads(data, side, metrics, self.executor.facts, ats)
        own = state.kept(run).streams
        self.meter = Meter(
            self.reads, metrics, shape.d_vocab_out, reference, self.device, reads_answers, own
        )
        self._streams = dict.fromkeys(site for site, _ in streams(metrics))
        self._last = Site("resid_post", shape.n_layers - 1)
        self._reads_outputs = bool(ats) or reads_outputs(metrics)
        self._prompts = {name: self._prompt(v) for name, v in self.reads.variants.items()}
        self.context = Contexts(run, state).edits
        self._rooms = Rooms() if len(self._prompts) == 1 else None

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
        `more`. Logits come from where the metrics read, from all positions or, with the pass ending
        after the last of `sites`, from none. What later passes start from goes into `memory`, whose
        consecutive examples these are."""
        prompt = self._prompts[variant]
        tokens, mask = entries(prompt.tokens, examples), prompt.mask
        mask = None if mask is None else entries(mask, examples)
        edits = self.context(examples, tokens.shape[1])
        if editor is not None and batch is not None:
            edits += editor.edits(batch, tokens.shape[1])
        edits += more
        reads = prompt.reads_of(examples) if reading == "metrics" else None
        wanted = reads if self.reads_few else None
        if reading == "nothing" or (reading == "metrics" and not self._reads_outputs):
            wanted = _nowhere(examples)
        asked = self._asked() if variant == "plain" and reading == "metrics" else {}
        sites = tuple(dict.fromkeys((*sites, *asked.values())))
        if isinstance(self.executor, CompiledExecutor):
            place = slice(int(examples[0]), int(examples[-1]) + 1)
            record = None if memory is None else (memory, place)
            outputs = self.meter.outputs
            found = self.executor.forward(tokens, wanted, edits, sites, mask, record, outputs)
        else:
            found = self.executor.forward(tokens, wanted, edits, sites, mask)
            found = _of(self.meter.outputs, found)
        found = found if self.reads_few else _at(reads, found, 0)
        return _with_streams(found, asked, reads, 0)

    def _asked(self, start: Start | None = None) -> dict[Site | None, Site]:
        """The sites that a pass keeps for the distances that it measures; of one that is taken up
        at a start those that do not lie before it. A pass that can start late gives the stream
        behind the last block by itself."""
        wanted = {site: site or self._last for site in self._streams}
        if self.can_resume:
            wanted.pop(None, None)
        return {k: site for k, site in wanted.items() if start is None or not start.follows(site)}

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
        asked = self._asked(start) if variant == "plain" else {}
        unmoved = dict.fromkeys(self._streams) if variant == "plain" else {}
        if not asked and not self._reads_outputs:
            return Pass(torch.empty(len(batch.examples), 0, 0, device=self.device), {}, unmoved)
        prompt, memory = self._prompts[variant], self._memory(variant)
        width = prompt.tokens.shape[1]
        reads = prompt.reads_of(batch.examples)
        wanted = reads if self.reads_few else None
        late = self.executor.resume(
            memory,
            batch.examples,
            start.layer,
            editor.edits(batch, width),
            wanted if self._reads_outputs else _nowhere(batch.examples),
            start.position,
            sites=tuple(asked.values()),
            context=self.context(batch.examples, width),
            changed=changed(batch, self.run, self.state, start.position) if start.few else None,
            outputs=self.meter.outputs,
            rooms=self._rooms,
            from_mid=start.from_mid,
        )
        late = late if self.reads_few else _at(reads, late, start.position)
        late = replace(late, streams={**unmoved, **late.streams})
        return _with_streams(late, asked, reads, start.position)

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
        found = {}
        for name in self.reads.variants:
            first = start(self.first_read(name))
            found[name] = (
                self.forward(name, examples, editor, batch)
                if first is None or editor is None or batch is None
                else self.resume(name, editor, batch, first)
            )
        logits = {name: one.logits for name, one in found.items()}
        return self.meter.measure(logits, moved(examples, self.device), found["plain"].streams)

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
                edits=lambda first, stop: self.context(torch.arange(first, stop), width),
                rows=default_rows(width),
            )
        return held[variant]


@dataclass(frozen=True)
class _Prompts:
    """Tokens and mask [n, T] on the device; reads [n, r] in the processor's memory."""

    tokens: Tensor
    mask: Tensor | None
    reads: Tensor | None

    def reads_of(self, examples: Tensor) -> Tensor | None:
        return None if self.reads is None else self.reads[examples]


def _at(reads: Tensor | None, found: Pass, first: int) -> Pass:
    """A pass with the logits, and streams, of positions [R, r] alone, out of those from `first`
    on."""
    if reads is None or not found.logits.shape[1]:
        return found
    streams = {k: None if x is None else _read(reads - first, x) for k, x in found.streams.items()}
    return replace(found, logits=_read(reads - first, found.logits), streams=streams)


def _with_streams(
    found: Pass, asked: Mapping[Site | None, Site], reads: Tensor | None, first: int
) -> Pass:
    """A pass with the streams of sites that it kept, at positions [R, r] out of those from `first`
    on."""
    if not asked:
        return found
    where = None if reads is None else reads - first
    kept = {k: _read(where, canonical(found.sites[site])[:, :, 0]) for k, site in asked.items()}
    return replace(found, streams={**found.streams, **kept})


def _nowhere(examples: Tensor) -> Tensor:
    """Reads [R, 0] of no position."""
    return torch.zeros(len(examples), 0, dtype=torch.long)


def _read(reads: Tensor | None, x: Tensor) -> Tensor:
    """x [R, t, …] at positions [R, r]; at all where None."""
    return x if reads is None else entries(x, torch.arange(len(reads))[:, None], reads)


def _of(outputs: Tensor | None, found: Pass) -> Pass:
    """A pass with the logits of some tokens [u] alone."""
    return found if outputs is None else replace(found, logits=found.logits[..., outputs])


def run_forward(task: Forward, ats: Ats, state: State, report: Report) -> None:
    """Run all examples of a task's run once; keep its sites, the values of its metrics and, at the
    positions `ats`, its logits as the reference of other runs."""
    run, kept = task.run, state.kept(task.run)
    reference = state.kept(reference_of(run, state.data[run.data]))
    bench = Bench(
        run, task.metrics, reference.logits, state, ats, task.reads_few, task.reads_answers
    )
    n = state.data[run.data].n
    values = torch.empty(len(task.metrics), n, device=bench.device)
    memory = bench.blank(task.remembers)
    counted = behind_first(state.side(run), bench.device)

    def work(start: int, stop: int) -> None:
        examples = torch.arange(start, stop)
        reading: Reading = "nothing" if task.stops else "metrics"
        found = bench.forward("plain", examples, sites=task.seen, reading=reading, memory=memory)
        for site in task.sites:
            _store(kept.sites, site, canonical(found.sites[site]), start, n)
        if not task.stops:
            there = moved(examples, bench.device)
            for stream in streams(task.metrics):
                own = found.streams[stream[0]]
                assert own is not None
                _store(kept.streams, stream, bench.meter.at(stream[1], own, there), start, n)
            for at in ats:
                _store(kept.logits, at, bench.meter.at(at, found.logits, there), start, n)
            if task.metrics:
                logits = {"plain": found.logits} | {
                    name: bench.forward(name, examples).logits
                    for name in bench.reads.variants
                    if name != "plain"
                }
                values[:, start:stop] = bench.meter.measure(logits, there, found.streams)
        grown = {}
        for target in task.moments:
            x = canonical(found.sites[target.site])[:, :, target.index or 0][counted[start:stop]]
            grown[target] = _grown(kept.moments[target] if start else None, x)
        kept.moments.update(grown)  # none of them where memory ran out: these examples come again
        report.progress(stop, n)

    in_batches(n, task.batch or default_rows(bench.width), work, report.note)
    if memory is not None:
        kept.memories["plain"] = memory
    where = f"{state.data[run.data].name}.{run.side}"
    check_finite(values[:, None], task.metrics, ["the plain run"], where)
    for metric, held in zip(task.metrics, values, strict=True):
        kept.values[metric.term] = held


def _grown(held: Moments | None, x: Tensor) -> Moments:
    """The moments of all examples so far with a batch's activations [m, width]."""
    part = Moments.of(x.cpu() if x.device.type == "mps" else x)  # mps has no float64
    return part if held is None else held + part


def _store(held: dict[K, Tensor], key: K, part: Tensor, start: int, n: int) -> None:
    """Put a batch's part into the tensor [n, …] of all examples."""
    if start == 0:
        held[key] = part.new_empty((n, *part.shape[1:]))
    held[key][start : start + len(part)] = part
