"""The largest activations and those of intervals, against sorting all of them."""

import torch

from interp_dsl.dictionaries.reading import Intervals, Largest, alignment


def _features() -> torch.Tensor:
    f = torch.randn(60, 5, generator=torch.Generator().manual_seed(0)).clamp_min(0)
    f[:, 4] = 0
    return f


def test_the_largest_of_all_batches() -> None:
    f = _features()
    found = Largest(5, 4)
    for a in range(0, 60, 13):
        found.add(f[a : a + 13], torch.arange(100 + a, 100 + min(60, a + 13)))
    wanted = f.sort(0, descending=True)
    assert torch.equal(found.seen.activation, wanted.values[:4].T)
    assert torch.equal(found.seen.token[:4], wanted.indices[:4].T[:4] + 100)
    assert torch.equal(found.fired, (f > 0).sum(0)) and found.count == 60
    torch.testing.assert_close(found.total, f.double().sum(0))
    assert found.maximum[4] == 0


def test_each_interval_has_one_of_its_own_with_equal_chances() -> None:
    f = _features()
    maximum = f.amax(0)
    drawn: dict[int, int] = {}
    for seed in range(400):
        found = Intervals(maximum, 3, torch.Generator().manual_seed(seed))
        for part, tokens in zip(f.split(17), torch.arange(60).split(17), strict=True):
            found.add(part, tokens)
        seen = found.seen
        place = (seen.activation / maximum[:, None] * 3).long().clamp_max(2)
        filled = seen.activation > 0
        assert torch.equal(place[filled], torch.arange(3).expand(5, 3)[filled])
        assert torch.equal(f[seen.token, torch.arange(5)[:, None]][filled], seen.activation[filled])
        assert not filled[4].any() and filled[0, 2]
        token = int(seen.token[0, 0])
        drawn[token] = drawn.get(token, 0) + 1
    low = ((f[:, 0] > 0) & (f[:, 0] / maximum[0] * 3 < 1)).nonzero()[:, 0].tolist()
    assert set(drawn) == set(low)
    expected = 400 / len(low)
    statistic = sum((drawn[t] - expected) ** 2 / expected for t in low)
    assert statistic < 3 * len(low) + 10  # far beyond Pearson's 99.9 % for so few


def test_alignment() -> None:
    decoder = torch.tensor([[1.0, 0], [0, 2], [1, 1]])
    encoder = torch.tensor([[3.0, 1, -1], [0, 0, -1]])
    torch.testing.assert_close(alignment(encoder, decoder), torch.tensor([1.0, 0, -1]))
