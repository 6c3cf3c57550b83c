"""The loop on tiny configurations, and the measures."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from interp_dsl.data import tasks
from interp_dsl.training import bundle, measure, recipes, text, vocab
from interp_dsl.training.loop import CHECKPOINT, train
from interp_dsl.training.model import Shape, Trace, Transformer
from interp_dsl.training.recipes import Batch, Recipe


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


TINY = Shape(
    n_layers=2, n_heads=2, d_model=8, d_head=4, n_ctx=16, d_vocab=256, d_mlp=16, act="gelu"
)


def tiny(seed: int = 0) -> Recipe:
    def sample(step: int) -> Batch:
        rng = np.random.default_rng((seed, step))
        return Batch(torch.from_numpy(tasks.induction_blocks(4, 16, 256, rng, (3, 7))[0]))

    schedule = dataclasses.replace(recipes.induction().schedule, steps=12, warmup=3)
    return Recipe(
        "induction-2l",
        TINY,
        schedule,
        sample,
        lambda model: {"norm": model.unembed.W_U.norm().item()},
        snapshots=(0, 3, 9),
        evaluate_every=5,
        seed=seed,
    )


def test_a_resumed_run_ends_as_the_uninterrupted_one(tmp_path: Path) -> None:
    whole = train(tiny(), tmp_path / "whole")
    for until in (4, 7, None):
        broken = train(tiny(), tmp_path / "broken", resume=True, until=until)
    assert broken.step == whole.step == 12
    assert broken.curve == whole.curve and [row["step"] for row in whole.curve] == [5, 10, 12]
    for name, weight in whole.model.weights().items():
        assert torch.equal(weight, broken.model.weights()[name]), name
    for step in (0, 3, 9):
        file = f"steps/step-{step}.safetensors"
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "broken" / file).read_bytes()


def test_a_checkpoint_is_not_overwritten_by_chance(tmp_path: Path) -> None:
    train(tiny(), tmp_path, until=2)
    with pytest.raises(FileExistsError, match="resume"):
        train(tiny(), tmp_path)
    assert not (tmp_path / f"{CHECKPOINT}.part").exists()


def test_the_rate_rises_holds_and_falls() -> None:
    schedule = recipes.induction().schedule
    rates = [schedule.rate(step, 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(3e-5) and rates[99] == rates[700] == 3e-3
    assert rates[850] == pytest.approx(3e-3 * (1 - 0.95 / 2))
    assert rates[-1] == pytest.approx(3e-3 * 0.05, rel=0.1)


def test_loss_leaves_padding_out() -> None:
    model = Transformer(TINY)
    tokens = torch.tensor([[0, 5, 6, 7, 1, 1], [0, 5, 6, 7, 8, 9]])
    single = recipes.loss(model, Batch(tokens[:1, :4]), pad=1)
    assert torch.allclose(recipes.loss(model, Batch(tokens[:1]), pad=1), single)
    answer = recipes.loss(model, Batch(tokens[:1], torch.tensor([2])), pad=1) - single
    expected = -model(tokens[:1])[0, 2].log_softmax(-1)[7]
    assert torch.allclose(answer, expected, atol=1e-6)


def test_loss_takes_every_answer_of_a_row_and_none_at_minus_one() -> None:
    model = Transformer(TINY)
    tokens = torch.tensor([[0, 5, 6, 7], [0, 8, 9, 3]])
    read = torch.tensor([[1, 2, -1], [0, -1, -1]])
    answers = recipes.loss(model, Batch(tokens, read), None) - recipes.loss(
        model, Batch(tokens), None
    )
    scores = model(tokens).log_softmax(-1)
    expected = -(scores[0, 1, 6] + scores[0, 2, 7] + scores[1, 0, 8]) / 3
    assert torch.allclose(answers, expected, atol=1e-6)


def test_the_highest_of_several_wrong_answers_counts() -> None:
    data = tasks.task("docstring-4l", 3, seed=0)
    logits = torch.zeros(3, data.clean.shape[1], 200)
    rows = torch.arange(3)
    end = torch.from_numpy(data.position)
    logits[rows, end, torch.from_numpy(data.answer)] = 5.0
    for column, height in ((2, 1.0), (7, 3.0)):
        logits[rows, end, torch.from_numpy(data.wrong[:, column])] = height
    assert measure.logit_diff(logits, data) == 2.0


def test_renumbered_heads_compute_the_same() -> None:
    model = Transformer(TINY, seed=3)
    moved = Transformer.of(TINY, bundle.renumbered(model.weights(), [[1, 0], [0, 1]]))
    tokens = torch.arange(16)[None, :]
    assert torch.allclose(model(tokens), moved(tokens), atol=1e-5)
    assert not torch.equal(model.weights()["blocks.0.attn.W_Q"], moved.blocks[0].attn.W_Q)


def test_a_head_replaced_by_itself_changes_nothing_and_parts_sum_to_the_logits() -> None:
    model = Transformer(TINY, seed=1).eval()
    tokens, trace = torch.arange(16)[None, :], Trace()
    logits = model(tokens, trace)
    same = Trace(replace={(1, 0): trace.z[1][:, :, 0]})
    assert torch.equal(model(tokens, same), logits)
    assert trace.final is not None
    whole = model.unembedded(trace.final[0], trace.final[0])
    assert torch.allclose(whole + model.ln_final.b @ model.unembed.W_U, logits[0], atol=1e-5)


def test_stripes_see_a_planted_previous_token_head() -> None:
    shape = Shape(1, 1, 64, 32, 32, 40, norm=None)
    model = Transformer(shape)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        angle = torch.arange(32)[:, None] * torch.linspace(0.05, 2.5, 16)[None, :]
        model.pos_embed.W_pos[:, :32] = torch.cat([angle.cos(), angle.sin()], 1)
        turn = torch.linspace(0.05, 2.5, 16)
        model.blocks[0].attn.W_K[0, :32, :32] = 40 * torch.eye(32)
        rotate = torch.zeros(32, 32)
        rotate[:16, :16], rotate[16:, 16:] = turn.cos().diag(), turn.cos().diag()
        rotate[16:, :16], rotate[:16, 16:] = turn.sin().diag(), -turn.sin().diag()
        model.blocks[0].attn.W_Q[0, :32] = rotate
    row = measure.stripes(model)["L0H0"]
    assert row["previous_token"] > 0.95 and row["induction"] < 0.05


def test_text_windows_are_bos_and_consecutive_tokens() -> None:
    stream = np.arange(1000, dtype=np.uint16)
    rows = text.windows(stream, np.array([0, 500]))
    assert rows.shape == (2, 128) and rows[1].tolist() == [0, *range(500, 627)]


def test_byte_pairs_give_every_text_back() -> None:
    tokenizer = vocab.byte_pairs(["def f(x):\n    return x\n"] * 10, 300)
    sample = "\tx = 'é – 日本'\r\n"
    assert tokenizer.decode(tokenizer.encode(sample).ids) == sample
    assert tokenizer.token_to_id("<bos>") == 0


def test_docstrings_are_those_of_more_than_one_line() -> None:
    source = 'def f():\n    """One.\n\n    Two."""\n\ndef g():\n    """Short."""\n'
    assert list(text.docstrings(source)) == ["One.\n\nTwo."]
    assert list(text.docstrings("def (")) == []


def test_help_pages_come_one_by_one() -> None:
    source = "# made by a tool\ntopics = {'if': 'The if\\n', 'while': 'The ' 'while'}\n"
    assert text._pages(text.HELP_PAGES, source) == [
        (f"{text.HELP_PAGES}#if", "The if\n"),
        (f"{text.HELP_PAGES}#while", "The while"),
    ]
    assert text._pages("abc.py", source) == [("abc.py", source)]


def test_held_out_files_are_no_training_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [(f"m{i}.py", f"value_{i} = {i}\n" * 40) for i in range(30)]
    monkeypatch.setattr(text, "library", lambda: files)
    data = text.corpus(tmp_path)
    kept, held = (data.tokenizer.decode(s.tolist()) for s in (data.train, data.heldout))
    assert all((source in kept) != (source in held) for _, source in files)
    assert data.facts["heldout_files"] == 6 and data.heldout[0] == text.BOS
    assert (text.corpus(tmp_path).train == data.train).all()
