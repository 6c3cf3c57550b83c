"""Which metrics there are and what each of them needs. The functions stand in engine/metrics.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal as OneOf

from interp_dsl.plan.algebra import Literal, Metric, MetricCall, MetricSum, MetricTerm
from interp_dsl.plan.places import Positions, Site

Need = OneOf["answer", "wrong", "reference", "all_positions", "stream"]


@dataclass(frozen=True)
class Param:
    """A keyword argument of a metric: its type's name, its default, what it does and, where only
    some values may stand, those."""

    type: str
    default: float | str | bool | None
    doc: str
    choices: tuple[str, ...] = ()
    is_required: bool = False


@dataclass(frozen=True)
class MetricFacts:
    """What a metric is, read by the checker, the reference pages and the engine.

    `needs`: answer, wrong (of the data), reference (the logits of the undisturbed clean run),
    all_positions (logits everywhere), stream (the residual stream behind the last block or another
    place, in the measured run and in it without the step's own change). `sequence`: reads answers
    of several tokens, teacher-forced.
    `in_logits`: counted in logits, so that half a logit is the least gap worth dividing by.
    `smooth`: has a slope, which estimates from gradients need.
    `compares`: reads the logits of the answers' tokens alone.
    `good`: whether a model that does the task has it large (1) or small (-1), as its distance from
    the reference is; 0 where neither is better."""

    name: str
    doc: str
    needs: frozenset[Need] = frozenset()
    sequence: bool = False
    in_logits: bool = False
    good: int = 1
    smooth: bool = True
    compares: bool = False
    params: dict[str, Param] = field(default_factory=dict)


_ANSWER: frozenset[Need] = frozenset({"answer"})
_BOTH: frozenset[Need] = frozenset({"answer", "wrong"})
_REFERENCE: frozenset[Need] = frozenset({"reference"})

_ALL = (
    MetricFacts(
        "logit_diff",
        "Logit of the answer minus logit of the wrong answer; of a class, the mean of its logits.",
        _BOTH,
        in_logits=True,
        compares=True,
        params={
            "wrong": Param(
                "string",
                "mean",
                "how a class of wrong answers is read: its mean logit, or its largest",
                ("mean", "max"),
            )
        },
    ),
    MetricFacts(
        "logit",
        "Logit of the answer; of a class, the mean.",
        _ANSWER,
        in_logits=True,
        compares=True,
    ),
    MetricFacts(
        "logprob",
        "Log probability of the answer, in nats; of a class, the log of the summed probability; "
        "of a sequence, the sum over its tokens.",
        _ANSWER,
        sequence=True,
    ),
    MetricFacts(
        "logprob_diff",
        "Log probability of the answer minus that of the wrong answer, in nats.",
        _BOTH,
        sequence=True,
        in_logits=True,
    ),
    MetricFacts("prob", "Probability of the answer, summed over a class.", _ANSWER, sequence=True),
    MetricFacts(
        "prob_diff",
        "Probability of the answer minus that of the wrong answer, each summed over its class.",
        _BOTH,
    ),
    MetricFacts(
        "accuracy",
        "1 where the most likely token of the whole vocabulary is an answer, else 0.",
        _ANSWER,
        smooth=False,
    ),
    MetricFacts(
        "rank",
        "Rank of the answer among all tokens, 1 for the most likely; of a class, the best.",
        _ANSWER,
        good=-1,
        smooth=False,
    ),
    MetricFacts(
        "kl",
        "KL divergence from the reference to the measured run, in nats.",
        _REFERENCE,
        good=-1,
    ),
    MetricFacts(
        "js",
        "Jensen-Shannon divergence between the reference and the measured run, in nats.",
        _REFERENCE,
        good=-1,
    ),
    MetricFacts(
        "mean_abs_diff",
        "Mean over the outputs of the absolute difference from the reference run.",
        _REFERENCE,
        good=-1,
    ),
    MetricFacts(
        "distance",
        "L2 distance of a place, at the position read, from what it is without the step's change.",
        frozenset({"stream"}),
        good=-1,
        smooth=False,
        params={
            "place": Param(
                "place", None, "the place; the residual stream behind the last block by default"
            )
        },
    ),
    MetricFacts("entropy", "Entropy of the predicted distribution, in nats.", good=0),
    MetricFacts(
        "loss",
        "Mean next-token cross-entropy over the prompt's real tokens, in nats.",
        frozenset({"all_positions"}),
        good=-1,
    ),
    MetricFacts(
        "python",
        "A number of your own: function(logits [rows, outputs], examples [rows], data) gives one "
        "value a row; needs --trust.",
        smooth=False,
        params={"target": Param("string", None, '"module:function"', is_required=True)},
    ),
)

METRICS: dict[str, MetricFacts] = {m.name: m for m in _ALL}
MOVING = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
"""Sites whose distance can be measured: one vector of width d_model at each position."""


def calls(term: MetricTerm) -> tuple[MetricCall, ...]:
    """The metric functions that a term calls, in order."""
    match term:
        case MetricCall():
            return (term,)
        case MetricSum():
            return tuple(c for t in term.operands for c in calls(t))
        case Literal():
            return ()


def needs(term: MetricTerm) -> frozenset[Need]:
    """All that a term needs of the data and of the plan."""
    return frozenset(n for c in calls(term) for n in METRICS[c.function].needs)


Stream = tuple[Site | None, Positions | None]
"""A place whose distance is measured, None for the stream behind the last block, and where."""


def streams(metrics: Sequence[Metric]) -> tuple[Stream, ...]:
    """What metrics measure the distance of."""
    wanted = (c for m in metrics for c in calls(m.term))
    found = ((c.site, c.at) for c in wanted if "stream" in METRICS[c.function].needs)
    return tuple(dict.fromkeys(found))


def kept(metrics: Sequence[Metric]) -> tuple[Site, ...]:
    """The sites that a pass keeps for metrics to read."""
    return tuple(dict.fromkeys(site for site, _ in streams(metrics) if site is not None))


def reads_outputs(metrics: Sequence[Metric]) -> bool:
    """Whether any of the metrics reads what comes out behind the last block; passes of which none
    is measured are read there too."""
    wanted = [c for m in metrics for c in calls(m.term)]
    return not wanted or any(c.site is None for c in wanted)


def in_logits(term: MetricTerm) -> bool:
    """Whether a term is counted in logits: sums and differences of such terms are."""
    match term:
        case MetricCall():
            return METRICS[term.function].in_logits
        case MetricSum(op=op, operands=operands):
            return op in ("+", "-", "neg") and any(in_logits(t) for t in operands)
        case Literal():
            return False


def good(term: MetricTerm) -> int:
    """Whether a term is large (1) or small (-1) in a model that does the task; 0 where its parts
    do not say the same."""
    match term:
        case MetricCall(function=function):
            return METRICS[function].good
        case MetricSum(op="neg", operands=(inner,)):
            return -good(inner)
        case MetricSum(op=op, operands=(left, right)):
            if isinstance(left, Literal) and isinstance(right, Literal):
                return 0
            if op in ("*", "/"):
                return _scaled(op, left, right)
            signs = {good(left), good(right) * (-1 if op == "-" else 1)} - (
                {0} if isinstance(left, Literal) or isinstance(right, Literal) else set()
            )
            return signs.pop() if len(signs) == 1 else 0
    return 0


def _scaled(op: str, left: MetricTerm, right: MetricTerm) -> int:
    """Of a term times a number, or by one."""
    for number, other in ((right, left), (left, right)):
        if isinstance(number, Literal) and (number is right or op == "*"):
            assert isinstance(number.value, int | float)
            return good(other) * (1 if number.value > 0 else -1 if number.value < 0 else 0)
    return 0
