"""The self-test, the pairs kept for the screens, recordings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from interp_dsl.data.types import Answer
from interp_dsl.engine.execute import execute
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.algebra import FromRun
from interp_dsl.plan.places import Positions, Site, Target
from interp_dsl.plan.tasks import (
    BuildData,
    Evaluate,
    Forward,
    KeepPairs,
    Plan,
    Record,
    SelfTest,
    Variant,
)
from interp_dsl.runs.example_prompts import kept_name
from interp_dsl.runs.names import is_safe
from interp_dsl.runs.prompts import vocabulary

from .loop import activations
from .plans import CLEAN, CORRUPT, END, FIRST, GAP, HEADS, LOADS, folder_in, run, sweep_plan
from .tiny import Given, Tiny, pairs

DATA = pairs()
S = Positions("label", label="S")
PLAN = sweep_plan(HEADS, FromRun(CORRUPT))
HOOK = Site("hook", None, "x")


def test_the_self_test_sees_edits_that_do_not_reach_the_model(tmp_path: Path) -> None:
    first = Evaluate("e", "base", (Variant(CLEAN, None),), (GAP,), CLEAN)
    plan = Plan((*LOADS, SelfTest("t", CLEAN, CORRUPT), Forward("f", CLEAN, (), (GAP,)), first))

    class Deaf(Tiny):
        def forward(self, tokens, reads, edits=(), sites=(), mask=None):
            return super().forward(tokens, reads, (), sites, mask)

    class Leaky(Tiny):
        def forward(self, tokens, reads, edits=(), sites=(), mask=None):
            found = super().forward(tokens, reads, edits, sites, mask)
            return replace(found, logits=found.logits + 0.1 * len(edits))

    execute(plan, folder_in(tmp_path), loaders=Given(Tiny(), d=DATA))
    for model, what in ((Deaf(), "whole residual stream"), (Leaky(), "into itself")):
        with pytest.raises(InterpError, match="E642") as caught:
            execute(plan, folder_in(tmp_path), loaders=Given(model, d=DATA))
        assert what in caught.value.diagnostics[0].message
        assert "largest difference" in caught.value.diagnostics[0].notes[0]


def test_a_model_that_nothing_asks_is_not_tested(tmp_path: Path) -> None:
    first = run(PLAN, Tiny(), tmp_path, d=DATA)
    model, other = Tiny(), folder_in(tmp_path)
    plan = replace(PLAN, tasks=(*LOADS, SelfTest("t", CLEAN, CORRUPT), *PLAN.tasks[2:]))
    execute(plan, other, reuse=[first.folder], loaders=Given(model, d=DATA))
    assert model.rows == 0 and other.read_table("who").equals(first.table)
    execute(plan, folder_in(tmp_path), loaders=Given(model, d=DATA))
    assert model.rows > 30


def kept_pairs(tmp_path: Path, budget: int) -> dict[str, np.ndarray]:
    folder = folder_in(tmp_path)
    plan = Plan((*LOADS, KeepPairs("k", "d", (CLEAN, CORRUPT), 4, budget)))
    execute(plan, folder, loaders=Given(Tiny(), d=DATA))
    return folder.read_tensors("pairs.d")


def test_pairs_kept_for_the_screens(tmp_path: Path) -> None:
    held = kept_pairs(tmp_path, 10**6)
    assert len(held["clean.tokens"]) == 4
    assert held["clean.label.S"].tolist() == DATA.sides["clean"].labels["S"][:4].tolist()
    tokens = torch.from_numpy(DATA.sides["corrupt"].tokens[:4])
    logits = Tiny().run(tokens, lambda site, x: x)
    np.testing.assert_array_equal(held["corrupt.top_ids"], logits.topk(10, dim=-1).indices)
    np.testing.assert_allclose(held["corrupt.pattern.0"].sum(-1), 1, atol=1e-2)
    assert (held["corrupt.pattern.0"][:, :, 0, 1:] == 0).all()


def test_answers_are_kept_by_their_first_tokens(tmp_path: Path) -> None:
    answers = (Answer(((3,), (5, 9))), Answer(((7,),)), *[Answer(((1,),))] * (DATA.n - 2))
    folder = folder_in(tmp_path)
    plan = Plan((*LOADS, KeepPairs("k", "d", (CLEAN, CORRUPT), 2)))
    execute(plan, folder, loaders=Given(Tiny(), d=replace(DATA, answers=answers, wrongs=None)))
    held = folder.read_tensors("pairs.d")
    assert held["answer"].tolist() == [[3, 5], [7, -1]] and "wrong" not in held
    assert "vocabulary" not in held  # the tiny model has no tokenizer


WORDS = ["<bos>", "a", "", "ü", " b", "\n", "🙂", "\x00", "w8", "w9", "w10"]


class Spoken(Tiny):
    """The tiny model with a tokenizer of eleven words."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        (folder / "vocab.json").write_text(json.dumps(WORDS), encoding="utf-8")
        self.facts = replace(self.facts, tokenizer=folder / "vocab.json")


