"""Changes that cannot do anything, seen from the prompts alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from interp_dsl.plan.algebra import Metric, MetricCall
from interp_dsl.plan.metrics import METRICS, calls
from interp_dsl.plan.places import Positions

if TYPE_CHECKING:
    from interp_dsl.data.types import Ints
    from interp_dsl.data.types import Side as Prompts


def why_idle(
    where: Sequence[Positions],
    metrics: Sequence[Metric],
    side: Prompts,
    other: Prompts | None,
) -> str | None:
    """Why moving a causal model's activations at these positions of a side changes nothing in any
    prompt: no metric reads them, or nothing differs up to there from `other`, to which they are
    moved. None where it may change something. Answers of several tokens are read further on."""
    import numpy as np

    if side.mask is not None or any("each" in str(positions) for positions in where):
        return None
    spans = [_span(positions, side) for positions in where]
    wanted = [c for m in metrics for c in calls(m.term)]
    if not {c.at.label for c in wanted if c.at and c.at.label} <= side.labels.keys():
        return None
    read = np.max([_last_read(call, side) for call in wanted], axis=0)
    if all((first > read).all() for first, _ in spans):
        if all(map(_reads_all, wanted)):
            return "what the last token predicts is not read"
        return "it lies behind the position that is read"
    if other is None or len(other.tokens) != len(side.tokens):
        return None
    if all((last < _same_until(side, other)).all() for _, last in spans):
        return "both have the same tokens up to there"
    return None


def _span(positions: Positions, side: Prompts) -> tuple[Ints, Ints]:
    """The first and the last position of each prompt [n]."""
    import numpy as np

    from interp_dsl.data.positions import resolve

    index, valid = resolve(positions, side)
    width = side.tokens.shape[1]
    return np.where(valid, index, width).min(1), np.where(valid, index, -1).max(1)


def _reads_all(call: MetricCall) -> bool:
    return "all_positions" in METRICS[call.function].needs


def _last_read(call: MetricCall, side: Prompts) -> Ints:
    """The last position of each prompt [n] that a metric reads: of all tokens the last but one, as
    none follows the last."""
    if _reads_all(call):
        return side.lengths - 2
    return side.read if call.at is None else _span(call.at, side)[1]


def _same_until(side: Prompts, other: Prompts) -> Ints:
    """The first position at which the prompts of two sides differ [n]."""
    import numpy as np

    width = min(side.tokens.shape[1], other.tokens.shape[1])
    differs = side.tokens[:, :width] != other.tokens[:, :width]
    found: Ints = np.where(differs.any(1), differs.argmax(1), width)
    return found
