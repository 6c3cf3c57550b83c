"""Blocks of activations, the next one made while one is learned from.

One thread makes blocks, in their order, each as it would be made alone: which rows a block holds is
the stream's to say, not the clock's. On a GPU that thread has a stream of its own. On a processor
both share the cores, so there it is done only where cores are left over."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import torch

from interp_dsl.engine.harvest import Block, Harvest

Span = tuple[int, int]
Made = tuple[Block, torch.cuda.Event | None]


class Abandoned(Exception):
    """Nobody waits for the block that is being made."""


def has_room(harvest: Harvest) -> bool:
    """Whether a second thread can make blocks: there is a GPU, or as many cores again as torch's
    operations take; and all threads multiply in the precision that the whole process has."""
    if harvest.sets_precision:
        return False
    if harvest.device.type == "cuda":
        return True
    return harvest.device.type == "cpu" and _cores() >= 2 * torch.get_num_threads()


def _cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_turn(
    harvest: Harvest, spans: Sequence[Span], check: Callable[[], None] = lambda: None
) -> Iterator[Block]:
    """The blocks of rows of the stream; each is gone before the next is made. `check` is called
    before every pass, and may raise."""
    held: Block = {}
    for start, stop in spans:
        held.clear()
        held.update(harvest.block(start, stop, check))
        yield held


def ahead(
    harvest: Harvest, spans: Sequence[Span], check: Callable[[], None] = lambda: None
) -> Iterator[Block]:
    """The same; while one is used the next is made, so that there is room for two."""
    if not spans:
        return
    over, held = Event(), Block()
    on_gpu = harvest.device.type == "cuda"
    make = (_on_own_stream if on_gpu else _maker)(harvest, over, check)
    with ThreadPoolExecutor(1, "harvest") as pool:
        try:
            first, *left = spans
            coming = pool.submit(make, first)
            for span in (*left, None):
                block, made = coming.result()
                held.clear()  # before the next but one is begun, so that there are never three
                held.update(block)
                del block
                if span is not None:
                    coming = pool.submit(make, span)
                if made is not None:
                    _hand_over(held, made)
                yield held
        finally:
            over.set()


def _maker(harvest: Harvest, over: Event, check: Callable[[], None]) -> Callable[[Span], Made]:
    def goes_on() -> None:
        if over.is_set():
            raise Abandoned
        check()

    return lambda span: (harvest.block(*span, goes_on), None)


def _on_own_stream(
    harvest: Harvest, over: Event, check: Callable[[], None]
) -> Callable[[Span], Made]:
    stream = torch.cuda.Stream(harvest.device)  # type: ignore[no-untyped-call]
    make = _maker(harvest, over, check)
    stream.wait_stream(torch.cuda.current_stream(harvest.device))

    def made(span: Span) -> Made:
        with torch.cuda.stream(stream):
            block, _ = make(span)
            return block, stream.record_event()

    return made


def _hand_over(block: Block, made: torch.cuda.Event) -> None:
    """Have this thread's stream wait for a block, and the block's memory for this stream."""
    for x in block.values():
        here = torch.cuda.current_stream(x.device)
        here.wait_event(made)
        x.record_stream(here)
