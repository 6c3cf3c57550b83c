"""Which prompts are run and which of their logits are read, for a side and some metrics.

Most metrics read the prompts as they are. An answer of several tokens is teacher-forced: the prompt
is extended by all of the answer but its last token, and the logits are read at the prompt's last
token and at every token added. The wrong answer needs prompts of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interp_dsl.data.positions import resolve
from interp_dsl.data.types import Answer, Data, Ints, Side
from interp_dsl.engine.state import token_text
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.shape import ModelFacts
from interp_dsl.plan.algebra import Metric, MetricCall
from interp_dsl.plan.metrics import METRICS, calls
from interp_dsl.plan.places import Positions

SEQUENCE_METRICS = tuple(m.name for m in METRICS.values() if m.sequence)


@dataclass(frozen=True)
class Variant:
    """Prompts to run: `name` is plain, answer or wrong; tokens [n, T]; mask [n, T] or None;
    reads [n, r] positions whose logits are read, None for all; `slots` tells which column of
    `reads` a metric's `at` is (plain only)."""

    name: str
    tokens: Ints
    mask: NDArray[np.bool_] | None
    reads: Ints | None
    slots: dict[Positions | None, int]


@dataclass(frozen=True)
class Reads:
    """The variants of a side's prompts that its metrics need, by name."""

    data: Data
    side: Side
    variants: dict[str, Variant]


def plan_reads(
    data: Data,
    side: Side,
    metrics: Sequence[Metric],
    facts: ModelFacts,
    ats: Sequence[Positions | None] = (),
) -> Reads:
    """What has to be run and read on a side so that every metric has its logits, and `ats` too;
    the prompts as they are always come first. Raises InterpError E620 to E624 for metrics that
    the data does not suit."""
    wanted = [c for m in metrics for c in calls(m.term)]
    causal = facts.shape.causal
    variants = {"plain": _plain(side, wanted, ats, causal)}
    for call in wanted:
        check(call, data, token_text(facts))
        if reads_sequence(call, data):
            for name in sorted(METRICS[call.function].needs):
                if name not in variants:
                    variants[name] = _forced(name, _answers(data, name), side, causal)
    return Reads(data, side, variants)


def reads_sequence(call: MetricCall, data: Data) -> bool:
    """Whether a metric reads answers of several tokens."""
    facts = METRICS[call.function]
    return facts.sequence and any(
        a.is_sequence for need in facts.needs for a in _answers(data, need)
    )


def check(call: MetricCall, data: Data, describe: Callable[[int], str]) -> None:
    """Raise InterpError where a metric cannot read this data's answers; `describe` shows a
    token."""
    facts = METRICS[call.function]
    for need in ("answer", "wrong"):
        if need not in facts.needs:
            continue
        answers = _answers(data, need)
        if not answers:
            raise InterpError(
                Diagnostic(
                    "E620",
                    f"{call.function} needs {_NAMES[need]}, and {data.name} has none",
                    help=f"give the dataset `{need}`, or measure kl(), which needs no answer",
                )
            )
        long = next((a for a in answers if a.is_sequence), None)
        if long and not facts.sequence:
            raise InterpError(
                Diagnostic(
                    "E621",
                    f"{call.function} reads answers of one token, and {data.name} has longer ones",
                    notes=(f"{_NAMES[need]} of an example is the tokens {_shown(long, describe)}",),
                    help=f"{', '.join(SEQUENCE_METRICS)} read a sequence, token after token",
                )
            )
        if any(a.is_sequence for a in answers) and any(len(a.alternatives) > 1 for a in answers):
            raise InterpError(
                Diagnostic(
                    "E622",
                    f"{data.name} has answers that are both a class and of several tokens",
                    notes=("a sequence is read for one answer at a time",),
                    help="give each example one answer, or a class of single tokens",
                )
            )


_NAMES = {"answer": "an answer", "wrong": "a wrong answer"}


def _shown(answer: Answer, describe: Callable[[int], str]) -> str:
    return " or ".join("|".join(map(describe, a)) for a in answer.alternatives)


def _answers(data: Data, need: str) -> tuple[Answer, ...]:
    return (data.answers if need == "answer" else data.wrongs) or ()


def _plain(
    side: Side, wanted: Sequence[MetricCall], ats: Sequence[Positions | None], causal: bool
) -> Variant:
    at = list(dict.fromkeys([*(c.at for c in wanted), *ats])) or [None]
    columns = [_read_column(side, p) for p in at]
    everywhere = any("all_positions" in METRICS[c.function].needs for c in wanted)
    reads = None if everywhere else np.stack(columns, axis=1)
    slots = {p: i for i, p in enumerate(at)}
    return Variant("plain", side.tokens, _mask(side, causal), reads, slots)


def _read_column(side: Side, at: Positions | None) -> Ints:
    if at is None:
        return side.read
    index, valid = resolve(at, side)
    if index.shape[1] != 1 or not valid.all():
        raise InterpError(
            Diagnostic(
                "E623",
                f"a metric reads one position, and {at} is several or none in some prompts",
                help=f"pick one token, such as {at}.last",
            )
        )
    column: Ints = index[:, 0]
    return column


def read_positions(side: Side, slots: dict[Positions | None, int]) -> Ints:
    """The positions [n, slots] at which a side's plain metrics are read."""
    return np.stack([_read_column(side, at) for at in slots], axis=1)


def _mask(side: Side, causal: bool) -> NDArray[np.bool_] | None:
    """What may be attended to; None where a causal model's right padding needs no mask."""
    if side.mask is None and causal:
        return None
    if side.mask is not None:
        return side.mask
    real: NDArray[np.bool_] = np.arange(side.tokens.shape[1])[None] < side.lengths[:, None]
    return real


def _forced(name: str, answers: Sequence[Answer], side: Side, causal: bool) -> Variant:
    sequences = [a.alternatives[0] for a in answers]
    extra = max(map(len, sequences)) - 1
    if not causal or not np.array_equal(side.read, side.lengths - 1) or side.mask is not None:
        raise InterpError(
            Diagnostic(
                "E624",
                "an answer of several tokens can only follow the end of the prompt",
                notes=(
                    "it is read token after token, which needs a causal model without a mask of "
                    "the data's own, and prompts that end where the answer begins",
                ),
                help="cut the prompts before the answer, or name answers of one token",
            )
        )
    tokens = np.concatenate([side.tokens, np.repeat(side.tokens[:, :1], extra, axis=1)], axis=1)
    for row, sequence in enumerate(sequences):
        end = side.lengths[row]
        tokens[row, end : end + len(sequence) - 1] = sequence[:-1]
    reads = side.read[:, None] + np.arange(extra + 1)[None]
    return Variant(name, tokens, None, np.minimum(reads, tokens.shape[1] - 1), {})
