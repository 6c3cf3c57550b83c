"""The docstring task, checked by parsing its prompts as the Python that they are."""

import ast

import numpy as np
import pytest

from interp_dsl.data import docstrings, tasks
from interp_dsl.data.build import build
from interp_dsl.data.docstrings import docstring_methods, docstring_text
from interp_dsl.training import recipes

WORDS = docstrings.DOCSTRING_WORDS


def parsed(source: str) -> tuple[list[str], list[str]]:
    """The arguments of a method after `self`, and those that its docstring documents."""
    (method,) = ast.parse(source).body
    assert isinstance(method, ast.FunctionDef)
    arguments = [argument.arg for argument in method.args.args]
    lines = [line.strip() for line in (ast.get_docstring(method) or "").splitlines()]
    documented = [line for line in lines if line.startswith(":param")]
    assert arguments[0] == "self" and not lines[0].startswith(":param")
    return arguments[1:], [line.removeprefix(":param ").split(":")[0] for line in documented]


def prompt(row: np.ndarray) -> tuple[list[str], list[str]]:
    """A prompt's arguments and those documented before its last `:param`."""
    text = docstring_text(row.tolist())
    assert text.endswith("\n    :param")
    arguments, documented = parsed(f"{text} END: oil\n    '''")
    assert documented[2:] == ["END"]
    return arguments, documented[:2]


@pytest.fixture(scope="module")
def data() -> tasks.TaskData:
    return tasks.task("docstring-4l", 512, seed=0)


def test_the_answer_follows_the_second_documented_argument(data: tasks.TaskData) -> None:
    starts = set()
    for row, answer in zip(data.clean, data.answer, strict=True):
        arguments, documented = prompt(row)
        assert len(set(arguments)) == len(arguments) == 6
        start = arguments.index(documented[0])
        starts.add(start)
        assert [*documented, WORDS[answer]] == arguments[start : start + 3]
    assert starts == set(data.template) == {0, 1, 2, 3}


def test_the_corrupt_prompt_does_not_say_the_answer(data: tasks.TaskData) -> None:
    assert data.corrupt is not None
    for clean, corrupt, answer, wrong in zip(
        data.clean, data.corrupt, data.answer, data.wrong, strict=True
    ):
        arguments, documented = prompt(clean)
        other_arguments, other_documented = prompt(corrupt)
        told = {*documented, WORDS[answer]}
        assert not told & {*other_arguments, *other_documented}
        assert not set(other_documented) & {*arguments, *other_arguments}
        kept = [a == b for a, b in zip(arguments, other_arguments, strict=True)]
        assert kept == [argument not in told for argument in arguments]
        named = {*arguments, *documented, *other_arguments, *other_documented}
        assert {WORDS[token] for token in wrong} == named - {WORDS[answer]}
        assert len(set(wrong)) == 10


def test_the_two_prompts_differ_at_the_labels_alone(data: tasks.TaskData) -> None:
    assert data.corrupt is not None
    rows = np.arange(len(data.clean))
    differs = np.zeros_like(data.clean, dtype=bool)
    for label in ("A_def", "B_def", "C_def", "A_doc", "B_doc"):
        differs[rows, data.labels[label][:, 0]] = True
    assert ((data.clean != data.corrupt) == differs).all()
    at = {label: data.clean[rows, span[:, 0]] for label, span in data.labels.items()}
    assert (at["A_def"] == at["A_doc"]).all() and (at["B_def"] == at["B_doc"]).all()
    assert (at["C_def"] == data.answer).all()
    assert (at["END"] == WORDS.index(":param")).all()


def test_prompts_of_different_lengths_are_padded_after_their_end(data: tasks.TaskData) -> None:
    real = np.arange(data.clean.shape[1])[None, :] < data.lengths[:, None]
    assert ((data.clean != tasks.PAD) == real).all()
    assert (data.position == data.lengths - 1).all() and len(set(data.lengths)) > 5


def test_training_methods_are_python_and_vary() -> None:
    tokens, read = docstring_methods(512, "train", np.random.default_rng(0))
    counts, starts = set(), set()
    for row, ends in zip(tokens, read, strict=True):
        arguments, documented = parsed(docstring_text(row.tolist()))
        start = len(arguments) - len(documented)
        assert documented == arguments[start:] and len(documented) >= 3
        at = ends[ends >= 0]
        assert [WORDS[token] for token in row[at + 1]] == documented[1:]
        assert (row[at] == WORDS.index(":param")).all() and (ends[len(at) :] == -1).all()
        counts.add(len(arguments))
        starts.add(start)
    assert counts == {4, 5, 6, 7} and starts == {0, 1, 2, 3, 4}


def listed(row: np.ndarray) -> list[list[str]]:
    """The arguments that each line of a row of lists yields, the last line as far as it goes."""
    text = docstring_text(row.tolist()).strip()
    lines = [line.removeprefix("yield").split(",") for line in text.splitlines()]
    return [[name.strip() for name in line if name.strip()] for line in lines]


def test_lists_give_the_end_of_a_block_again() -> None:
    lengths, starts = set(), set()
    for row in docstrings.argument_lists(256, 72, np.random.default_rng(0)):
        assert row[0] == tasks.BOS and tasks.PAD not in row
        first, *others, cut = listed(row)
        assert len(set(first)) == len(first) and len(others) >= 1
        assert all(line == first[-len(line) :] and len(line) >= 3 for line in others)
        assert cut == [] or cut == first[first.index(cut[0]) :][: len(cut)]
        lengths.add(len(first))
        starts |= {len(first) - len(line) for line in others}
    assert lengths == set(range(4, 13)) and starts >= set(range(8))


def test_heldout_neighbours_are_never_trained_on(data: tasks.TaskData) -> None:
    held = docstrings.heldout_neighbours()
    assert held.mean() == pytest.approx(0.1, abs=0.01) and not held.diagonal().any()
    shift = WORDS.index(docstrings.ARGUMENTS[0])
    rows = np.arange(len(data.clean))
    before = data.clean[rows, data.labels["B_def"][:, 0]]
    assert held[before - shift, data.answer - shift].all()
    seen = np.zeros_like(held)
    for step in range(20):
        batch = recipes.docstring().sample(step)
        for row in batch.tokens.numpy():
            lists = row[1] == WORDS.index("yield")
            blocks = listed(row) if lists else [parsed(docstring_text(row))[0]]
            for block in blocks:
                arguments = [docstrings.ARGUMENTS.index(name) for name in block]
                seen[arguments[:-1], arguments[1:]] = True
    assert not (seen & held).any()
    assert seen.sum() > 0.9 * (~held).sum() - len(held)


def test_the_dataset_holds_the_wrong_answers_as_a_class() -> None:
    drawn = tasks.task("docstring-4l", 8, seed=3)
    built = build("d", {"kind": "task", "name": "docstring-4l", "n": 8, "seed": 3}, None)
    assert built.answers is not None and built.wrongs is not None
    assert [a.alternatives for a in built.answers] == [((t,),) for t in drawn.answer]
    for answer, tokens in zip(built.wrongs, drawn.wrong, strict=True):
        assert answer.alternatives == tuple((token,) for token in tokens)
