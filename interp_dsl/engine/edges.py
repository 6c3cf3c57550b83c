"""A run on the edge-patched forward: its prompts, what stands where an edge is out, its metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from interp_dsl.circuits.forward import EdgeForward, spanned
from interp_dsl.circuits.setting import Setting
from interp_dsl.data.positions import check_aligned
from interp_dsl.engine.batches import in_batches
from interp_dsl.engine.edge_places import marks
from interp_dsl.engine.edits import Contexts
from interp_dsl.engine.metrics import Meter
from interp_dsl.engine.reads import plan_reads
from interp_dsl.engine.sources import draws
from interp_dsl.engine.state import State, reference_of, token_text
from interp_dsl.engine.vectors import basis
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.edits import Edit, moved
from interp_dsl.models.graph import Graph
from interp_dsl.plan.algebra import (
    Constant,
    Edges,
    FromRun,
    Mean,
    Metric,
    Resample,
    Run,
    Source,
    Vector,
    Zero,
)
from interp_dsl.plan.memory import WRITTEN
from interp_dsl.plan.places import ALL, Positions


class EdgeBench:
    """One run with the edges of a graph. `tokens`, `mask` [n, T] and `reads` [n, r] are on the
    device, as circuits.forward takes them."""

    def __init__(
        self,
        run: Run,
        source: Source,
        edges: Edges,
        direct: bool,
        metrics: Sequence[Metric],
        state: State,
        note: Callable[[str], None],
        along: Sequence[Vector] = (),
        places: Sequence[Positions] = (),
        reads_answers: bool = False,
    ) -> None:
        """`along`: only the component in the span of these is out, of what senders write in the run
        itself. `places`: of a graph by position. `reads_answers`: only the tokens that answers
        begin with are unembedded. Raises InterpError E650, E651, E658, and E411 to
        E414 for places that the source's prompts have elsewhere."""
        self.state, self.run, self.source, self.note = state, run, source, note
        executor = state.executor(run)
        if not isinstance(executor, CompiledExecutor):
            raise _hooked(executor.facts.name, executor.remark)
        shape = executor.facts.shape
        self.executor = executor
        named = tuple(map(str, places))
        self.graph = Graph(shape, edges.split_qkv, edges.split_embed, direct, named)
        data, side = state.data[run.data], state.side(run)
        reads = plan_reads(data, side, metrics, executor.facts)
        if len(reads.variants) > 1:
            raise _sequences(data.name)
        reference = state.kept(reference_of(run, data)).logits
        about = (reads, metrics, shape.d_vocab_out, reference, executor.device)
        self.meter = Meter(*about, reads_answers=reads_answers)
        tokens = self.meter.outputs
        self.forward = EdgeForward(executor.model, self.graph, executor.tf32, tokens)
        plain = reads.variants["plain"]
        self.n, self.width = plain.tokens.shape
        self.tokens = torch.from_numpy(plain.tokens).to(executor.device)
        self.mask = None if plain.mask is None else torch.from_numpy(plain.mask).to(executor.device)
        self.reads = (
            None if plain.reads is None else torch.from_numpy(plain.reads).to(executor.device)
        )
        self.places = marks(places, run, self.width, state) if places else None
        other = state.side(source.run) if isinstance(source, FromRun) else side
        for place in places:
            check_aligned(place, other, side, token_text(executor.facts))
        span = basis(along, state)
        self._basis = None if span is None else span.to(executor.device, executor.dtype)
        self._contexts: dict[Run, Contexts] = {}
        self._mean: Tensor | None = None
        self._all: Tensor | None = None

    @property
    def rows(self) -> int:
        """Examples of a batch."""
        numbers: int = len(self.graph.senders) * self.width * self.graph.shape.d_model
        return max(1, WRITTEN // numbers)

    def edits(self, run: Run, examples: Tensor, width: int) -> list[Edit]:
        """What holds throughout in a run, of rows of these examples."""
        if not run.under:
            return []
        if run not in self._contexts:
            self._contexts[run] = Contexts(run, self.state)
        return self._contexts[run].edits(examples.cpu(), width)

    def values(self, logits: Tensor, examples: Tensor) -> Tensor:
        """The metrics [metrics, …, B] of logits [..., B, r, d_vocab_out]."""
        lead = logits.shape[:-3]
        rows = examples.repeat(lead.numel())
        found = self.meter.measure({"plain": logits.float().flatten(0, -3)}, rows)
        return found.view(len(found), *lead, len(examples))

    def setting(self, metric: int, sign: int = 1) -> Setting:
        """All examples at once, judged by one of the metrics times a sign."""
        examples = torch.arange(self.n, device=self.tokens.device)

        def values(logits: Tensor) -> Tensor:
            return sign * self.values(logits, examples)[metric]

        if self._all is None:
            self._all = self.ablated(examples)
        about = (self.forward, self.tokens, self._all, values, self.reads, self.mask)
        return Setting(*about, places=self.places)

    def forget(self) -> None:
        """Drop what `setting` keeps: it can be made again."""
        self._all = None

    def ablated(self, examples: Tensor) -> Tensor:
        """What stands where an edge is out [S, B, T, D], for these examples; an axis has size 1
        where it is the same for all."""
        if self._basis is None:
            return self._ablated(examples)
        mine = self.forward.outputs(self.tokens[examples], _of(self.mask, examples))
        return mine + spanned(self._ablated(examples) - mine, self._basis)

    def _ablated(self, examples: Tensor) -> Tensor:
        """The same without regard to a direction."""
        shape = self.graph.shape
        match self.source:
            case Zero():
                return self._constant(0.0)
            case Constant(value=value):
                return self._constant(value)
            case FromRun(run=run):
                describe = token_text(self.executor.facts)
                check_aligned(ALL, self.state.side(run), self.state.side(self.run), describe)
                return self._outputs(run, examples)
            case Resample(run=run, seed=seed):
                return self._drawn(run, draws(run, self.run, seed, self.state), examples)
            case Mean(run=run, per=per):
                if self._mean is None:
                    self._mean = self._averaged(run, per)
                return self._mean
        raise AssertionError(f"the checker lets no {self.source} stand for edges of {shape.family}")

    def _constant(self, value: float) -> Tensor:
        shape = (len(self.graph.senders), 1, 1, self.graph.shape.d_model)
        return torch.full(shape, value, device=self.executor.device, dtype=self.executor.dtype)

    def _outputs(self, run: Run, examples: Tensor) -> Tensor:
        """What senders write in another run [S, B, T, D], as many positions as this one has."""
        side = self.state.side(run)
        rows = examples.cpu()
        tokens = torch.from_numpy(side.tokens)[rows].to(self.executor.device)
        mask = None
        if self.mask is not None:
            lengths = torch.from_numpy(side.lengths)[rows]
            seen = torch.arange(tokens.shape[1])[None] < lengths[:, None]
            seen = seen if side.mask is None else torch.from_numpy(side.mask)[rows]
            mask = seen.to(self.executor.device)
        found = self.forward.outputs(tokens, mask, self.edits(run, rows, tokens.shape[1]))
        missing = self.width - found.shape[2]
        if missing > 0:
            return torch.nn.functional.pad(found, (0, 0, 0, missing))
        return found[:, :, : self.width]

    def _drawn(self, run: Run, drawn: Tensor, examples: Tensor) -> Tensor:
        """Of the examples drawn for these, which must be as long."""
        rows = examples.cpu()
        ours = torch.from_numpy(self.state.side(self.run).lengths)[rows]
        theirs = torch.from_numpy(self.state.side(run).lengths)[drawn[rows]]
        if not bool((ours == theirs).all()):
            example = int(rows[(ours != theirs).nonzero()[0, 0]])
            raise InterpError(
                Diagnostic(
                    "E632",
                    f"prompt {example} of {self.run.side} does not answer to prompt "
                    f"{int(drawn[example])} of {run.side}, which its values come from",
                    notes=("the two have different numbers of tokens",),
                    help="use prompts of one length, or mean(SIDE, per=all)",
                )
            )
        return self._outputs(run, drawn[rows])

    def _averaged(self, run: Run, per: str) -> Tensor:
        """The mean over a run's examples [S, 1, T, D], by position; or over all its real tokens
        [S, 1, 1, D]."""
        side = self.state.side(run)
        lengths = torch.from_numpy(side.lengths)
        n = len(lengths)
        if per == "position":
            self._check_alike(lengths, run)
        total = torch.zeros((), device=self.executor.device)
        dtype = torch.promote_types(self.executor.dtype, torch.float32)
        real = torch.arange(self.width)[None] < lengths[:, None]

        def work(start: int, stop: int) -> None:
            nonlocal total
            found = self._outputs(run, torch.arange(start, stop)).to(dtype)
            kept = moved(real[start:stop], found.device)[None, :, :, None]
            total = total + (found * kept).sum(1, keepdim=True)

        in_batches(n, self.rows, work, self.note)
        if per == "position":
            return (total / n).to(self.executor.dtype)
        return (total.sum(2, keepdim=True) / int(real.sum())).to(self.executor.dtype)

    def _check_alike(self, lengths: Tensor, run: Run) -> None:
        ours = int(torch.from_numpy(self.state.side(self.run).lengths).max())
        shortest, longest = int(lengths.min()), int(lengths.max())
        if shortest == longest and longest >= ours:
            return
        why = f"its prompts have {shortest} to {longest} tokens, those of {self.run.side} {ours}"
        raise InterpError(
            Diagnostic(
                "E634",
                f"a mean of {run.side} per position needs prompts that align",
                notes=(why,),
                help="say mean(SIDE, per=all)",
            )
        )


def _of(x: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if x is None else x[rows]


def _hooked(name: str, remark: str | None) -> InterpError:
    return InterpError(
        Diagnostic(
            "E650",
            f"{name} runs by TransformerLens's hooks, which take no edges out",
            notes=(remark,) if remark else (),
            help="use a model of the families that run compiled; `interp doctor` lists them",
        ),
        exit_code=1,
    )


def _sequences(data: str) -> InterpError:
    return InterpError(
        Diagnostic(
            "E651",
            f"a metric reads answers of several tokens of {data}, and edges are changed in "
            "passes of the prompts alone",
            help="use answers of one token, or measure kl()",
        ),
        exit_code=1,
    )
