"""Changes that do nothing, against what is read and what differs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from interp_dsl.check.noops import why_idle
from interp_dsl.data.types import Side
from interp_dsl.plan.algebra import Metric, MetricCall
from interp_dsl.plan.places import ALL, EACH, Positions

READ, SAME = "it lies behind the position that is read", "both have the same tokens up to there"
LOSS = "what the last token predicts is not read"
KL = (Metric("kl", MetricCall("kl")),)
LAST = Positions("last")


def at(index: int) -> Positions:
    return Positions("index", index=index)


def side() -> Side:
    """Two prompts of 5 and 4 tokens, read at their third."""
    tokens = np.array([[1, 2, 3, 4, 5], [6, 7, 8, 9, 0]])
    labels = {"S": np.array([[1, 2], [2, 3]])}
    return Side("clean", tokens, np.array([5, 4]), np.array([2, 2]), labels)


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ((at(3),), READ),
        ((LAST,), READ),
        ((at(2),), None),
        ((at(3), at(1)), None),
        ((ALL,), None),
        ((EACH,), None),
    ],
)
def test_what_is_behind_the_answer(where: tuple[Positions, ...], why: str | None) -> None:
    assert why_idle(where, KL, side(), None) == why


def test_metrics_that_read_elsewhere() -> None:
    for call in (MetricCall("loss"), MetricCall("logit", at=LAST)):
        assert why_idle((at(3),), (*KL, Metric("m", call)), side(), None) is None
    early = Metric("m", MetricCall("distance", at=at(1)))
    assert why_idle((at(2),), (early,), side(), None) == READ
    assert why_idle((at(2),), (*KL, early), side(), None) is None
    unknown = Metric("m", MetricCall("kl", at=Positions("label", label="T", pick="last")))
    assert why_idle((at(3),), (unknown,), side(), None) is None


def test_loss_reads_no_prediction_of_the_last_token() -> None:
    """The prompts are of 5 and 4 tokens."""
    loss = (Metric("loss", MetricCall("loss")),)
    for where, why in ((LAST, LOSS), (at(4), LOSS), (at(3), None), (at(2), None)):
        assert why_idle((where,), loss, side(), None) == why
    assert why_idle((LAST,), (*KL, *loss), side(), None) == READ


@pytest.mark.parametrize(
    ("where", "why"),
    [((at(0),), SAME), ((at(1),), None), ((Positions("label", label="S"),), None), ((ALL,), None)],
)
def test_what_is_the_same_on_both_sides(where: tuple[Positions, ...], why: str | None) -> None:
    """The first prompts differ from token 1 on, the second from token 3 on."""
    other = side().tokens.copy()
    other[0, 1], other[1, 3] = 20, 20
    assert why_idle(where, KL, side(), replace(side(), tokens=other)) == why


def test_a_mask_of_the_data_is_not_looked_through() -> None:
    masked = replace(side(), mask=np.ones((2, 5), dtype=bool))
    assert why_idle((at(3),), KL, masked, None) is None
