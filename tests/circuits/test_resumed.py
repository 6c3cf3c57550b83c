"""A search taken up from any of its snapshots ends with the very numbers of one that nobody
disturbed; and what it says of the work ahead holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from interp_dsl.circuits import order
from interp_dsl.circuits.acdc import acdc
from interp_dsl.circuits.circuit import Circuit
from interp_dsl.circuits.found import Found
from interp_dsl.circuits.greedy import greedy
from interp_dsl.circuits.order import edge_order, marks, stages
from interp_dsl.circuits.probing import probe
from interp_dsl.circuits.progress import Progress, Snapshot
from interp_dsl.circuits.pruning import prune_edges
from interp_dsl.circuits.rules import PRESETS, Rules
from interp_dsl.circuits.setting import Setting
from interp_dsl.models.graph import Graph
from tests.circuits.exact import setting
from tests.circuits.models import double
from tests.circuits.settings import added


def watched(search: Generator[Progress, None, Any]) -> tuple[list[Snapshot], Any]:
    """Copies of all snapshots of a search, and what it returns."""
    found = []
    while True:
        try:
            at = next(search)
        except StopIteration as end:
            return found, end.value
        if at.snapshot is not None:
            found.append({name: np.array(value) for name, value in at.snapshot().items()})


def alike(ours: Circuit | Found, theirs: Circuit | Found) -> None:
    """Every number, to the last bit."""
    for field in fields(ours):
        np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name))


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "attn_only"])
@pytest.mark.parametrize("rules", [Rules(), Rules(batch=3, drop_dead=False, start="zero")])
def test_acdc_goes_on_from_any_mark(
    name: str, rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "APART", 9)
    case = setting(name)
    values = [0.05, 0.02]
    snapshots, whole = watched(acdc(case.clean(), values, rules))
    assert len({tuple(s["judged"]) for s in snapshots}) == len(snapshots) > 8
    for snapshot in snapshots[::3]:
        left, again = watched(acdc(case.clean(), values, rules, snapshot=snapshot))
        assert len(left) <= len(snapshots)
        for ours, theirs in zip(again, whole, strict=True):
            alike(ours, theirs)


def test_acdc_with_direct_edges_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "APART", 9)
    case = setting("plain", direct=True)
    snapshots, (whole,) = watched(acdc(case.clean(), 0.02, PRESETS["original"]))
    for snapshot in snapshots[::3]:
        _, (again,) = watched(acdc(case.clean(), 0.02, PRESETS["original"], snapshot=snapshot))
        alike(again, whole)


def test_a_snapshot_of_another_search_is_refused() -> None:
    case = setting("attn_only")
    snapshots, _ = watched(acdc(case.clean(), 0.05, Rules()))
    with pytest.raises(ValueError, match="another threshold"):
        watched(acdc(case.clean(), 0.06, Rules(), snapshot=snapshots[0]))


def test_marks_stand_where_a_receiver_begins() -> None:
    graph = Graph(double("gpt2").description.shape)
    ranks = edge_order(graph, "reverse")
    found = marks(graph, ranks)
    assert found[0] == 0 and found[-1] == graph.n_edges
    of_stages = np.flatnonzero(np.diff(stages(graph)[ranks])) + 1
    assert graph.n_edges < 2 * order.APART and found[1:-1] == of_stages.tolist()
    receivers = graph.receiver_of[ranks]
    assert all(receivers[at] != receivers[at - 1] for at in found[1:-1])


METHODS: dict[str, Callable[..., Generator[Progress, None, Found]]] = {
    "greedy": lambda case, at: greedy(case, n=3, share=0.1, snapshot=at),
    "probe": lambda case, at: probe(case, 0.1, steps=9, seed=1, snapshot=at),
    "prune": lambda case, at: prune_edges(case, 4, steps=9, seed=1, snapshot=at),
}


@pytest.mark.parametrize("method", METHODS)
def test_other_searches_go_on_from_any_step(method: str) -> None:
    case: Setting = added([0.5, 2.0, 1.0, 3.0])
    snapshots, whole = watched(METHODS[method](case, None))
    assert len(snapshots) > 4
    for snapshot in snapshots:
        before = {name: value.copy() for name, value in snapshot.items()}
        _, again = watched(METHODS[method](case, snapshot))
        alike(again, whole)
        assert all((snapshot[name] == value).all() for name, value in before.items())


def test_the_work_ahead_is_bounded_ever_closer() -> None:
    """What a finished search has tested lies between the bounds of each moment before."""
    case = setting("gpt2")
    graph = case.forward.graph
    ranks = edge_order(graph, "reverse")
    seen: list[tuple[int, float, float, float]] = []
    search = acdc(case.clean(), 0.3, Rules())
    while True:
        try:
            at = next(search)
        except StopIteration as end:
            (circuit,) = end.value
            break
        assert at.work is not None
        seen.append((at.done, *at.work()))
    stage = stages(graph)
    weight = (stage.max() - stage + 1) / (stage.max() + 1) * circuit.evaluated
    assert 0 < (~circuit.evaluated).sum() < graph.n_edges
    for judged, done, least, most in seen:
        assert done == pytest.approx(weight[ranks[:judged]].sum())
        assert least - 1e-9 <= weight[ranks[judged:]].sum() <= most + 1e-9
    widths = [most - least for _, _, least, most in seen]
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(widths))
    assert widths[0] > 0 and widths[-1] == 0
