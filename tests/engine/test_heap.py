"""What a sweep holds does not grow with its shards."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from interp_dsl.engine.scores import Scored
from interp_dsl.engine.sweep import Shard, Sweeper
from interp_dsl.models import heap
from interp_dsl.plan.algebra import Explicit, FromRun
from interp_dsl.plan.places import Positions

from .plans import CORRUPT, run, sweep_plan, unit
from .tiny import Tiny, pairs

LENGTH = 10


def held() -> int:
    """Bytes of all tensors that something holds."""
    found = (x.untyped_storage() for x in gc.get_objects() if issubclass(type(x), Tensor))
    return sum({storage.data_ptr(): storage.nbytes() for storage in found}.values())


def test_tensors_do_not_add_up_over_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after: list[int] = []
    whole = Sweeper.run

    def watched(self: Sweeper, shard: Shard) -> Scored:
        scored = whole(self, shard)
        after.append(held())
        return scored

    monkeypatch.setattr(Sweeper, "run", watched)
    at = [Positions("index", index=i) for i in range(LENGTH)]
    heads = [(layer, head) for layer in (0, 1) for head in (0, 1)]
    units = Explicit(tuple(unit("head", *head, at=place) for place in at for head in heads))
    data = pairs(n=4, length=LENGTH)
    found = run(sweep_plan(units, FromRun(CORRUPT), shard=1), Tiny(), tmp_path, d=data)
    assert len(after) == len(found.table) == 4 * LENGTH
    one = 2 * 4 * LENGTH * 8 * 8  # the stream of all prompts, in float64
    assert max(after[4:]) - after[3] < one


@pytest.mark.parametrize("free", [None, heap.BETWEEN, heap.BETWEEN + 1])
def test_much_that_is_freed_is_given_back_where_the_library_can(
    free: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any, where it cannot be counted."""
    trimmed: list[int] = []
    found: dict[str, Callable[..., object]] = {"malloc_trim": trimmed.append}
    if free is not None:
        found["mallinfo2"] = lambda: SimpleNamespace(fordblks=free)
    monkeypatch.setattr(heap, "_found", found.get)
    heap.give_back()
    assert trimmed == ([] if free == heap.BETWEEN else [0])
    monkeypatch.setattr(heap, "_found", lambda _: None)
    heap.give_back()


def test_holes_in_the_heap_do_not_stay() -> None:
    """Small blocks are kept for reuse, unless they are given back."""
    status = Path("/proc/self/statm")
    if heap._found("malloc_trim") is None or not status.exists():
        pytest.skip("the C library cannot give memory back here")

    def resident() -> int:
        return int(status.read_text().split()[1]) * 4096

    blocks = [torch.ones(2**13) for _ in range(6000)]  # 197 MB in blocks of 32 kB
    kept = blocks[::600]
    full = resident()
    del blocks
    heap.give_back()
    assert full - resident() > 140e6 and len(kept) == 10


FREED = """
import resource, torch
from interp_dsl.models import heap

def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

heap.keep()
for _ in range(3):
    before = faults()
    parts = [torch.ones(2**20) for _ in range(8)]
    del parts
print(faults() - before)
"""


def test_what_is_freed_is_kept() -> None:
    """Of the 8,192 pages of tensors that are made once more, few come anew from the system."""
    if heap._found("mallopt") is None:
        pytest.skip("the C library cannot be told to keep memory here")
    command = [sys.executable, "-c", FREED]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(found.stdout) < 2048
