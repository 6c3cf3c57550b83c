"""The stream of tokens that dictionaries are fitted to: complete, shuffled evenly, repeatable."""

import numpy as np

from interp_dsl.data.stream import Stream, tokens_kept
from interp_dsl.data.types import Side


def _rows(stream: Stream, start: int, stop: int) -> list[tuple[int, int]]:
    """(example, token) of the stream's tokens."""
    found = []
    for part in stream.stretches(start, stop):
        held = [(int(e), t) for e in part.examples for t in range(stream.counts[e])]
        found += held[part.start : part.stop]
    return found


def test_any_cut_gives_the_same_stream() -> None:
    stream = Stream(np.array([3, 0, 5, 1, 4]), seed=7)
    whole = _rows(stream, 0, 40)
    assert len(whole) == 40
    for size in (1, 3, 7, 13, 26):
        cut = [r for a in range(0, 40, size) for r in _rows(stream, a, min(40, a + size))]
        assert cut == whole


def test_every_pass_holds_every_token_once_and_has_its_own_order() -> None:
    stream = Stream(np.full(50, 4), seed=0)
    first, second = _rows(stream, 0, 200), _rows(stream, 200, 400)
    assert sorted(first) == sorted(second) == [(e, t) for e in range(50) for t in range(4)]
    assert first != second
    assert _rows(Stream(np.full(50, 4), seed=1), 0, 200) != first


def test_a_stretch_asks_for_no_example_that_it_does_not_need() -> None:
    stream = Stream(np.full(10, 5), seed=3)
    parts = list(stream.stretches(7, 12))
    assert [len(p.examples) for p in parts] == [2]
    assert [len(p.examples) for p in stream.stretches(5, 10)] == [1]


def test_the_examples_that_reach_a_number_of_tokens() -> None:
    stream = Stream(np.array([3, 0, 5, 1, 4]), seed=7)
    taken = stream.examples(0, 15)
    for tokens in range(1, 39):
        n = stream.reaching(tokens)
        assert stream.counts[taken[: n - 1]].sum() < tokens <= stream.tokens_in(n)
        assert stream.tokens_in(n) == stream.counts[taken[:n]].sum()
    assert stream.reaching(0) == 0


def test_a_row_stands_anywhere_in_its_block_with_equal_chances() -> None:
    """Pearson's statistic of the batch in which each of a block's rows is used: 8 rows, 4 batches,
    20,000 blocks; 24 degrees of freedom, so that 60 is beyond chance (p < 1e-4)."""
    stream = Stream(np.array([8]), seed=11)
    blocks = 20_000
    places = np.stack([np.argsort(stream.shuffled(b, 8)) for b in range(blocks)])
    counts = np.stack([np.bincount(places[:, row] // 2, minlength=4) for row in range(8)])
    expected = blocks / 4
    assert ((counts - expected) ** 2 / expected).sum() < 60


def test_examples_come_in_any_order_with_equal_chances() -> None:
    passes = np.stack([Stream(np.ones(6, int), seed=2).order(i) for i in range(6000)])
    counts = np.stack([np.bincount(passes[:, place], minlength=6) for place in range(6)])
    assert ((counts - 1000) ** 2 / 1000).sum() < 60  # 25 degrees of freedom


def test_bos_and_padding_are_no_text() -> None:
    tokens = np.array([[0, 5, 6, 0, 7], [0, 5, 9, 9, 9]])
    side = Side("text", tokens, np.array([5, 2]), np.array([4, 1]))
    assert tokens_kept(side, 0).tolist() == [
        [False, True, True, False, True],
        [False, True, False, False, False],
    ]
    assert tokens_kept(side, None).sum() == 7
