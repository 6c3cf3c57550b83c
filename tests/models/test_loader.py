"""The loader's proof: real trained models, read from plain tensors, do what they were trained for.

The figures are those measured when the files were converted; data/README.md of each folder tells
where they come from. The files are not part of the package."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from interp_dsl.models.hooked import HookedExecutor
from interp_dsl.models.load import load
from interp_dsl.plan.places import Site

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
N = 1000

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="needs ../shared/data with the converted models"
)


@cache
def model(name: str, folder: str = "algorithmic-models") -> HookedExecutor:
    return load({"kind": "weights", "folder": str(DATA / folder / name)}, device="cpu")


def draw(high: int, *size: int, seed: int = 0) -> Tensor:
    return torch.randint(0, high, size, generator=torch.Generator().manual_seed(seed))


def guesses(name: str, tokens: Tensor, reads: Tensor | None = None) -> Tensor:
    return model(name).forward(tokens, reads).logits.argmax(-1)


def share(right: Tensor) -> float:
    return right.float().mean().item()


def test_brackets() -> None:
    strings = json.loads((DATA / "algorithmic-models" / "brackets_data.json").read_text())[:3000]
    ids = [[0, *(3 if c == "(" else 4 for c in text), 2] for text, _ in strings]
    tokens = torch.tensor([row + [1] * (42 - len(row)) for row in ids])
    reads = torch.zeros(len(tokens), 1, dtype=torch.long)
    logits = model("brackets").forward(tokens, reads, mask=tokens != 1).logits[:, 0]
    assert share(logits.argmax(-1) == torch.tensor([int(label) for _, label in strings])) == 1


def test_sorted_list() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.stack([torch.randperm(51, generator=generator)[:10] for _ in range(N)])
    answer = values.sort(dim=1).values
    tokens = torch.cat([values, torch.full((N, 1), 51), answer], 1)
    assert share(guesses("sorted_list", tokens)[:, 10:20] == answer) > 0.998


def test_digit_sum() -> None:
    left, right = draw(10, N, 4), draw(10, N, 4, seed=1)
    left[:, 0] %= 5
    right[:, 0] %= 5
    scale = torch.tensor([1000, 100, 10, 1])
    total = (left * scale).sum(1) + (right * scale).sum(1)
    answer = total[:, None] // scale % 10
    plus, equals = torch.full((N, 1), 10), torch.full((N, 1), 11)
    tokens = torch.cat([left, plus, right, equals, answer], 1)
    right_digits = guesses("digit_sum", tokens)[:, 9:13] == answer
    assert share(right_digits.all(1)) == 1


def test_first_unique_char() -> None:
    tokens = draw(10, N, 20)
    tokens[:, 0] = 10
    labels = torch.full_like(tokens, 10)
    for row, label in zip(tokens.tolist(), labels, strict=True):
        for j in range(1, 20):
            seen = row[1 : j + 1]
            label[j] = next((c for c in seen if seen.count(c) == 1), 10)
    assert share(guesses("first_unique_char", tokens) == labels) == pytest.approx(0.991, abs=0.004)


@pytest.mark.parametrize(
    ("name", "accuracy"),
    [("palindrome_28", 0.872), ("palindrome_32", 0.951), ("palindrome_32_hard", 0.9995)],
)
def test_palindromes(name: str, accuracy: float) -> None:
    half = draw(31, N, 10)
    body = torch.cat([half, half.flip(1)], 1)
    flipped = body.clone()
    at = draw(20, N, 1, seed=1)
    shift = 1 + draw(30, N, 1, seed=2)
    flipped.scatter_(1, at, (body.gather(1, at) + shift) % 31)
    start, end = torch.full((N, 1), 31), torch.full((N, 1), 32)
    last = torch.full((N, 1), 21)
    yes = guesses(name, torch.cat([start, body, end], 1), last) == 1
    no = guesses(name, torch.cat([start, flipped, end], 1), last) == 0
    assert share(yes) == 1
    assert share(torch.cat([yes, no])) == pytest.approx(accuracy, abs=0.02)


def test_cumulative_sum() -> None:
    values = draw(11, N, 20) - 5
    answer = values.cumsum(1).sign() + 1
    assert share(guesses("cumsum_sign", values % 11) == answer) > 0.9995


@pytest.mark.parametrize("name", ["modadd_113_wd", "modadd_113_nowd"])
def test_modular_addition(name: str) -> None:
    a, b = torch.meshgrid(torch.arange(113), torch.arange(113), indexing="ij")
    tokens = torch.stack([a.flatten(), b.flatten(), torch.full((113 * 113,), 113)], 1)
    last = torch.full((len(tokens), 1), 2)
    assert share(guesses(name, tokens, last)[:, 0] == tokens[:, :2].sum(1) % 113) == 1


def repeats(vocabulary: int, length: int, period: int, n: int = 200) -> Tensor:
    block = draw(vocabulary, n, period)
    return block.repeat(1, length // period + 1)[:, :length]


def stripe(pattern: Tensor, period: int) -> Tensor:
    """Mean attention of each head to the tokens that followed earlier copies of the query's own,
    from the second copy on: [B, T, H, T] -> [H]."""
    length = pattern.shape[1]
    query, key = torch.arange(length)[:, None], torch.arange(length)
    followed = ((query - key + 1) % period == 0) & (query - key > 1)
    return (pattern * followed[:, None]).sum(-1)[:, period:].mean((0, 1))


def test_induction_infinite() -> None:
    tokens = repeats(128, 85, 16)
    early, late = Site("pattern", 0), Site("pattern", 1)
    kept = model("induction_infinite").forward(tokens, None, sites=[early, late])
    right = kept.logits.argmax(-1)[:, :-1] == tokens[:, 1:]
    assert share(right[:, 24:]) == pytest.approx(0.73, abs=0.04)
    heads = stripe(kept.sites[late], 16)
    torch.testing.assert_close(heads[1:], torch.full((3,), 0.42), atol=0.02, rtol=0)
    previous = kept.sites[early].diagonal(-1, dim1=1, dim2=3).mean((0, 2))
    assert previous.argmax() == 2 and previous[2].item() == pytest.approx(0.27, abs=0.02)


def test_induction_finite_has_memorised() -> None:
    tokens = repeats(128, 85, 16)
    kept = model("induction_finite").forward(tokens, None, sites=[Site("pattern", 1)])
    assert share(kept.logits.argmax(-1)[:, 16:-1] == tokens[:, 17:]) < 0.12
    heads = stripe(kept.sites[Site("pattern", 1)], 16)
    assert heads.argmax() == 2 and heads[2].item() == pytest.approx(0.30, abs=0.03)


def test_five_digit_addition_runs() -> None:
    executor = model("digit_addition_5")
    logits = executor.forward(draw(12, 4, 18), None).logits
    assert logits.shape == (4, 18, 10) and torch.isfinite(logits).all()


def test_induction_2l() -> None:
    tokens = torch.cat([torch.zeros(200, 1).long(), 1 + repeats(255, 63, 20)], 1)
    kept = model("induction_2l", "trained-feasibility").forward(
        tokens, None, sites=[Site("pattern", 1)]
    )
    assert share(kept.logits.argmax(-1)[:, 21:-1] == tokens[:, 22:]) > 0.95
    heads = stripe(kept.sites[Site("pattern", 1)][:, 1:, :, 1:], 20)
    assert (heads > 0.75).all(), heads


def test_ioi_synthetic() -> None:
    vocabulary = json.loads((DATA / "trained-feasibility" / "ioi_synthetic.json").read_text())
    ids = {word: i for i, word in enumerate(vocabulary["vocab"])}
    names = vocabulary["vocab"][40:72]
    pairs = [(a, b) for a in names[:8] for b in names[8:16]]
    texts = [f"<bos> When {a} and {b} went to the store , {b} gave a drink to" for a, b in pairs]
    tokens = torch.tensor([[ids[word] for word in text.split()] for text in texts])
    logits = model("ioi_synthetic", "trained-feasibility").forward(tokens, None).logits[:, -1]
    rows = torch.arange(len(pairs))
    io, s = (torch.tensor([ids[pair[i]] for pair in pairs]) for i in (0, 1))
    assert (logits.argmax(-1) == io).all()
    assert (logits[rows, io] - logits[rows, s]).mean() > 8


def test_stories260k_writes_a_story() -> None:
    pieces = [piece for piece, _ in json.loads((DATA / "stories260k" / "vocab.json").read_text())]
    executor = model("", "stories260k")
    tokens = torch.tensor([[1]])
    for length in range(1, 60):
        logits = executor.forward(tokens, torch.tensor([[length - 1]])).logits
        tokens = torch.cat([tokens, logits.argmax(-1)], 1)
    text = "".join(pieces[i] for i in tokens[0, 1:].tolist())
    start = "Once upon a time, there was a little girl named Lily. She loved to play outside in the"
    assert text.strip().startswith(start)
