"""Pairs of prompts as a run keeps them: read back, aligned, laid over with effects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.placed_effects import ANY, Overlay, effects, overlays
from interp_dsl.runs.prompts import (
    Prompt,
    aligned,
    differs,
    pair_names,
    read_pairs,
    recorded_heads,
    recorded_pattern,
    recordings,
)
from interp_dsl.runs.schema import score_table
from tests.tui.viewed import (
    CLEAN,
    CORRUPT,
    N_HEADS,
    N_LAYERS,
    WORDS,
    bare,
    heads,
    recording,
    side,
    stream,
    vocabulary,
    write_pairs,
)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return bare(tmp_path)


def prompt(ids: list[int], **labels: tuple[int, int]) -> Prompt:
    return Prompt("clean", np.array(ids), tuple(map(str, ids)), labels, len(ids) - 1)


def test_pairs_are_read_as_they_were_kept(folder: RunFolder) -> None:
    held = write_pairs(folder)
    assert pair_names(folder) == ["ioi"]
    pairs = read_pairs(folder, "ioi")
    assert (pairs.sides, len(pairs), pairs.has_texts) == (["clean", "corrupt"], 2, True)
    found = pairs.prompt("corrupt", 1)
    assert found.texts == tuple(WORDS[token] for token in CORRUPT[1])
    assert found.labels == {"IO": (2, 3), "S1": (4, 5), "S2": (7, 8), "END": (9, 10)}
    assert found.top_ids is not None
    np.testing.assert_array_equal(found.top_ids, held["corrupt.top_ids"][1])
    assert pairs.heads == [(a, b) for a in range(N_LAYERS) for b in range(N_HEADS)]
    pattern = pairs.pattern("clean", 1, (2, 3))
    assert pattern is not None
    np.testing.assert_array_equal(pattern.values, held["clean.pattern.2"][1, 3])
    assert pattern.row_names == pairs.prompt("clean", 1).texts
    assert pairs.answers("answer", 0) == {2} and pairs.answers("wrong", 1) == {9}
    assert pairs.pattern("clean", 1, (3, 0)) is None and pairs.pattern("clean", 1, (0, 9)) is None


def test_padding_is_no_part_of_a_prompt(folder: RunFolder) -> None:
    held = side("clean", [[1, 2, 3, 0], [4, 5, 6, 7]], 0)
    held["clean.lengths"] = np.array([3, 4])
    held |= {f"clean.label.{n}": np.array([[0, 0]] * 2) for n in ("IO", "S1", "S2", "END")}
    folder.write_tensors("pairs.d", held | vocabulary())
    pairs = read_pairs(folder, "d")
    short = pairs.prompt("clean", 0)
    assert short.ids.tolist() == [1, 2, 3] and short.labels == {}
    assert short.top_logits is not None and len(short.top_logits) == 3
    pattern = pairs.pattern("clean", 0, (0, 0))
    assert pattern is not None and pattern.shape == (3, 3)


def test_without_texts_tokens_are_numbers(folder: RunFolder) -> None:
    write_pairs(folder, patterns=False, texts=False)
    pairs = read_pairs(folder, "ioi")
    assert not pairs.has_texts and pairs.prompt("clean", 0).texts[2] == "#2"
    assert pairs.heads == [] and pairs.pattern("clean", 0, (0, 0)) is None


def test_prompts_of_one_length_pair_token_by_token() -> None:
    left, right = prompt([1, 2, 3, 2, 3]), prompt([2, 3, 2, 2, 1])
    assert aligned(left, right) == [(i, i) for i in range(5)]
    assert [differs(left, right, c) for c in aligned(left, right)] == [True] * 3 + [False] + [True]
    assert aligned(left, None) == [(i, None) for i in range(5)]


def test_prompts_of_different_lengths_have_gaps() -> None:
    left, right = prompt([1, 2, 3, 4]), prompt([1, 2, 9, 9, 4])
    columns = aligned(left, right)
    assert [a for a, _ in columns if a is not None] == [0, 1, 2, 3]
    assert [b for _, b in columns if b is not None] == [0, 1, 2, 3, 4]
    marks = [differs(left, right, c) for c in columns]
    assert marks == [False, False, True, True, False]


@pytest.mark.parametrize(
    ("position", "tokens"),
    [
        ("S", [1, 2]), ("S.first", [1]), ("S.last", [2]), ("first", [0]), ("last", [4]), ("3", [3]),
        ("9", []), ("all", []), ("mixed", []), ("T", []), ("S -> T", []),
    ],
)  # fmt: skip
def test_positions_as_score_tables_write_them(position: str, tokens: list[int]) -> None:
    assert prompt([5, 6, 7, 8, 9], S=(1, 3)).tokens_at(position) == tokens


# ---- effects


def test_effects_stand_at_the_tokens_of_their_positions(folder: RunFolder) -> None:
    write_pairs(folder)
    table = score_table(stream())
    found = read_pairs(folder, "ioi").prompt("clean", 0)
    any_unit = effects(table, Overlay("stream", "gap"), found)
    assert {t: (e.value, e.unit) for t, e in any_unit.items()} == {
        7: (-1.5, "L0.resid_post"),
        9: (-7.5, "L2.resid_post"),
    }
    one = effects(table, Overlay("stream", "gap", "L0.resid_post"), found)
    assert {t: e.value for t, e in one.items()} == {7: -1.5, 9: 0.5}


def test_overlays_are_those_whose_positions_the_prompt_has(folder: RunFolder) -> None:
    write_pairs(folder)
    tables = {"heads": heads(("all",)), "stream": stream(), "at_end": heads(("END",))[:1]}
    held = {step: score_table(rows) for step, rows in tables.items()}
    found = overlays(held, [read_pairs(folder, "ioi").prompt("clean", 0)])
    assert found[0] == Overlay("stream", "gap", ANY)
    assert {(o.step, o.unit) for o in found[1:]} == {
        *(("stream", f"L{layer}.resid_post") for layer in range(3)),
        ("at_end", "L0H0"),
    }


# ---- recordings


def test_a_recording_of_these_tokens_has_their_attention(folder: RunFolder) -> None:
    write_pairs(folder, patterns=False)
    held = recording([[9] * 10, *CLEAN], 1)
    folder.write_tensors("seen", held)
    folder.write_table("noising", score_table(heads()))
    folder.write_tensors("noising", {"tokens": np.zeros((1, 1), dtype=np.int64)})
    (found,) = recordings(folder)
    assert found[0] == "seen" and recorded_heads(found[1]) == [(1, h) for h in range(N_HEADS)]
    pairs = read_pairs(folder, "ioi")
    pattern = recorded_pattern(found[1], pairs.prompt("clean", 1), (1, 2))
    assert pattern is not None
    np.testing.assert_allclose(pattern.values, held["L1H2.pattern"][2])
    assert recorded_pattern(found[1], pairs.prompt("corrupt", 1), (1, 2)) is None
    assert recorded_pattern(found[1], pairs.prompt("clean", 1), (0, 2)) is None


def test_a_recording_at_some_positions_has_those_queries(folder: RunFolder) -> None:
    write_pairs(folder, patterns=False)
    whole = recording(CLEAN, 1)
    name = "L1H2.pattern at together(S2, END)"
    some = np.array([[7, 9, -1]] * 2)
    values = np.stack([whole["L1H2.pattern"][i][[7, 9, 0]] for i in range(2)])
    entry = "L1H3.pattern at S2 -> END"
    held = {name: values, f"{name}.positions": some, entry: values, f"{entry}.positions": some}
    held |= {"tokens": whole["tokens"], "lengths": whole["lengths"]}
    assert recorded_heads(held) == [(1, 2)]
    pattern = recorded_pattern(held, read_pairs(folder, "ioi").prompt("clean", 0), (1, 2))
    assert pattern is not None and pattern.row_names == (" John", " to")
    np.testing.assert_allclose(pattern.values, values[0][:2])