def test_the_texts_of_all_kept_tokens(tmp_path: Path) -> None:
    """Read back, they are the tokenizer's; of pairs and of recordings."""
    folder, model = folder_in(tmp_path), Spoken(tmp_path)
    targets = (Target(Site("head", 1), 1),)
    forward = Forward("f", CORRUPT, (Site("head", 1),))
    kept = KeepPairs("k", "d", (CLEAN, CORRUPT), 3)
    plan = Plan((*LOADS, kept, forward, Record("r", "seen", CORRUPT, targets, keep=3)))
    execute(plan, folder, loaders=Given(model, d=DATA))
    pairs = folder.read_tensors("pairs.d")
    for held, names in ((pairs, ("tokens", "top_ids")), (folder.read_tensors("seen"), ("tokens",))):
        found = vocabulary(held)
        said = [held[n].ravel() for n in held if n.rpartition(".")[2] in names]
        assert found.keys() >= set(np.concatenate(said).tolist())
        assert all(text == WORDS[token] for token, text in found.items())


@pytest.mark.parametrize(("budget", "pairs_kept", "patterns"), [(3000, 2, True), (1000, 1, False)])
def test_pairs_are_kept_within_the_budget(
    tmp_path: Path, budget: int, pairs_kept: int, patterns: bool
) -> None:
    held = kept_pairs(tmp_path, budget)
    assert len(held["clean.tokens"]) == pairs_kept
    assert ("corrupt.pattern.1" in held) == patterns
    assert sum(v.nbytes for v in held.values()) <= budget


class Named(Tiny):
    """The tiny model with a raw hook, [batch, position, width]."""

    def run(self, tokens, change, mask=None):
        return change(HOOK, super().run(tokens, change, mask))


def recorded(tmp_path: Path, *targets: Target) -> dict[str, np.ndarray]:
    sites = tuple(dict.fromkeys(t.site for t in targets))
    plan = Plan(
        (*LOADS, Forward("f", CORRUPT, sites), Record("r", "seen", CORRUPT, targets, keep=3))
    )
    folder = folder_in(tmp_path)
    execute(plan, folder, loaders=Given(Named(), d=DATA))
    assert "seen" in folder.step_keys
    return folder.read_tensors("seen")


def test_recordings(tmp_path: Path) -> None:
    held = recorded(
        tmp_path,
        Target(Site("head", 1), 1),
        Target(Site("resid_pre", 0), None, END),
        Target(HOOK, None, END),
    )
    assert held["L1H1"].shape == (3, 6, 8)
    assert held["L0.resid_pre at END"].shape == (3, 1, 8)
    assert held["L0.resid_pre at END.positions"].tolist() == [[5]] * 3
    assert held['"x" at END'].shape == (3, 1, 1, 11)
    at = activations(Tiny(), DATA.sides["corrupt"], 2)
    np.testing.assert_allclose(held["L1H1"][2], at[Site("head", 1)][0, :, 1], atol=1e-6)
    stream = at[Site("resid_pre", 0)][0, 5:, 0]
    np.testing.assert_allclose(held["L0.resid_pre at END"][2], stream, atol=1e-6)


def test_entries_of_a_pattern_are_recorded_query_by_key(tmp_path: Path) -> None:
    last = Positions("union", parts=(FIRST, END))
    held = recorded(tmp_path, Target(Site("pattern", 1), 0, Positions("entry", parts=(S, last))))
    name = "L1H0.pattern at S -> together(first, END)"
    assert held[name].shape == (3, 2, 2)
    assert held[f"{name}.positions"].tolist() == [[0, 5]] * 3
    labels = DATA.sides["corrupt"].labels["S"][:3]
    assert held[f"{name}.keys"].tolist() == [[s, s + 1] for s, _ in labels]
    for example, (start, end) in enumerate(labels):
        rows = activations(Tiny(), DATA.sides["corrupt"], example)[Site("pattern", 1)][0, :, 0]
        wanted = rows[[0, 5]][:, start:end]
        np.testing.assert_allclose(held[name][example], wanted, atol=1e-6)


def test_kept_pairs_of_filters_without_a_name_have_files_of_their_own() -> None:
    texts = ("r", "r where index < 2", "r where index > 2", "r_where_index_2")
    data = [BuildData(f"d{i}", name, {}) for i, name in enumerate(texts)]
    kept = [KeepPairs(f"k{i}", f"d{i}", ()) for i in range(4)]
    names = [kept_name(task.data, (*data, *kept)) for task in kept]
    assert names == ["r", "r_where_index_2_2", "r_where_index_2_3", "r_where_index_2"]
    assert all(map(is_safe, names))
