"""Metrics: a number per row of a batch, in float32, from the logits at the positions read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from interp_dsl.data.types import Answer
from interp_dsl.engine.own import own_metric
from interp_dsl.engine.reads import Reads, read_positions, reads_sequence
from interp_dsl.engine.references import Needed, References, few_at_once
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.plan.algebra import Literal, Metric, MetricCall, MetricSum, MetricTerm
from interp_dsl.plan.metrics import METRICS, Stream, calls
from interp_dsl.plan.places import Positions, Site

Reference = Mapping[Positions | None, Tensor]
"""The reference run's logits [n, d_vocab_out] at each `at` that a metric reads."""
Streams = Mapping[Stream, Tensor]
"""A run's own vectors [n, d_model] at the places, and the positions, that distances are of."""


@dataclass(frozen=True)
class Classes:
    """Token classes of n examples: ids, valid [n, most alternatives]."""

    ids: Tensor
    valid: Tensor

    def of(self, logits: Tensor, rows: Tensor, fill: float) -> Tensor:
        """Values of the classes' members in logits [R, V]; `fill` where a class is shorter."""
        return logits.gather(1, self.ids[rows]).masked_fill(~self.valid[rows], fill)

    def mean(self, logits: Tensor, rows: Tensor) -> Tensor:
        return self.of(logits, rows, 0.0).sum(1) / self.valid[rows].sum(1)

    def max(self, logits: Tensor, rows: Tensor) -> Tensor:
        return self.of(logits, rows, -torch.inf).amax(1)

    def logprob(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Log of the class's summed probability."""
        return self.of(logits.log_softmax(1), rows, -torch.inf).logsumexp(1)


@dataclass(frozen=True)
class Rows:
    """What a metric function sees: logits [R, V] at its position, the example of each row, the
    answers, and the reference where it needs one."""

    logits: Tensor
    examples: Tensor
    answer: Classes | None
    wrong: Classes | None
    reference: References | None

    @property
    def to_answer(self) -> Classes:
        assert self.answer is not None
        return self.answer

    @property
    def to_wrong(self) -> Classes:
        assert self.wrong is not None
        return self.wrong

    @property
    def to_reference(self) -> References:
        assert self.reference is not None
        return self.reference

    def slices(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits and examples of a few rows at a time, in order."""
        size = few_at_once(self.logits)
        return zip(torch.split(self.logits, size), torch.split(self.examples, size), strict=True)


def _logit_diff(r: Rows, wrong: str = "mean") -> Tensor:
    other = r.to_wrong.max if wrong == "max" else r.to_wrong.mean
    return r.to_answer.mean(r.logits, r.examples) - other(r.logits, r.examples)


def _logprob(r: Rows) -> Tensor:
    return r.to_answer.logprob(r.logits, r.examples)


def _logprob_diff(r: Rows) -> Tensor:
    return _logprob(r) - r.to_wrong.logprob(r.logits, r.examples)


def _accuracy(r: Rows) -> Tensor:
    best = r.logits.argmax(1, keepdim=True)
    classes = r.to_answer
    hit = (classes.ids[r.examples] == best) & classes.valid[r.examples]
    return hit.any(1).float()


def _rank(r: Rows) -> Tensor:
    best = r.to_answer.max(r.logits, r.examples)
    return 1.0 + (r.logits > best[:, None]).sum(1).float()


def _distribution(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities q [n, V] of logits [n, V], and their `_sums`."""
    q = logits.softmax(1)
    return q, *_sums(logits, q)


def _sums(logits: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """log Σ exp(x) and Σ q x [R] of logits x [R, V] less the greatest."""
    x = logits - logits.amax(1, keepdim=True)
    expected = (q * x).sum(1)
    return x.exp_().sum(1).log(), expected


def _kl(logits: Tensor, q: Tensor, q_total: Tensor, q_expected: Tensor) -> Tensor:
    """KL(q || p) = log Σ exp(x) − log Σ exp(y) − Σ q (x − y) of logits x of p and y of q."""
    total, expected = _sums(logits, q)
    return (total - q_total) - (expected - q_expected)


def _js(logits: Tensor, log_q: Tensor) -> Tensor:
    log_p = logits.log_softmax(1)
    middle = torch.logaddexp(log_p, log_q) - math.log(2)
    return (_divergence(log_p, middle) + _divergence(log_q, middle)) / 2


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of log probabilities [R, V]."""
    found: Tensor = torch.linalg.vecdot(p.exp(), p - q)
    return found


def _mean_abs_diff(r: Rows) -> Tensor:
    found = [(x - r.to_reference.of_each(at)).abs().mean(1) for x, at in r.slices()]
    return torch.cat(found)


def _entropy(logits: Tensor) -> Tensor:
    log_p = logits.log_softmax(1)
    return -(log_p.exp() * log_p).nan_to_num(0.0).sum(1)


def _sliced(measure: Callable[[Tensor], Tensor]) -> Callable[[Rows], Tensor]:
    """What passes over all outputs several times, slice by slice."""
    return lambda rows: torch.cat([measure(logits) for logits, _ in rows.slices()])


def _compared(measure: Callable[..., Tensor], needed: Needed) -> Callable[[Rows], Tensor]:
    """The same of what takes what it needs of a reference too."""

    def measured(rows: Rows) -> Tensor:
        reference = rows.to_reference
        reference.prepare(needed, len(rows.examples))
        return torch.cat([measure(x, *reference.of(needed, at)) for x, at in rows.slices()])

    return measured


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "logit_diff": _logit_diff,
    "logit": lambda r: r.to_answer.mean(r.logits, r.examples),
    "logprob": _logprob,
    "logprob_diff": _logprob_diff,
    "prob": lambda r: _logprob(r).exp(),
    "prob_diff": lambda r: _logprob(r).exp() - r.to_wrong.logprob(r.logits, r.examples).exp(),
    "accuracy": _accuracy,
    "rank": _rank,
    "kl": _compared(_kl, _distribution),
    "js": _compared(_js, lambda logits: (logits.log_softmax(1),)),
    "mean_abs_diff": _mean_abs_diff,
    "entropy": _sliced(_entropy),
}


@dataclass(frozen=True)
class Seen:
    """What passes of some rows gave: logits [R, r, V] by variant, `examples` [R], and of the plain
    one the places whose distance is measured [R, r, d_model], None where nothing has moved."""

    logits: Mapping[str, Tensor]
    examples: Tensor
    streams: Mapping[Site | None, Tensor | None]


class Meter:
    """Measures metrics on rows of one side. `reference` holds logits where a metric needs them.
    `outputs` [u]: the tokens whose logits it takes, None for all."""

    def __init__(
        self,
        reads: Reads,
        metrics: Sequence[Metric],
        d_vocab_out: int,
        reference: Reference,
        device: torch.device,
        reads_answers: bool = False,
        streams: Streams | None = None,
    ) -> None:
        """`streams` are the run's own, which distances start from."""
        self.reads = reads
        self.streams: Streams = {} if streams is None else streams
        self.metrics = tuple(metrics)
        self.reference = reference
        self._references: dict[Positions | None, References] = {}
        self.device = device
        self.outputs = (
            torch.tensor(reads.data.answer_tokens, device=device) if reads_answers else None
        )
        self._answers = {
            "answer": _classes(reads.data.answers, d_vocab_out, device, self.outputs),
            "wrong": _classes(reads.data.wrongs, d_vocab_out, device, self.outputs),
        }
        self._positions = torch.from_numpy(
            read_positions(reads.side, reads.variants["plain"].slots)
        ).to(device)

    def measure(
        self,
        logits: Mapping[str, Tensor],
        examples: Tensor,
        streams: Mapping[Site | None, Tensor | None] | None = None,
    ) -> Tensor:
        """Values [metrics, R] of rows whose logits [R, r, V] each variant gave, and the plain one
        the `streams` [R, r, d_model] of Pass."""
        seen = Seen(logits, examples, streams or {})
        return torch.stack([self._term(m.term, seen) for m in self.metrics])

    def _term(self, term: MetricTerm, seen: Seen) -> Tensor:
        match term:
            case Literal(value=value):
                assert isinstance(value, int | float)
                return torch.full((len(seen.examples),), float(value), device=self.device)
            case MetricCall():
                return self._call(term, seen)
            case MetricSum(op=op, operands=operands):
                return ARITHMETIC[op](*[self._term(t, seen) for t in operands])

    def _call(self, call: MetricCall, seen: Seen) -> Tensor:
        logits, examples = seen.logits, seen.examples
        if reads_sequence(call, self.reads.data):
            scores = {
                name: self._sequence(name, logits[name], examples)
                for name in METRICS[call.function].needs
            }
            return SEQUENCES[call.function](**scores)
        if call.function == "distance":
            moved = seen.streams[call.site]
            if moved is None:
                return torch.zeros(len(examples), device=self.device)
            before = self.streams[call.site, call.at][examples]
            return (self.at(call.at, moved, examples) - before).float().square().sum(1).sqrt()
        if call.function == "loss":
            return self._loss(logits["plain"], examples)
        if call.function == "python":
            logits_at = self.at(call.at, logits["plain"], examples)
            return own_metric(call, logits_at, examples, self.reads.data)
        refers = "reference" in METRICS[call.function].needs
        rows = Rows(
            self.at(call.at, logits["plain"], examples),
            examples,
            self._answers["answer"],
            self._answers["wrong"],
            self._compared_with(call.at) if refers else None,
        )
        return FUNCTIONS[call.function](rows, **dict(call.arguments))

    def _compared_with(self, at: Positions | None) -> References:
        logits, held = self.reference[at], self._references.get(at)
        if held is None or held.logits is not logits:
            held = self._references[at] = References(logits)
        return held

    def at(self, at: Positions | None, plain: Tensor, examples: Tensor) -> Tensor:
        """Logits [R, V], or vectors, of the plain variant at a metric's position."""
        variant = self.reads.variants["plain"]
        slot = variant.slots[at]
        if variant.reads is not None:
            return plain[:, slot]
        where = self._positions[examples, slot]
        return plain[torch.arange(len(plain), device=plain.device), where]

    def _sequence(self, name: str, logits: Tensor, examples: Tensor) -> Tensor:
        """Log probability of each row's whole answer: the sum over its tokens."""
        answers = self.reads.data.answers if name == "answer" else self.reads.data.wrongs
        assert answers is not None
        tokens = [answers[i].alternatives[0] for i in examples.tolist()]
        ids = torch.zeros(logits.shape[:2], dtype=torch.long)
        for row, sequence in enumerate(tokens):
            ids[row, : len(sequence)] = torch.tensor(sequence)
        lengths = torch.tensor([len(t) for t in tokens], device=self.device)
        steps = torch.arange(ids.shape[1], device=self.device)
        scores = logits.log_softmax(2).gather(2, ids.to(self.device)[..., None])[..., 0]
        return scores.masked_fill(steps[None] >= lengths[:, None], 0.0).sum(1)

    def _loss(self, logits: Tensor, examples: Tensor) -> Tensor:
        side = self.reads.side
        tokens = torch.from_numpy(side.tokens).to(self.device)[examples][:, 1:]
        lengths = torch.from_numpy(side.lengths).to(self.device)[examples]
        if int(tokens.max()) >= logits.shape[2]:
            raise _no_output(int(tokens.max()), logits.shape[2], "loss")
        scores = logits[:, :-1].log_softmax(2).gather(2, tokens[..., None])[..., 0]
        padding = torch.arange(1, logits.shape[1], device=self.device)[None] >= lengths[:, None]
        return -scores.masked_fill(padding, 0.0).sum(1) / (lengths - 1)


ARITHMETIC: dict[str, Callable[..., Tensor]] = {
    "+": torch.add,
    "-": torch.sub,
    "*": torch.mul,
    "/": torch.div,
    "neg": torch.neg,
}
SEQUENCES: dict[str, Callable[..., Tensor]] = {
    "logprob": lambda answer: answer,
    "logprob_diff": lambda answer, wrong: answer - wrong,
    "prob": lambda answer: answer.exp(),
}


def reference_reads(metrics: Sequence[Metric]) -> tuple[Positions | None, ...]:
    """Where metrics read the reference's logits."""
    wanted = (c for m in metrics for c in calls(m.term))
    return tuple(dict.fromkeys(c.at for c in wanted if "reference" in METRICS[c.function].needs))


def _classes(
    answers: Sequence[Answer] | None,
    d_vocab_out: int,
    device: torch.device,
    outputs: Tensor | None,
) -> Classes | None:
    """Classes by first token, as ids or as places in the sorted `outputs`; a sequence is read
    elsewhere."""
    if not answers:
        return None
    members = [[a[0] for a in answer.alternatives] for answer in answers]
    ids = torch.zeros(len(members), max(map(len, members)), dtype=torch.long)
    valid = torch.zeros_like(ids, dtype=torch.bool)
    for row, tokens in enumerate(members):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        valid[row, : len(tokens)] = True
    if int(ids.max()) >= d_vocab_out:
        raise _no_output(int(ids.max()), d_vocab_out, "an answer")
    ids, valid = ids.to(device), valid.to(device)
    if outputs is not None:
        ids = torch.searchsorted(outputs, ids).clamp(max=len(outputs) - 1)  # 0 may stand for none
    return Classes(ids, valid)


def _no_output(token: int, d_vocab_out: int, who: str) -> InterpError:
    return InterpError(
        Diagnostic(
            "E625",
            f"{who} needs the model's output for token {token}, and it has {d_vocab_out} outputs",
            help="measure answers that the model can give, counted from 0",
        )
    )
