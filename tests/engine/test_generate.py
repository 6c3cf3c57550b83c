"""Texts continued under interventions, against loops that run the whole text for every token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.engine.continuing import Anew, Cached, Growing
from interp_dsl.engine.generate import Chooser
from interp_dsl.engine.state import Result, State
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.algebra import (
    Constant,
    Explicit,
    Intervention,
    MeanVector,
    Points,
    Run,
)
from interp_dsl.plan.generation import Continuation
from interp_dsl.plan.paths import AlongVector, Moved
from interp_dsl.plan.places import ALL, Length, Positions, Site, Target
from tests.models.running import compiled, executor

from .continuations import (
    BUT_LAST,
    FEATURES,
    KINDS,
    PROMPTS,
    PUSHED,
    STREAM,
    TASK,
    change,
    continued,
    feature,
    run,
    state_of,
    written,
)
from .plans import CLEAN, CORRUPT, END, FIRST, LAST, unit
from .tiny import Change, Tiny


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox", "gemma2", "rotary", "capped"])
def test_kept_keys_and_values_change_nothing(family: str, kind: str, tmp_path: Path) -> None:
    """Cached in the compiled forward, and the whole text anew by TransformerLens's hooks."""
    tables = []
    for name, model in (("cached", compiled(family)), ("anew", executor(family))):
        state = state_of(model, tmp_path / name, 32)
        turned = (0,) if kind in ("pushed", "features") else ()
        for number, task in enumerate(
            (continued(*KINDS[kind]), continued(*KINDS[kind], turned=turned))
        ):
            tables.append(run(state, tmp_path / f"{name}{number}", task)[1])
    (cached, turned_cached, anew, turned_anew) = tables
    for one, other in ((cached, anew), (turned_cached, turned_anew)):
        assert one.drop("logprob", "own_logprob", "kl").equals(
            other.drop("logprob", "own_logprob", "kl")
        )
        for name in ("logprob", "own_logprob", "kl"):
            np.testing.assert_allclose(one[name], other[name], atol=2e-4, rtol=2e-4)
    assert cached.filter(under="it")["kl"].max() > 1e-4, "the intervention does nothing"
    if turned:
        assert not turned_cached.equals(cached)


def test_which_reader_runs(tmp_path: Path) -> None:
    for model, kind in ((compiled("gpt2"), Cached), (executor("gpt2"), Anew)):
        growing = Growing(CLEAN, 2, state_of(model, tmp_path / kind.__name__, 32))
        context = growing.contexts(Continuation("plain", CLEAN), 0)
        assert isinstance(growing.reader(context, torch.arange(2)), kind)


# ---- a loop by hand

Hook = Callable[[Site, Tensor, int, int], Tensor]
"""Of a site's tensor [1, t, index, width] of a prompt with so many tokens, and its number."""


def by_hand(hook: Hook, tokens: int = 4) -> list[list[int]]:
    """One prompt at a time, the whole text for every token, the most likely one each time."""
    model, found = Tiny(), []
    for number, prompt in enumerate(PROMPTS):
        text = list(prompt)
        for _ in range(tokens):

            def at(site: Site, x: Tensor, number: int = number) -> Tensor:
                return hook(site, x, len(PROMPTS[number]), number)

            text.append(int(model.run(torch.tensor([text]), at)[0, -1].argmax()))
        found.append(text[len(prompt) :])
    return found  # fmt: skip


def _set(site: Site, value: float, columns: Callable[[int, int], Sequence[int]]) -> Hook:
    def hook(at: Site, x: Tensor, prompt: int, number: int) -> Tensor:
        if at != site:
            return x
        x = x.clone()
        x[:, list(columns(x.shape[1], prompt))] = value
        return x

    return hook


@pytest.mark.parametrize(
    ("at", "columns"),
    [
        (ALL, lambda now, prompt: range(now)),
        (LAST, lambda now, prompt: [prompt - 1]),
        (END, lambda now, prompt: [prompt - 1]),
        (FIRST, lambda now, prompt: [0]),
        (BUT_LAST, lambda now, prompt: [i for i in range(now) if i != prompt - 1]),
        (Positions("label", label="S"), lambda now, prompt: [0, 1]),
    ],
    ids=["all", "last", "END", "first", "all - last", "S"],
)  # fmt: skip
def test_positions_of_prompts_and_of_what_is_written(
    tmp_path: Path, at: Positions, columns: Callable[[int, int], Sequence[int]]
) -> None:
    state = state_of(Tiny(), tmp_path / "s", 8)
    site = Site("resid_pre", 1)
    _, table = run(state, tmp_path, continued(change(Constant(1.5), unit("resid_pre", 1, at=at))))
    assert written(table, "it") == by_hand(_set(site, 1.5, columns))
    assert written(table, "plain") == by_hand(lambda site, x, prompt, number: x)
    assert written(table, "it") != written(table, "plain")


