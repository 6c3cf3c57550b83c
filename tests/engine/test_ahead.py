"""The next block of activations made while one is learned from: the same blocks, no more than two
of them, nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from interp_dsl.engine import ahead, fit
from interp_dsl.engine.ahead import Abandoned, has_room
from interp_dsl.engine.execute import execute
from interp_dsl.engine.harvest import Harvest
from interp_dsl.language.diagnostics import InterpError
from tests.devices import needs_cuda

from .plans import folder_in
from .test_fit import RESAMPLED, _fit, _one, _plan, _same, _text
from .test_resume import Dies
from .tiny import Given, Tiny

SPANS = [(0, 4), (4, 8), (8, 10)]
PATIENCE = 20.0


class Blocks:
    """A harvest of numbers, which tells what it has begun."""

    device = torch.device("cpu")
    sets_precision = False

    def __init__(self) -> None:
        self.begun = [threading.Event() for _ in SPANS]
        self.ended = 0

    def block(self, start: int, stop: int, check: Callable[[], None] = lambda: None) -> Any:
        self.begun[SPANS.index((start, stop))].set()
        check()
        self.ended += 1
        return {"x": torch.arange(start, stop)}


def test_one_is_made_while_one_is_used_and_no_more() -> None:
    harvest: Any = Blocks()
    made = ahead.ahead(harvest, SPANS)
    for number, span in enumerate(SPANS):
        held = next(made)
        assert held["x"].tolist() == list(range(*span))
        if number + 1 < len(SPANS):
            assert harvest.begun[number + 1].wait(PATIENCE)
        assert not any(event.is_set() for event in harvest.begun[number + 2 :])
    assert next(made, None) is None and harvest.ended == 3


def test_what_is_not_waited_for_is_given_up() -> None:
    class Slow(Blocks):
        def block(self, start: int, stop: int, check: Callable[[], None] = lambda: None) -> Any:
            self.begun[SPANS.index((start, stop))].set()
            for _ in range(10_000 if start else 0):
                check()
                threading.Event().wait(0.005)
            return {"x": torch.arange(start, stop)}

    harvest: Any = Slow()
    made = ahead.ahead(harvest, SPANS)
    next(made)
    assert harvest.begun[1].wait(PATIENCE)
    before = threading.active_count()
    made.close()
    assert threading.active_count() == before - 1
    assert not harvest.begun[2].is_set()
    with pytest.raises(Abandoned):
        harvest.block(4, 8, _raises)


def _raises() -> None:
    raise Abandoned


def test_what_goes_wrong_is_said_where_the_block_is_wanted() -> None:
    class Broken(Blocks):
        def block(self, start: int, stop: int, check: Callable[[], None] = lambda: None) -> Any:
            if start == 4:
                raise ValueError("no such block")
            return super().block(start, stop, check)

    harvest: Any = Broken()
    made = ahead.ahead(harvest, SPANS)
    next(made)
    with pytest.raises(ValueError, match="no such block"):
        next(made)


@needs_cuda
def test_on_a_gpu_blocks_are_whole_before_they_are_used() -> None:
    """Passes that take longer than the use of a block, and a use that overwrites it."""
    device = torch.device("cuda")
    weight = torch.randn(1024, 1024, device=device) / 32
    spans = [(i, i + 4096) for i in range(0, 32768, 4096)]

    class Slow(Blocks):
        def block(self, start: int, stop: int, check: Callable[[], None] = lambda: None) -> Any:
            x = torch.full((stop - start, 1024), float(start), device=device)
            for _ in range(50):
                x = (x @ weight).relu_()
            return {"x": x}

    harvest: Any = Slow()
    harvest.device = device
    found = []
    for way in (ahead.in_turn, ahead.ahead):
        sums = []
        for held in way(harvest, spans):
            sums.append(held["x"].double().sum())
            held["x"].zero_()
        found.append(torch.stack(sums))
    assert torch.equal(*found) and len(found[0].unique()) > 1


@pytest.mark.parametrize(
    ("cores", "threads", "precise", "wanted"),
    [(2, 1, True, True), (2, 2, True, False), (8, 4, True, True), (2, 1, False, False)],
)
def test_there_is_room_where_cores_are_left(
    monkeypatch: pytest.MonkeyPatch, cores: int, threads: int, precise: bool, wanted: bool
) -> None:
    harvest: Any = Blocks()
    harvest.sets_precision = not precise
    monkeypatch.setattr(ahead, "_cores", lambda: cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert has_room(harvest) is wanted


@pytest.fixture(params=[True, False], ids=["ahead", "in turn"])
def looking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    is_ahead: bool = request.param
    monkeypatch.setattr(fit, "has_room", lambda harvest: is_ahead)
    return is_ahead


def test_the_numbers_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, found = _plan(RESAMPLED), []
    where: set[str] = set()
    block = Harvest.block

    def told(self: Harvest, *args: Any) -> Any:
        where.add(threading.current_thread().name.partition("_")[0])
        return block(self, *args)

    monkeypatch.setattr(Harvest, "block", told)
    for is_ahead in (False, True):
        monkeypatch.setattr(fit, "has_room", lambda harvest, is_ahead=is_ahead: is_ahead)
        found.append(_fit(plan, tmp_path / str(is_ahead)))
        assert ("harvest" in where) is is_ahead
    _same(*found)


@pytest.mark.parametrize("rows", [20, 60, 90])
def test_a_lost_run_goes_on_to_the_same_numbers(tmp_path: Path, looking: bool, rows: int) -> None:
    plan = _plan(RESAMPLED)
    whole = _fit(plan, tmp_path / "whole")
    folder = folder_in(tmp_path)
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="lost"):
        execute(plan, folder, loaders=Given(Dies(rows, RuntimeError("lost")), d=_text()))
    assert threading.active_count() == before
    execute(plan, folder, loaders=Given(Tiny(), d=_text()))
    _same(whole, folder)


def test_no_thread_is_left_where_training_fails(tmp_path: Path, looking: bool) -> None:
    before = threading.active_count()
    wild = _one("relu", l1=0.0, lr=1e30, clip=0.0, norm="weighted")
    with pytest.raises(InterpError) as caught:
        _fit(_plan(wild), tmp_path)
    assert caught.value.diagnostics[0].code == "E671"
    assert threading.active_count() == before


def test_the_plan_counts_two_blocks() -> None:
    from dataclasses import replace

    from interp_dsl.plan.dictionaries import Fit
    from interp_dsl.plan.training import blocks_bytes, buffer_bytes

    one = replace(_one("topk", k=2), d_in=12)
    (task,) = (t for t in _plan(one).tasks if isinstance(t, Fit))
    assert blocks_bytes(task) == 2 * buffer_bytes(task) == 2 * 40 * 12 * 4
    for given in ({"buffer": 400}, {"workers": 2}, {"objective": "kl"}):
        alone = replace(task, **given)
        assert blocks_bytes(alone) == buffer_bytes(alone)
