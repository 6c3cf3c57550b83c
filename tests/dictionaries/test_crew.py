"""Two processes that train together end where one does, to rounding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from interp_dsl.dictionaries.architectures import Architecture, JumpRelu
from interp_dsl.dictionaries.crew import ALONE, Crew, Together
from interp_dsl.dictionaries.ends import Itself, Onto
from interp_dsl.dictionaries.schedules import Schedule
from interp_dsl.dictionaries.training import Settings, Trainer
from tests.dictionaries.planted import features, mixtures
from tests.dictionaries.test_training import ALL

MORE: list[Architecture] = [*ALL, JumpRelu(0.5, target=4.0, bandwidth=0.4, threshold=0.1)]
STEPS = 12
Ended = dict[str, Tensor]


def _trained(
    made: Architecture, transcodes: bool, crew: Crew, rank: int
) -> tuple[Ended, list[float]]:
    """The state after some steps on the rank's part of each batch, and each step's loss."""
    generator = torch.Generator().manual_seed(0)
    known = features(12, 8)
    batches = [mixtures(known, 64, generator, 0.3) for _ in range(STEPS)]
    onto = torch.randn(8, 5, generator=generator)
    ends = Onto(True) if transcodes else Itself()
    settings = Settings(24, 1e-2, dead_after=128, scale=1.7)
    first = batches[0], batches[0] @ onto if transcodes else None
    trainer = Trainer(made, settings, Schedule(STEPS), first[0], ends, first[1], crew)
    trainer.params["b_enc" if "b_enc" in trainer.params else "b_gate"][:4] = -9  # dead ones
    losses = []
    for x in batches:
        part = x.chunk(crew.size)[rank]
        losses.append(trainer.step(part, part @ onto if transcodes else None).loss)
    return {k: v.clone() for k, v in trainer.state().items()}, losses


def _member(rank: int, place: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{place}/meet", rank=rank, world_size=2)
    found = [
        _trained(made, transcodes, Together(), rank)
        for made in MORE
        for transcodes in (False, True)
    ]
    torch.save(found, f"{place}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[list[tuple[Ended, list[float]]]]:
    place: Path = tmp_path_factory.mktemp("crew")
    mp.spawn(_member, (str(place),), nprocs=2)
    return [torch.load(place / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("number", range(2 * len(MORE)))
def test_two_processes_are_one(together, number: int) -> None:
    made, transcodes = MORE[number // 2], bool(number % 2)
    wanted, losses = _trained(made, transcodes, ALONE, 0)
    (first, told), (second, _) = (found[number] for found in together)
    assert first.keys() == second.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(first[name], second[name]), f"the two differ in {name}"
        torch.testing.assert_close(
            first[name], value, atol=2e-4, rtol=2e-4, msg=lambda m, n=name: n + m
        )
    torch.testing.assert_close(torch.tensor(told), torch.tensor(losses), atol=1e-5, rtol=1e-5)
    if getattr(made, "alpha", 0):
        assert int((wanted["silent"] >= 128).sum()) > 0  # AuxK had something to do