def test_each_feature_is_read_from_what_the_text_has_become(tmp_path: Path) -> None:
    state = state_of(Tiny(), tmp_path / "s", 8)
    task = continued(FEATURES, tokens=6)
    _, table = run(state, tmp_path, task)
    sae = _saved(state)
    kept = state.captured(CLEAN, STREAM.site)[:, :, 0].float()
    real = [(i, t) for i, p in enumerate(PROMPTS) for t in range(1, len(p))]
    largest = torch.stack([sae.encode(kept[i, t]) for i, t in real]).amax(0)

    def hook(site: Site, x: Tensor, prompt: int, number: int) -> Tensor:
        if site != STREAM.site:
            return x
        f = sae.encode(x.float())
        for i in (1, 4):
            x = x + (5 * largest[i] - f[..., i : i + 1]) * sae.tensors["W_dec"][i]
        return x

    assert written(table, "it") == by_hand(hook, 6)
    assert written(table, "it") != written(table, "plain")


def _saved(state: State) -> Any:
    from interp_dsl.engine.kept_dictionaries import labelled

    return labelled(state.results["sae"].tensors, "")


def test_in_a_linear_read_out_logits_move_by_the_exact_amount(tmp_path: Path) -> None:
    """Behind the last layer, at every token: a clamp to c by (c - f) W_U' d, a push by 2 W_U' v;
    their controls by a vector of the same length."""
    last = Target(Site("resid_post", 1))
    state, model = state_of(Tiny(), tmp_path, 8, last), Tiny()
    v = state.captured(CORRUPT, Site("resid_pre", 1))[:, 0, 0].float().mean(0)
    push = Intervention(
        Points(Explicit((unit("resid_post", 1),)), (("v", 1),), (Length(2.0, "own"),)),
        Moved((AlongVector("v", MeanVector(CORRUPT, Target(Site("resid_pre", 1), None, FIRST))),)),
    )
    clamp = change(Constant(5.0), feature(1, last))
    growing, sae = Growing(CLEAN, 3, state), _saved(state)
    examples = torch.arange(3)

    def logits(under: tuple[Intervention, ...], turned: tuple[int, ...] = ()) -> list[Tensor]:
        one = Continuation("it", replace(CLEAN, under=under), turned)
        reader = growing.reader(growing.contexts(one, 0), examples)
        lengths = growing.lengths
        pieces = [(growing.tokens(examples), torch.arange(5).expand(3, -1), lengths[:, None] - 1)]
        for step, token in enumerate((4, 9)):
            here = (lengths + step)[:, None]
            pieces.append((torch.full((3, 1), token), here, torch.zeros_like(here)))
        return [reader.read(*piece) for piece in pieces]

    plain, pushed, clamped = logits(()), logits((push,)), logits((clamp,))
    unembed = model.unembed.float()
    for step in range(3):
        x = _last_stream(model, step)
        f = sae.encode(x)[:, 1:2]
        by_clamp = (5.0 - f) * sae.tensors["W_dec"][1]
        np.testing.assert_allclose(
            pushed[step] - plain[step], (2 * v @ unembed).expand(3, -1), atol=1e-4
        )
        np.testing.assert_allclose(clamped[step] - plain[step], by_clamp @ unembed, atol=1e-4)
    back = torch.linalg.pinv(unembed.double())
    for under in (push, clamp):
        turned, straight = logits((under,), (0,)), logits((under,))
        for step in range(3):
            moved = [(one[step] - plain[step]).double() @ back for one in (turned, straight)]
            lengths = [m.norm(dim=1) for m in moved]
            np.testing.assert_allclose(lengths[0], lengths[1], atol=1e-3)
            cosine = torch.cosine_similarity(*moved, dim=1)
            assert float(cosine.abs().max()) < 0.9
            one_way = torch.cosine_similarity(moved[0][:1], moved[0], dim=1)
            np.testing.assert_allclose(one_way.abs(), 1.0, atol=1e-3)


def _last_stream(model: Tiny, step: int) -> Tensor:
    """The stream behind the last layer at the last token of each text, after `step` more."""
    found = []
    for prompt in PROMPTS:
        text = torch.tensor([[*prompt, *(4, 9)[:step]]])
        seen = model.forward(text, None, sites=(Site("resid_post", 1),))
        found.append(seen.sites[Site("resid_post", 1)][0, -1, 0].float())
    return torch.stack(found)


# ---- what is measured


