"""Planted features: copies, gates, special cases, chains."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from interp_dsl.geometry import gates, similarity
from interp_dsl.geometry.communities import components, louvain
from interp_dsl.geometry.gates import Gate
from interp_dsl.geometry.similarity import Keep, Related, Stream

N, P = 20_000, 0.2
EVERYTHING = Keep(dict.fromkeys(similarity.MEASURES, 0.0), None, 0)


def lower(n: int = N, d: int = 8, seed: int = 0) -> Tensor:
    """Independent features, on with probability P, sizes uniform from 0.5 to 1.5; the last one is
    never on."""
    generator = torch.Generator().manual_seed(seed)
    on = torch.rand(n, d, generator=generator) < P
    on[:, -1] = False
    return on * (0.5 + torch.rand(n, d, generator=generator)).double()


def planted() -> tuple[Tensor, Tensor]:
    """Upper: a copy of 0 times 1.7, 1 AND 2, 3 OR 4, 0 where 5 is on, one of its own, one that is
    never on."""
    a = lower()
    on = a > 0
    own = lower(seed=9)[:, 0]
    upper = [
        1.7 * a[:, 0],
        (a[:, 1] + a[:, 2]) * (on[:, 1] & on[:, 2]),
        a[:, 3] + a[:, 4],
        a[:, 0] * on[:, 5],
        own,
        0 * own,
    ]
    return a, torch.stack(upper, 1)


def blocks(a: Tensor, b: Tensor, size: int = 3000) -> Stream:
    def stream() -> Iterable[tuple[Tensor, Tensor]]:
        return zip(a.split(size), b.split(size), strict=True)

    return stream


def related(keep: Keep = EVERYTHING, **options: object) -> Related:
    a, b = planted()
    return similarity.relate(blocks(a, b), (8, 6), keep=keep, **options)  # type: ignore[arg-type]


def entry(found: Related, measure: str, i: int, j: int) -> float:
    at = ((found.below == i) & (found.above == j)).nonzero()
    return float(found.values[measure][at[0, 0]])


def test_measures_are_their_definitions() -> None:
    a, b = planted()
    found = related()
    x, y = a[:, 3], b[:, 2]
    on, above = x > 0, y > 0
    both = float((on & above).sum())
    assert entry(found, "pearson", 3, 2) == pytest.approx(
        float(torch.corrcoef(torch.stack([x, y]))[0, 1]), rel=1e-9
    )
    cosine = float(torch.nn.functional.cosine_similarity(x, y, dim=0))
    assert entry(found, "cosine", 3, 2) == pytest.approx(cosine, rel=1e-9)
    assert entry(found, "jaccard", 3, 2) == pytest.approx(both / float((on | above).sum()))
    assert entry(found, "sufficiency", 3, 2) == both / float(on.sum()) == 1
    assert entry(found, "necessity", 3, 2) == pytest.approx(both / float(above.sum()))
    information = 0.0
    for one in (on, ~on):
        for other in (above, ~above):
            p = float((one & other).double().mean())
            q = float(one.double().mean() * other.double().mean())
            information += p * math.log(p / q) if p else 0.0
    assert entry(found, "mutual_information", 3, 2) == pytest.approx(information, rel=1e-9)
    at = int(((found.below == 3) & (found.above == 2)).nonzero()[0, 0])
    expected = both * N / float(on.sum() * above.sum())
    assert float(found.lift[at]) == pytest.approx(expected)
    assert int(found.support[at]) == both and found.n == N


def test_a_copy_is_the_same_in_every_measure() -> None:
    found = related()
    for measure in ("pearson", "cosine", "jaccard", "sufficiency", "necessity"):
        assert entry(found, measure, 0, 0) == pytest.approx(1, abs=1e-12)


def test_gates_show_in_necessity_and_sufficiency() -> None:
    found = related()
    for i in (1, 2):
        assert entry(found, "necessity", i, 1) == 1
        assert entry(found, "sufficiency", i, 1) == pytest.approx(P, abs=0.02)
    for i in (0, 3, 4, 6):
        assert entry(found, "necessity", i, 1) == pytest.approx(P, abs=0.05)
    for i in (3, 4):
        assert entry(found, "sufficiency", i, 2) == 1
        assert entry(found, "necessity", i, 2) == pytest.approx(0.2 / 0.36, abs=0.03)


def test_dead_features_have_no_pairs_and_no_best() -> None:
    found = related(Keep({"pearson": -2.0}, None, 0))
    assert not (found.below == 7).any() and not (found.above == 5).any()
    for best in found.best.values():
        assert best.forward[7].isnan() and best.backward[5].isnan()
        assert not best.forward[:7].isnan().any()


def test_the_sparse_result_is_the_dense_one_cut() -> None:
    whole = related()
    keep = Keep({"pearson": 0.1}, 1, 20)
    found = related(keep)
    table = torch.full((8, 6), -torch.inf, dtype=torch.float64)
    table[whole.below, whole.above] = whole.values["pearson"]
    support = torch.zeros(8, 6, dtype=torch.float64)
    support[whole.below, whole.above] = whole.support
    for i in range(8):
        best = int(table[i].argmax())
        kept = found.above[found.below == i].tolist()
        assert kept == ([best] if table[i, best] >= 0.1 and support[i, best] >= 20 else [])


def test_pairs_of_gates_are_kept_beside_the_greatest() -> None:
    found = related(Keep({"pearson": 2.0}, 1, 20, {"necessity": 0.999}))
    pairs = set(zip(found.below.tolist(), found.above.tolist(), strict=True))
    assert pairs == {(0, 0), (1, 1), (2, 1), (0, 3), (5, 3)}


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_blocks_of_rows_give_the_same(rows: int) -> None:
    whole, parts = related(), related(rows=rows)
    assert torch.equal(whole.below, parts.below) and torch.equal(whole.above, parts.above)
    for name in similarity.MEASURES:
        assert torch.allclose(whole.values[name], parts.values[name])
        for one, two in zip(
            vars(whole.best[name]).values(), vars(parts.best[name]).values(), strict=True
        ):
            assert torch.allclose(one, two, equal_nan=True)


def test_a_relative_threshold_counts_large_activations_alone() -> None:
    a, b = planted()
    tops = (0.9 * a.amax(0), 0.9 * b.amax(0))
    found = similarity.relate(blocks(a, b), (8, 6), tops, EVERYTHING)
    assert found.on[0][0] == (a[:, 0] > tops[0][0]).sum()
    assert found.on[0][0] < (a[:, 0] > 0).sum() / 4


def test_independent_features_have_no_lift() -> None:
    a, b = lower(), lower(seed=5)
    found = similarity.relate(blocks(a, b), (8, 8), keep=EVERYTHING)
    assert len(found.below) == 49 and (found.lift_low < 1).all()
    gate = related()
    at = int(((gate.below == 1) & (gate.above == 1)).nonzero()[0, 0])
    assert gate.lift_low[at] > 3


def test_what_passes_appears_and_disappears() -> None:
    passed = similarity.passage(related())
    assert passed.passed == pytest.approx(1 / 7)
    assert passed.disappearing == pytest.approx(6 / 7) and passed.appearing == pytest.approx(4 / 5)


def test_special_cases_and_general_ones() -> None:
    found = related()
    special, general = similarity.specialising(found, high=0.999)
    pairs = set(zip(found.below[special].tolist(), found.above[special].tolist(), strict=True))
    assert pairs == {(1, 1), (2, 1), (0, 3), (5, 3)}
    a, b = planted()
    back = similarity.relate(blocks(b, a), (6, 8), keep=EVERYTHING)
    _, general = similarity.specialising(back, high=0.999)
    pairs = set(zip(back.above[general].tolist(), back.below[general].tolist(), strict=True))
    assert pairs == {(1, 1), (2, 1), (0, 3), (5, 3)}


def test_pairs_are_spread_over_the_range_of_their_measure() -> None:
    values = torch.tensor([0.9, 0.1, 0.11, 0.5, 0.12, 1.0])
    assert similarity.spread(values, 3).tolist() == [1, 3, 5]
    assert similarity.spread(values, 1).tolist() == [1]
    assert similarity.spread(values, 50).tolist() == [1, 4, 3, 0, 5]


def test_decoder_cosines() -> None:
    below, above = torch.eye(3) * 2, torch.tensor([[0.0, 3.0, 0.0], [1.0, 1.0, 0.0]])
    i, j = torch.tensor([1, 0, 2]), torch.tensor([0, 1, 1])
    found = similarity.decoder_cosine(below, above, i, j)
    assert torch.allclose(found, torch.tensor([1.0, 0.5**0.5, 0.0]))


# ---- gates


def gate_scores(kind: str, **options: int) -> dict[int, gates.Scored]:
    found = gates.candidates(related(), kind, **options)
    return {one.gate.output: one for one in gates.scored(blocks(*planted()), found)}


def test_an_and_gate_is_found_and_scored() -> None:
    found = gate_scores("and")
    assert set(found) == {1, 3}
    planted_gate = found[1]
    assert planted_gate.gate == Gate("and", 1, (1, 2))
    assert planted_gate.f1 == planted_gate.precision == planted_gate.recall == 1
    assert planted_gate.single == pytest.approx(2 * P / (1 + P), abs=0.02)
    assert planted_gate.child_of is None and planted_gate.is_better


def test_a_feature_gated_by_another_is_a_special_case_of_the_one_it_follows() -> None:
    child = gate_scores("and")[3]
    assert child.gate.inputs == (0, 5) and child.f1 == 1
    assert child.child_of == 0


def test_an_or_gate_is_found_and_scored() -> None:
    found = gate_scores("or")
    assert set(found) == {2}
    assert found[2].gate.inputs == (3, 4)
    assert found[2].f1 == 1 and found[2].single == pytest.approx(0.4 / 0.56, abs=0.03)


def test_gates_of_three_inputs() -> None:
    a = lower()
    on = a > 0
    b = torch.stack([(on[:, 1] | on[:, 2] | on[:, 4]) * 1.0, a[:, 0]], 1).double()
    found = similarity.relate(blocks(a, b), (8, 2), keep=EVERYTHING)
    assert gates.candidates(found, "or", most=2) == ()
    (gate,) = gates.candidates(found, "or", most=3)
    assert gate == Gate("or", 0, (1, 2, 4))
    (scored,) = gates.scored(blocks(a, b), [gate])
    assert scored.f1 == 1


def test_a_nested_feature_passes_the_rule_of_and_and_fails_its_score() -> None:
    """The upper feature is on only where 0 is, and 1 is on wherever 0 is: no conjunction."""
    generator = torch.Generator().manual_seed(0)
    wide = torch.rand(N, generator=generator) < 0.4
    narrow = wide & (torch.rand(N, generator=generator) < 0.5)
    upper = narrow & (torch.rand(N, generator=generator) < 0.3)
    a = torch.stack([narrow, wide], 1).double()
    b = upper[:, None].double()
    found = similarity.relate(blocks(a, b), (2, 1), keep=EVERYTHING)
    (gate,) = gates.candidates(found, "and")
    (scored,) = gates.scored(blocks(a, b), [gate])
    assert scored.precision == pytest.approx(0.3, abs=0.02) and not scored.is_better


# ---- chains over layers


def test_chains_over_layers_are_communities() -> None:
    """Three chains of two features a layer, over four layers, and one feature that leaves off."""
    generator = torch.Generator().manual_seed(1)
    roots = lower(d=4, seed=3)[:, :3]
    layers = []
    for _ in range(4):
        gains = 0.5 + torch.rand(6, generator=generator).double()
        layers.append(torch.cat([roots, roots], 1) * gains)
    extra = lower(seed=7)[:, :1]
    layers = [
        torch.cat([x, extra if at < 1 else lower(seed=20 + at)[:, :1]], 1)
        for at, x in enumerate(layers)
    ]
    edges = []
    for at, (x, y) in enumerate(pairwise(layers)):
        found = similarity.relate(blocks(x, y), (7, 7), keep=Keep({"pearson": 0.99}))
        pairs = zip(
            found.below.tolist(), found.above.tolist(), found.values["pearson"], strict=True
        )
        edges += [(7 * at + i, 7 * (at + 1) + j, float(w)) for i, j, w in pairs]
    labels = louvain(28, edges)
    planted_labels = {}
    for at in range(4):
        for i in range(7):
            planted_labels.setdefault(i % 3 if i < 6 else ("alone", at), set()).add(
                labels[7 * at + i]
            )
    assert all(len(found) == 1 for found in planted_labels.values())
    assert len(set(labels)) == 3 + 4 and labels == components(28, edges)
