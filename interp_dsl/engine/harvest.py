"""Activations in shuffled blocks, from passes that end after the last site that is wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from interp_dsl.data.same import require_same
from interp_dsl.data.stream import Stream, Stretch, tokens_kept
from interp_dsl.engine.batches import default_rows, in_batches
from interp_dsl.engine.forwards import Bench
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State, canonical
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.edits import Edit, entries, moved
from interp_dsl.models.executor import Pass
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.dictionaries import run_of, sites_of
from interp_dsl.plan.places import Site, Target, model_name

Block = dict[Target, Tensor]


def joined(block: Block, targets: Sequence[Target]) -> Tensor:
    """Activations of targets side by side [rows, width]."""
    if len(targets) == 1:
        return block[targets[0]]
    return torch.cat([block[target] for target in targets], 1)


class Harvest:
    """The activations of runs at some targets, each [rows, width]; BOS and padding are left
    out."""

    def __init__(
        self,
        runs: Sequence[Run],
        targets: Sequence[Target],
        state: State,
        seed: int,
        rows: int | None,
        report: Report,
    ) -> None:
        """`runs`: one, or like ones of several models, which read the same tokens (else InterpError
        E426). `rows` prompts go through a model at once. Blocks are made of what `source` gives for
        examples: what the models make of them, where nothing else is set."""
        self.targets, self.runs, self.report = tuple(targets), tuple(runs), report
        self._sites = sites_of(self.runs, targets)
        self.source: Callable[[Tensor], Block] = lambda examples: self.of(examples)[1]
        run, data = runs[0], state.data[runs[0].data].name
        self.about = {
            target: {"model": state.executor(self.run_of(target)).facts.name, "data": data}
            for target in targets
        }
        if len(runs) > 1:
            require_same(data, {model_name(r.model): state.side(r) for r in runs})
        self._benches = {run: Bench(run, (), {}, state) for run in runs}
        self.rows = rows or default_rows(self._bench.width)
        self._tokens = torch.from_numpy(state.side(run).tokens)
        held = [tokens_kept(state.side(r), state.executor(r).facts.bos) for r in runs]
        self._kept = torch.from_numpy(np.logical_and.reduce(held))
        self.stream = Stream(self._kept.sum(1).numpy(), seed)
        if self.stream.a_pass == 0:
            raise InterpError(
                Diagnostic(
                    "E670",
                    f"{state.data[run.data].name} holds no token besides BOS and padding",
                    help="give the dataset text",
                ),
                exit_code=1,
            )

    @property
    def _bench(self) -> Bench:
        return self._benches[self.runs[0]]

    @property
    def device(self) -> torch.device:
        return self._bench.device

    def run_of(self, target: Target) -> Run:
        """The run that a target is read in."""
        return run_of(self.runs, target)

    def through(self, work: Callable[[Tensor], None]) -> None:
        """Call work(examples [B]) for all examples, some at a time, in order. What ran out of
        memory is called again with fewer."""
        total = len(self._kept)

        def some(first: int, last: int) -> None:
            work(torch.arange(first, last))
            self.report.progress(last, total)

        self.rows = in_batches(total, self.rows, some, self.report.note)

    @property
    def predictions(self) -> Tensor:
        """How many tokens of text are predicted in each example."""
        return self._kept[:, 1:].sum(1)

    def predicted(self, examples: Tensor) -> tuple[Tensor, Tensor]:
        """Of examples [B] the next tokens [B, T-1], and which of these are text."""
        held, kept = self._tokens[examples, 1:], self._kept[examples, 1:]
        return moved(kept, self.device), moved(held, self.device)

    def kept(self, examples: Tensor) -> Tensor:
        """Which tokens [B, T] of examples are text."""
        return self._kept[examples]

    def text(self, x: Tensor, examples: Tensor) -> Tensor:
        """Of a captured site of examples [B, T, ...] what is at tokens of text, [rows, ...]."""
        return entries(x, *self.kept(examples).nonzero(as_tuple=True))

    def of(self, examples: Tensor, edits: Sequence[Edit] = ()) -> tuple[Tensor, Block]:
        """The activations of examples under edits, and of which example each is."""
        held: Block = {}
        for run, sites in self._sites.items():
            found = self._benches[run].forward(
                "plain", examples, sites=sites, reading="nothing", more=edits
            )
            held |= self._activations(run, found.sites, examples)
        return self._owners(examples), self._in_order(held)

    def whole(self, examples: Tensor) -> tuple[dict[Run, Tensor], Block]:
        """The logits [B, T, V] of examples in each run, and their activations."""
        logits: dict[Run, Tensor] = {}
        held: Block = {}
        for run in self._sites:
            found, own = self.passed(run, examples)
            logits[run] = found.logits
            held |= own
        return logits, self._in_order(held)

    def passed(
        self, run: Run, examples: Tensor, edits: Sequence[Edit] = (), sites: Sequence[Site] = ()
    ) -> tuple[Pass, Block]:
        """A whole pass of examples, which keeps further sites, and the activations of its targets;
        under edits only the former."""
        own = () if edits else self._sites[run]
        found = self._benches[run].forward(
            "plain", examples, sites=(*own, *sites), reading="everywhere", more=edits
        )
        return found, {} if edits else self._activations(run, found.sites, examples)

    def logits(self, run: Run, examples: Tensor, edits: Sequence[Edit]) -> Tensor:
        """The logits [B, T, V] of examples in a run under edits."""
        return self.passed(run, examples, edits)[0].logits

    def _owners(self, examples: Tensor) -> Tensor:
        return examples.repeat_interleave(self._kept[examples].sum(1))

    def _activations(self, run: Run, sites: Mapping[Site, Tensor], examples: Tensor) -> Block:
        """The captured activations of text in a run, float32."""
        held: Block = {}
        for target in (t for t in self.targets if self.run_of(t) == run):
            x = self.text(canonical(sites[target.site]), examples)
            x = x.flatten(1) if target.index is None else x[:, target.index]
            held[target] = x.float().to(self.device)
        return held

    def _in_order(self, held: Block) -> Block:
        return {target: held[target] for target in self.targets}

    @property
    def sets_precision(self) -> bool:
        """Whether passes multiply in another precision than the process does otherwise."""
        try:
            whole = torch.get_float32_matmul_precision()
        except RuntimeError:  # the process has set it by backend, which torch does not sum up
            return True
        return whole != "highest" or any(b.executor.tf32 for b in self._benches.values())

    def block(self, start: int, stop: int, check: Callable[[], None] = lambda: None) -> Block:
        """The stream's rows start to stop, in their order. `check` is called before every pass, and
        may raise."""
        held: Block = {}
        place = 0
        for stretch in self.stream.stretches(start, stop):
            self._stretch(stretch, held, place, stop - start, check)
            place += stretch.stop - stretch.start
        return held

    def prompts(self, start: int, stop: int) -> Tensor:
        """The stream's examples of these numbers."""
        return torch.from_numpy(self.stream.examples(start, stop - start))

    def order(self, number: int, size: int) -> Tensor:
        """The order in which the rows of block `number` are used."""
        return torch.from_numpy(self.stream.shuffled(number, size)).to(self.device)

    def _stretch(
        self, stretch: Stretch, held: Block, place: int, size: int, check: Callable[[], None]
    ) -> None:
        """Write a stretch's rows to the block from `place` on."""
        ends = np.concatenate([[0], self.stream.counts[stretch.examples].cumsum()])
        examples = torch.from_numpy(np.ascontiguousarray(stretch.examples))

        def work(first: int, last: int) -> None:
            check()
            start, stop = max(stretch.start, ends[first]), min(stretch.stop, ends[last])
            if stop <= start:
                return
            to, own = place - stretch.start, ends[first]
            for target, x in self.source(examples[first:last]).items():
                if target not in held:
                    held[target] = x.new_empty((size, x.shape[1]))
                held[target][to + start : to + stop] = x[start - own : stop - own]

        self.rows = in_batches(len(examples), self.rows, work, self.report.note)
