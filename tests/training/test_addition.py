"""Addition modulo 113: its prompts, and the frequencies that a model works with."""

import numpy as np
import pytest
import torch

from interp_dsl.data import addition, tasks
from interp_dsl.training import fourier, recipes, vocab


def test_every_pair_stands_once_and_on_one_side() -> None:
    data = tasks.task("modadd-113", addition.MODULUS**2, split="all")
    assert len(np.unique(data.clean[:, :2], axis=0)) == 12769
    assert (data.clean[:, 2] == addition.EQUALS).all()
    sides = {split: set(map(tuple, addition.addends(split))) for split in ("train", "heldout")}
    assert not sides["train"] & sides["heldout"]
    assert len(sides["heldout"]) == 3831 and len(sides["train"]) == 8938


def test_answers_are_the_sums_of_each_side() -> None:
    data = tasks.task("modadd-113", 512, seed=3)
    assert data.corrupt is not None
    for side, answer in ((data.clean, data.answer), (data.corrupt, data.wrong)):
        assert [(int(a) + int(b)) % 113 for a, b, _ in side] == list(answer)
    assert (data.clean[:, 0] != data.corrupt[:, 0]).all()
    assert (data.clean[:, 1:] == data.corrupt[:, 1:]).all()
    assert set(map(tuple, data.clean[:, :2])) <= set(map(tuple, addition.addends("heldout")))


def test_more_pairs_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="3831 pairs in heldout, not 3832"):
        tasks.task("modadd-113", 3832)


def test_the_vocabulary_writes_each_number_as_its_id() -> None:
    tokenizer = vocab.modular_addition()
    data = tasks.task("modadd-113", 8, seed=1)
    for text, row in zip(data.texts, data.clean, strict=True):
        assert tokenizer.encode(text).ids == list(row)


def test_training_learns_the_answers_alone() -> None:
    recipe = recipes.addition()
    batch = recipe.sample(0)
    trained = set(map(tuple, addition.addends("train")))
    assert {(int(a), int(b)) for a, b, *_ in batch.tokens} <= trained
    assert batch.tokens.shape == (512, 4) and (batch.tokens[:, 2] == addition.EQUALS).all()
    assert torch.equal(batch.tokens[:, :2].sum(1) % 113, batch.tokens[:, 3])
    model = recipes.Transformer(recipe.shape)
    scores = model(batch.tokens[:, :3])[:, 2].log_softmax(-1)
    expected = -scores.gather(1, batch.tokens[:, 3:]).mean()
    assert torch.allclose(recipes.loss(model, batch, None), expected, atol=1e-6)


def test_planted_frequencies_are_found_with_their_shares() -> None:
    p = 13
    at = torch.arange(p, dtype=torch.float64)
    residue = at[:, None, None] + at[None, :, None] - at
    wave = 2 * torch.pi / p * residue
    only_a = (2 * torch.pi / p * (at[:, None, None] + 0 * residue)).cos()
    constant = 2.0 * (2 * torch.pi / p * 6 * at).cos()
    logits = 3.0 * (wave * 2).cos() + 4.0 * (wave * 5).sin() + 5.0 * only_a * (wave * 4).cos()
    logits = logits + constant
    shares = fourier.logit_shares(logits)
    total = 9 / 2 + 16 / 2 + 25 / 4 + 4 / 2
    expected = torch.zeros(6, dtype=torch.float64)
    expected[1], expected[4] = 4.5 / total, 8 / total
    assert torch.allclose(shares, expected, atol=1e-12)
    rows = torch.stack([7 + (2 * torch.pi / p * 3 * at).cos(), (2 * torch.pi / p * at).sin()], 1)
    assert torch.allclose(
        fourier.power(rows), torch.tensor([0.5, 0, 0.5, 0, 0, 0]).double(), atol=1e-12
    )
