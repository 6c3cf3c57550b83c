"""The task generators, checked by reading the tokens again."""

import numpy as np
import pytest

from interp_dsl.data import tasks
from interp_dsl.data.tasks import TaskData


def at(data: TaskData, side: np.ndarray, label: str) -> np.ndarray:
    start, end = data.labels[label].T
    assert (end == start + 1).all()
    return side[np.arange(len(side)), start]


def corrupted(data: TaskData) -> np.ndarray:
    assert data.corrupt is not None
    return data.corrupt


@pytest.mark.parametrize("half", [4, 5, 24, 31])
def test_repeated_tokens_answer_follows_a_on_each_side(half: int) -> None:
    data = tasks.repeated_tokens(pairs=64, half=half, vocab=40, bos=0, seed=3)
    for side, follower in ((data.clean, data.answer), (corrupted(data), data.wrong)):
        for row, end, after in zip(side, data.position, follower, strict=True):
            assert row[0] == 0
            assert len(set(row[1 : half + 1])) == half and 0 not in row[1:]
            (first,) = np.flatnonzero(row[1 : half + 1] == row[end]) + 1
            assert row[first + 1] == after
            assert (row == after).sum() == 1
    assert (data.clean[:, half + 1 :] == data.clean[:, 1 : data.clean.shape[1] - half]).all()


def test_repeated_tokens_corruption_is_one_exchange_in_the_first_copy() -> None:
    data = tasks.repeated_tokens(pairs=64, half=24, vocab=256, seed=0)
    corrupt = corrupted(data)
    assert ((data.clean != corrupt).sum(1) == 2).all()
    assert (at(data, data.clean, "A1") == at(data, corrupt, "C1")).all()
    assert (at(data, data.clean, "C1") == at(data, corrupt, "A1")).all()
    assert (at(data, data.clean, "END") == at(data, data.clean, "A1")).all()
    for label, token in (("B1", data.answer), ("D1", data.wrong)):
        assert (at(data, data.clean, label) == token).all()
        assert (at(data, corrupt, label) == token).all()
    assert (data.answer != data.wrong).all()
    assert data.texts[0].split()[:2] == ["<bos>", f"t{data.clean[0, 1]}"]


def test_repeated_tokens_with_another_bos() -> None:
    data = tasks.repeated_tokens(pairs=32, half=8, vocab=12, bos=11, seed=0)
    assert (data.clean[:, 0] == 11).all() and (data.clean[:, 1:] < 11).all()


@pytest.mark.parametrize(("half", "vocab"), [(3, 256), (12, 12)])
def test_repeated_tokens_refuses_what_it_cannot_make(half: int, vocab: int) -> None:
    with pytest.raises(ValueError):
        tasks.repeated_tokens(pairs=1, half=half, vocab=vocab)


def test_induction_blocks_repeat_with_their_period() -> None:
    tokens, period = tasks.induction_blocks(256, 64, 256, np.random.default_rng(0))
    assert tokens.min() == 0 and tokens.max() < 256 and (tokens[:, 1:] > 0).all()
    assert period.min() == 8 and period.max() == 31
    for row, length in zip(tokens, period, strict=True):
        assert (row[1 + length :] == row[1:-length]).all()


def test_ioi_corruption_is_a_third_name_at_s2() -> None:
    data = tasks.task("ioi-3l", 512, seed=0)
    corrupt = corrupted(data)
    names = range(len(tasks.FILLER), len(tasks.FILLER) + len(tasks.NAMES))
    assert ((data.clean != corrupt).sum(1) == 1).all()
    assert (at(data, data.clean, "IO") == data.answer).all()
    assert (at(data, data.clean, "S1") == data.wrong).all()
    assert (at(data, data.clean, "S2") == data.wrong).all()
    assert (at(data, data.clean, "END") == tasks.IOI_WORDS.index("to")).all()
    third = at(data, corrupt, "S2")
    assert (third != data.answer).all() and (third != data.wrong).all()
    assert all(set(column) <= set(names) for column in (data.answer, data.wrong, third))
    assert set(third) == set(names)


def test_ioi_prompts_are_padded_after_their_end() -> None:
    data = tasks.task("ioi-3l", 512, seed=0)
    real = np.arange(data.clean.shape[1])[None, :] < data.lengths[:, None]
    assert ((data.clean != tasks.PAD) == real).all()
    assert (data.position == data.lengths - 1).all()
    assert data.clean.shape[1] <= 32 and len(set(data.lengths)) > 3
    assert len(set(data.template)) == 60


def test_ioi_heldout_pairs_are_never_trained_on() -> None:
    heldout = {tuple(pair) for pair in tasks.ioi_pairs("heldout")}
    training = {tuple(pair) for pair in tasks.ioi_pairs("train")}
    assert heldout == {(b, a) for a, b in heldout}
    assert not heldout & training and len(heldout | training) == 32 * 31
    assert len(heldout) / (32 * 31) == pytest.approx(0.19, abs=0.005)
    drawn = set()
    for step in range(20):
        tokens, read = tasks.ioi_sentences(128, "train", np.random.default_rng((0, 0, step)))
        for row, end in zip(tokens, read, strict=True):
            people = [t - len(tasks.FILLER) for t in row if 0 <= t - len(tasks.FILLER) < 32]
            io = row[end + 1] - len(tasks.FILLER)
            (subject,) = set(people) - {io}
            drawn.add((io, subject))
    assert drawn <= training and len(drawn) > 700
    data = tasks.task("ioi-3l", 256, seed=5)
    shift = len(tasks.FILLER)
    assert set(zip(data.answer - shift, data.wrong - shift, strict=True)) <= heldout


def test_ioi_sentences_end_in_the_indirect_object_and_a_stop() -> None:
    tokens, read = tasks.ioi_sentences(64, "train", np.random.default_rng(0))
    for row, end in zip(tokens, read, strict=True):
        words = tasks.ioi_text(row).split()
        assert words[-1].endswith(".") and words[-2] == "to"
        assert tasks.IOI_WORDS[row[end]] == "to"
        assert words[-1] == tasks.IOI_WORDS[row[end + 1]] + "."


@pytest.mark.parametrize("name", list(tasks.TASKS))
def test_tasks_are_functions_of_their_arguments(name: str) -> None:
    one, same = tasks.task(name, 16, seed=1), tasks.task(name, 16, seed=1)
    assert (one.clean == same.clean).all() and (corrupted(one) == corrupted(same)).all()
    for other in (tasks.task(name, 16, seed=2), tasks.task(name, 16, seed=1, split="train")):
        assert one.clean.shape != other.clean.shape or (one.clean != other.clean).any()
    assert all(len(column) == 16 for column in (one.answer, one.wrong, one.lengths, one.texts))


@pytest.mark.parametrize(
    "arguments", [("gpt2", 4, 0, "heldout"), ("ioi-3l", 4, 0, "test"), ("ioi-3l", 0, 0, "all")]
)
def test_task_names_what_it_does_not_know(arguments: tuple[str, int, int, str]) -> None:
    with pytest.raises(ValueError, match=r"no task|no split|at least one"):
        tasks.task(*arguments)
