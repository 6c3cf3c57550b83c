"""What stands where an edge is out, against plain passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.data.types import Answer, Data
from interp_dsl.engine.edges import EdgeBench
from interp_dsl.engine.sources import draws
from interp_dsl.engine.state import State
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.graph import Graph
from interp_dsl.plan.algebra import (
    Constant,
    Edges,
    FromRun,
    Mean,
    Metric,
    MetricCall,
    Resample,
    Run,
    Source,
    Zero,
)
from tests.circuits.models import executor_of
from tests.circuits.plain import Plain

from .plans import CLEAN, CORRUPT, GAP
from .tiny import Tiny, pairs, side, singles

DATA = pairs(n=8, length=5)


def bench(source: Source, data: Data = DATA, name: str = "plain", into: Run = CLEAN) -> EdgeBench:
    state = State(0, {"m": executor_of(name)}, {"d": data})
    return EdgeBench(into, source, Edges(), False, (GAP,), state, print)


def outputs(name: str, tokens: np.ndarray, mask: Tensor | None = None) -> Tensor:
    model = executor_of(name).model
    graph = Graph(model.description.shape)
    return Plain(model, graph).outputs(torch.from_numpy(tokens), mask)


def test_sources_of_an_edge_that_is_out() -> None:
    corrupt = outputs("plain", DATA.sides["corrupt"].tokens)
    rows = torch.tensor([2, 0])

    def close(source: Source, wanted: Tensor) -> None:
        found = bench(source).ablated(rows)
        torch.testing.assert_close(found.expand_as(wanted), wanted, check_dtype=False)

    close(FromRun(CORRUPT), corrupt[:, rows])
    close(Zero(), torch.zeros_like(corrupt[:, rows]))
    close(Constant(0.5), torch.full_like(corrupt[:, rows], 0.5))
    close(Mean(CORRUPT), corrupt.mean(1, keepdim=True).expand(-1, 2, -1, -1))
    close(Mean(CORRUPT, "all"), corrupt.mean((1, 2), keepdim=True).expand(-1, 2, 5, -1))
    state = State(0, {"m": executor_of("plain")}, {"d": DATA})
    drawn = draws(CORRUPT, CLEAN, 3, state)
    close(Resample(CORRUPT, 3), corrupt[:, drawn[rows]])


def test_batches_of_a_mean_give_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interp_dsl.engine.edges.WRITTEN", 1)
    rows = torch.arange(3)
    small = bench(Mean(CORRUPT, "all"))
    assert small.rows == 1
    wanted = outputs("plain", DATA.sides["corrupt"].tokens).mean((1, 2), keepdim=True)
    torch.testing.assert_close(small.ablated(rows), wanted, check_dtype=False)


def uneven() -> Data:
    """Pairs of prompts of 3 and 5 tokens."""
    prompts = {"clean": [[1, 2, 3], [4, 5, 6, 7, 8]], "corrupt": [[1, 9, 3], [4, 2, 2, 7, 8]]}
    return Data("uneven", {k: side(k, p) for k, p in prompts.items()}, singles(1, 2), singles(3, 4))


def test_a_mean_over_tokens_leaves_out_the_padding() -> None:
    data = uneven()
    sides = [outputs("plain", np.array([p])) for p in ([1, 9, 3], [4, 2, 2, 7, 8])]
    wanted = torch.cat([x[:, 0] for x in sides], dim=1).mean(1)
    found = bench(Mean(CORRUPT, "all"), data).ablated(torch.arange(2))
    torch.testing.assert_close(found[:, 0, 0], wanted, check_dtype=False)


def test_a_two_way_model_does_not_see_the_padding() -> None:
    data = uneven()
    found = bench(FromRun(CORRUPT), data, "bidirectional").ablated(torch.arange(2))
    alone = outputs("bidirectional", np.array([[1, 9, 3]]))
    torch.testing.assert_close(found[:, 0, :3], alone[:, 0], check_dtype=False)


@pytest.mark.parametrize(
    ("source", "code"),
    [(Mean(CORRUPT), "E634"), (Resample(CORRUPT), "E632")],
    ids=["mean", "resample"],
)
def test_prompts_that_do_not_answer_to_each_other(source: Source, code: str) -> None:
    with pytest.raises(InterpError) as caught:
        bench(source, uneven()).ablated(torch.arange(2))
    assert caught.value.diagnostics[0].code == code


def test_a_model_that_runs_by_hooks_has_no_edges() -> None:
    state = State(0, {"m": Tiny()}, {"d": DATA})
    with pytest.raises(InterpError) as caught:
        EdgeBench(CLEAN, Zero(), Edges(), False, (GAP,), state, print)
    assert caught.value.diagnostics[0].code == "E650"


def test_a_sequence_is_refused() -> None:
    long = replace(DATA, answers=(Answer(((1, 2),)),) * 8)
    state = State(0, {"m": executor_of("plain")}, {"d": long})
    metric = Metric("logprob", MetricCall("logprob"))
    with pytest.raises(InterpError) as caught:
        EdgeBench(CLEAN, Zero(), Edges(), False, (metric,), state, print)
    assert caught.value.diagnostics[0].code == "E651"