def test_log_probabilities_and_divergences(tmp_path: Path) -> None:
    state, model = state_of(Tiny(), tmp_path / "s", 8), Tiny()
    folder, table = run(state, tmp_path, continued(*KINDS["heads without"]))

    def off(site: Site, x: Tensor) -> Tensor:
        heads = {Site("head", 0): 1, Site("head", 1): 0}
        if site in heads:
            x = x.clone()
            x[:, :, heads[site]] = 0
        return x

    texts = folder.read_table("out.texts")
    for row in texts.filter(under="it").to_dicts():
        prompt = list(PROMPTS[row["prompt"]])
        ids = table.filter(under="it", prompt=row["prompt"])["id"].to_list()
        whole = torch.tensor([prompt + ids])
        plain, own = (
            model.run(whole, change)[0, len(prompt) - 1 : -1].log_softmax(-1)
            for change in (_nothing, off)
        )
        at = torch.tensor(ids)[:, None]
        assert row["logprob"] == pytest.approx(float(plain.gather(1, at).mean()), abs=1e-5)
        assert row["own_logprob"] == pytest.approx(float(own.gather(1, at).mean()), abs=1e-5)
        kl = (plain.exp() * (plain - own)).sum(1).mean()
        assert row["kl"] == pytest.approx(float(kl), abs=1e-5)
        assert row["text"] == " ".join(map(str, ids)) and row["n"] == 4
    scores = folder.read_table("out")
    kl = scores.filter(under="it", metric="kl")["value"].item()
    assert kl == pytest.approx(texts.filter(under="it")["kl"].mean())
    assert scores.filter(under="plain", metric="kl")["value"].item() == 0
    assert scores.filter(under="plain", metric="same")["value"].item() == 1
    same = [written(table, "it")[i] == written(table, "plain")[i] for i in range(3)]
    assert scores.filter(under="it", metric="same")["value"].item() == pytest.approx(np.mean(same))


_nothing: Change = lambda site, x: x  # noqa: E731


def test_a_text_ends_where_it_is_ended(tmp_path: Path) -> None:
    model = Tiny()
    state = state_of(model, tmp_path / "s", 8)
    _, table = run(state, tmp_path / "a", continued(*KINDS["pushed"], tokens=6))
    free = {under: written(table, under) for under in ("plain", "it")}
    end = free["plain"][0][2]
    model.facts = replace(model.facts, eos=(end,))
    folder, table = run(state, tmp_path / "b", continued(*KINDS["pushed"], tokens=6))
    texts = folder.read_table("out.texts")
    for under, held in free.items():
        for i, ids in enumerate(held):
            stop = ids.index(end) + 1 if end in ids else len(ids)
            assert written(table, under)[i] == ids[:stop]
            row = texts.filter(under=under, prompt=i).to_dicts()[0]
            assert row["n"] == stop
            assert row["text"].split() == [str(t) for t in ids[:stop] if t != end]


def test_draws_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    state = state_of(Tiny(), tmp_path / "s", 8)
    task = replace(continued(*KINDS["pushed"]), temperature=1.3, top_p=0.9, seed=5)
    tables = [
        run(state, tmp_path / str(n), replace(task, batch=batch, seed=seed))[1]
        for n, (batch, seed) in enumerate(((1, 5), (2, 5), (3, 5), (3, 6)))
    ]
    assert tables[0]["id"].equals(tables[1]["id"]) and tables[0]["id"].equals(tables[2]["id"])
    assert not tables[0]["id"].equals(tables[3]["id"])


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    likely = torch.tensor([0.5, 0.3, 0.15, 0.05])
    logits, n = likely.log().expand(4000, -1), 4000
    for top_p, temperature, wanted in (
        (1.0, 1.0, likely),
        (0.8, 1.0, torch.tensor([5, 3, 0, 0]) / 8),
        (0.81, 1.0, torch.tensor([0.5, 0.3, 0.15, 0]) / 0.95),
        (1e-9, 1.0, torch.tensor([1.0, 0, 0, 0])),
        (1.0, 0.5, likely**2 / (likely**2).sum()),
    ):
        task = replace(TASK, temperature=temperature, top_p=top_p, tokens=1)
        chosen = Chooser(task, n).choose(logits, torch.arange(n), 0)
        found = torch.bincount(chosen, minlength=4) / n
        assert float((found - wanted).abs().max()) < 4 * (0.25 / n) ** 0.5
        assert bool((found[wanted == 0] == 0).all())
    assert Chooser(TASK, 1).choose(logits[:1], torch.arange(1), 0).tolist() == [0]


def test_a_multiple_of_a_feature_that_never_fires(tmp_path: Path) -> None:
    state = state_of(Tiny(), tmp_path / "s", 8)
    tensors = dict(state.results["sae"].tensors)
    tensors["b_enc"] = tensors["b_enc"] - 1e6 * (np.arange(6) == 4)
    state.results["sae"] = Result([], tensors)
    with pytest.raises(InterpError) as caught:
        run(state, tmp_path, continued(FEATURES))
    assert caught.value.diagnostics[0].code == "E662"
    assert "sae[4]" in caught.value.diagnostics[0].message


def test_runs_of_the_plan_are_named() -> None:
    assert continued(PUSHED).run == CLEAN and continued(PUSHED).streams == 3
    assert isinstance(continued(PUSHED).continuations[1].run, Run)
