"""Features that split, planted and against a plain loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from interp_dsl.dictionaries.splitting import NONE, Firing, Splits


def _drawn(*sizes: int, seed: int = 0) -> Tensor:
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(seed))


def _told(reference: Tensor, decoder: Tensor, f: Tensor, g: Tensor, least: float) -> Splits:
    """Of features f, g [R, m], [R, m'], in two blocks."""
    held = Splits(reference, decoder, least)
    for part in (slice(None, 7), slice(7, None)):
        held.add(Firing.of(f[part], g[part], held.parent))
    return held


def test_a_dictionary_has_not_split_beside_itself() -> None:
    decoder, f = _drawn(5, 9), _drawn(40, 5, seed=1).clamp_min(0)
    told = _told(decoder, decoder, f, f, 0.7).told()
    coverage = told.pop("splitting_coverage")
    assert told == {"splitting": 0, "splitting_parts": 1, "splitting_novel": 0}
    assert math.isnan(coverage)


def test_planted_halves_are_found() -> None:
    """Each feature of the reference has become two that share its tokens; a third of ours is new,
    another never fires."""
    whole, g = _drawn(4, 9), _drawn(60, 4, seed=1).clamp_min(0)
    turn = (torch.arange(60) % 2)[:, None]
    halves = [whole + 0.05 * _drawn(4, 9, seed=s) for s in (2, 3)]
    decoder = torch.cat([*halves, _drawn(1, 9, seed=9), whole[:1]])
    f = torch.cat([g * turn, g * (1 - turn), torch.ones(60, 1), torch.zeros(60, 1)], 1)
    held = _told(whole, decoder, f, g, 0.8)
    assert held.parent.tolist() == [*range(4), *range(4), NONE, 0]
    told = held.told()
    assert told == {
        "splitting": 1,
        "splitting_parts": 2,
        "splitting_coverage": 1,
        "splitting_novel": pytest.approx(1 / 9),
    }


@pytest.mark.parametrize("least", [0.2, 0.6])
def test_against_a_plain_loop(least: float) -> None:
    known, ours = _drawn(6, 5), _drawn(20, 5, seed=1)
    g, f = _drawn(50, 6, seed=2).clamp_min(0), (_drawn(50, 20, seed=3) - 1).clamp_min(0)
    g[:, 2] = f[:, 4] = 0  # these never fire
    held = _told(known, ours, f, g, least)
    parts: dict[int, list[int]] = {i: [] for i in range(6)}
    novel = 0
    for j in range(20):
        cosines = [float(torch.cosine_similarity(ours[j], k, dim=0)) for k in known]
        parent = max(range(6), key=lambda i: cosines[i])
        is_part = cosines[parent] >= least
        assert held.parent[j] == (parent if is_part else NONE)
        if bool((f[:, j] > 0).any()):
            novel += not is_part
            if is_part:
                parts[parent].append(j)
        both = ((f[:, j] > 0) & (g[:, parent] > 0)).sum() if is_part else 0
        assert held.firing is not None and held.firing.both[j] == both
    alive = [i for i in range(6) if bool((g[:, i] > 0).any())]
    split = [i for i in alive if len(parts[i]) > 1]
    covered = [
        sum(1 for t in range(50) if g[t, i] > 0 and any(f[t, j] > 0 for j in parts[i]))
        / int((g[:, i] > 0).sum())
        for i in split
    ]
    told = held.told()
    assert told["splitting"] == pytest.approx(len(split) / len(alive))
    assert told["splitting_parts"] == pytest.approx(sum(len(parts[i]) for i in alive) / 5)
    assert told["splitting_novel"] == pytest.approx(novel / 19)
    if split:
        assert told["splitting_coverage"] == pytest.approx(sum(covered) / len(covered))
    assert split or least > 0.5
