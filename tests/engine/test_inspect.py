"""Features looked at, against a plain pass over all prompts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from interp_dsl.data.types import Data
from interp_dsl.dictionaries.likeness import nearest
from interp_dsl.dictionaries.reading import BINS
from interp_dsl.engine.inspect import inspect
from interp_dsl.engine.inspect_weights import histograms
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.dictionaries import DictionaryOf, Fitted, Inspect
from interp_dsl.plan.places import Site

from .plans import folder_in
from .test_fit import HEAD, _text
from .test_judge import _relu
from .tiny import Tiny, side


def _made() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(4, 6, generator=generator)


def _table(*arguments: Any, **options: Any) -> pl.DataFrame:
    return _scored(*arguments, **options)[0]


def _scored(
    path: Path,
    method: str,
    features: tuple[int, ...] | None,
    model: Tiny | None = None,
    dead: bool = False,
    data: Data | None = None,
    **options: int | str,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    folder, state = folder_in(path), State(0)
    state.models["m"], state.data["d"] = model or Tiny(), data or _text()
    one = _relu(_made() * (not dead), _made().T.contiguous(), torch.full((4,), 0.1))
    folder.write_tensors("sae", {name: x.numpy() for name, x in one.tensors.items()})
    folder.finish_step("sae", "k", dictionaries=[{"label": "", "activation": "relu", "k": None}])
    of = DictionaryOf("sae", (Fitted("", HEAD, "relu", (("width", 6),)),))
    given = tuple(sorted(options.items()))
    task = Inspect("i", "seen", Run("m", "d", "text"), of, features, method, given, batch=4)
    found = inspect(task, state, folder, Report(folder, "i"))
    return found.table, found.tensors


def _plain() -> dict[tuple[int, int], torch.Tensor]:
    """The features of every token of text, by prompt and position."""
    side = _text().sides["text"]
    found = {}
    for prompt, (tokens, length) in enumerate(zip(side.tokens, side.lengths, strict=True)):
        row = torch.from_numpy(tokens[:length])[None]
        z = Tiny().forward(row, None, sites=(HEAD.site,)).sites[HEAD.site][0, :, HEAD.index].float()
        f = ((z - 0.1) @ _made()).clamp_min(0)
        found |= {(prompt, t): f[t] for t in range(length) if tokens[t] != 0}
    return found


def test_examples(tmp_path: Path) -> None:
    table = _table(tmp_path, "examples", None, top=3, intervals=2, context=2, seed=0)
    plain, tokens = _plain(), _text().sides["text"].tokens
    for feature in range(6):
        rows = table.filter(pl.col("feature") == feature).to_dicts()
        values = sorted((float(f[feature]) for f in plain.values()), reverse=True)
        top = [r["activation"] for r in rows if r["interval"] is None]
        assert top == pytest.approx([v for v in values[:3] if v > 0], rel=1e-4)
        for row in rows:
            at = row["prompt"], row["position"]
            assert row["activation"] == pytest.approx(float(plain[at][feature]), rel=1e-4)
            assert row["share"] == pytest.approx(row["activation"] / values[0], rel=1e-4)
            if row["interval"] is not None:
                assert row["interval"] - 1 <= 2 * row["share"] <= row["interval"] + 1e-6
            start = max(0, at[1] - 2)
            assert row["before"] == " ".join(map(str, tokens[at[0], start : at[1]]))
            assert row["token"] == str(tokens[at])
    assert table["interval"].null_count() < len(table)


@pytest.mark.parametrize("context", [20, 1, 0])
def test_contexts_have_characters_of_several_tokens_whole(tmp_path: Path, context: int) -> None:
    written = [" ", "a", *(bytes([b]) for b in "é日д".encode()), " b", "c"]
    pieces = [p if isinstance(p, str) else f"<0x{p[0]:02X}>" for p in written]
    (tmp_path / "vocab.json").write_text(json.dumps([[piece, 0.0] for piece in pieces]))
    model = Tiny()
    model.facts = replace(model.facts, tokenizer=tmp_path)
    ids = [0, 1, 2, 3, 4, 5, 6, 9, 7, 8, 10, 5]  # the last is a byte that is no character
    whole = ["", "a", *["é"] * 2, *["日"] * 3, " b", *["д"] * 2, "c", "\ufffd"]
    data = Data("text", {"text": side("text", [ids])})
    options = {"top": 20, "intervals": 0, "context": context, "seed": 0}
    table = _table(tmp_path, "examples", None, model, data=data, **options)
    assert {*table["position"]} == {*range(1, 12)}
    for row in table.to_dicts():
        at = row["position"]
        assert row["token"] == whole[at]
        first = next(i for i, word in enumerate(whole) if word == whole[at])
        last = max(i for i, word in enumerate(whole) if word == whole[at])
        before, after = (
            "".join(w for i, w in enumerate(part) if not i or w != part[i - 1])
            for part in (whole[1:first], whole[last + 1 :])
        )
        assert (" " + before).endswith(row["before"])
        assert after.startswith(row["after"])
        if context == 20:
            assert row["before"] == " " + before and row["after"] == after
        assert ("\ufffd" in row["before"] + row["after"]) <= (at + context >= 11 > at)


def test_values_of_the_tokens_around(tmp_path: Path) -> None:
    options = {"top": 3, "intervals": 2, "context": 2, "seed": 0}
    table, tensors = _scored(tmp_path, "examples", (4, 1), **options)
    plain, text = _plain(), _text().sides["text"]
    rows = zip(table.to_dicts(), tensors["tokens"], tensors["values"], strict=True)
    for row, tokens, values in rows:
        assert values[2] == pytest.approx(row["activation"], rel=1e-4)
        for k, at in enumerate(range(row["position"] - 2, row["position"] + 3)):
            is_there = 0 <= at < text.lengths[row["prompt"]]
            assert tokens[k] == (text.tokens[row["prompt"], at] if is_there else -1)
            f = plain.get((row["prompt"], at)) if is_there else None
            known = 0.0 if f is None else float(f[row["feature"]])
            assert values[k] == pytest.approx(known, rel=1e-4, abs=1e-6)
    f = torch.stack([*plain.values()])[:, [4, 1]]
    assert tensors["inside"].sum(1).tolist() == (f > 0).sum(0).tolist()
    assert tensors["histogram"].sum(1).tolist() == (f > 0).sum(0).tolist()
    for i, x in enumerate(f.T):
        held = x[x > 0] / x.max()
        assert tensors["inside"][i].tolist() == [int((held < 0.5).sum()), int((held >= 0.5).sum())]
        known = torch.histogram(held, BINS, range=(0.0, 1.0)).hist
        assert abs(known.numpy() - tensors["histogram"][i]).sum() <= 2  # at an edge, by rounding


def test_density_of_some_features(tmp_path: Path) -> None:
    table = _table(tmp_path, "density", (4, 1))
    plain = torch.stack([*_plain().values()])
    assert table["feature"].to_list() == [4, 1]
    for row in table.to_dicts():
        f = plain[:, row["feature"]]
        assert row["density"] == pytest.approx(float((f > 0).float().mean()))
        assert row["mean"] == pytest.approx(float(f[f > 0].mean()), rel=1e-4)
        assert row["maximum"] == pytest.approx(float(f.max()), rel=1e-4)
        assert row["alignment"] == pytest.approx(1.0) and row["n"] == len(plain)


# ** what fires together, what is lost **


def _together() -> torch.Tensor:
    """The features of every token of text [tokens, features]."""
    return torch.stack([*_plain().values()]).double()


@pytest.mark.parametrize("measure", ["jaccard", "pearson", "necessity"])
def test_features_that_fire_together(tmp_path: Path, measure: str) -> None:
    table = _table(tmp_path, "cofiring", (4, 1, 0), top=2, measure=measure, support=3)
    f = _together()
    on, n = (f > 0).double(), len(f)
    by_hand = {
        "jaccard": lambda i, j: (on[:, i] * on[:, j]).sum() / (on[:, i] + on[:, j] > 0).sum(),
        "pearson": lambda i, j: torch.corrcoef(f[:, [i, j]].T)[0, 1],
        "necessity": lambda i, j: (on[:, i] * on[:, j]).sum() / on[:, j].sum(),
        "lift": lambda i, j: (on[:, i] * on[:, j]).mean() / on[:, i].mean() / on[:, j].mean(),
    }
    assert table["feature"].unique(maintain_order=True).to_list() == [4, 1, 0]
    for i in (4, 1, 0):
        both = {j: int((on[:, i] * on[:, j]).sum()) for j in range(6) if j != i}
        values = {j: float(by_hand[measure](i, j)) for j, count in both.items() if count >= 3}
        values = {j: v for j, v in values.items() if measure != "pearson" or v >= 0}
        wanted = sorted(values, key=lambda j: -values[j])[:2]
        rows = table.filter(pl.col("feature") == i).to_dicts()
        assert [r["other"] for r in rows] == wanted
        for r in rows:
            assert r["n"] == n and r["support"] == both[r["other"]]
            for name, value in by_hand.items():
                assert r[name] == pytest.approx(float(value(i, r["other"])), rel=1e-4)
            assert r["sufficiency"] == pytest.approx(r["support"] / float(on[:, i].sum()))


def _log_probabilities(prompt: int, without: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Of one prompt [T, V], and a feature at each of its tokens [T], 0 at BOS, which is left as it
    is; that feature is taken out where it is one."""
    side, model = _text().sides["text"], Tiny()
    ids = torch.from_numpy(side.tokens[prompt, : side.lengths[prompt]])[None]
    held = torch.zeros(ids.shape[1], dtype=torch.float64)

    def change(site: Site, z: torch.Tensor) -> torch.Tensor:
        if site != HEAD.site or without is None:
            return z
        f = ((z[0, :, HEAD.index].float() - 0.1) @ _made()).clamp_min(0)[:, without].double()
        f[ids[0] == 0] = 0
        held.copy_(f)
        z = z.clone()
        z[0, :, HEAD.index] -= f[:, None] * _made()[:, without].double()
        return z

    return model.run(ids, change)[0].double().log_softmax(-1), held


@pytest.mark.parametrize("prompts", [30, 2])
def test_what_is_lost_without_features(tmp_path: Path, prompts: int) -> None:
    table = _table(tmp_path, "ablation", (3, 5), prompts=prompts, seed=1)
    side = _text().sides["text"]
    for row in table.to_dicts():
        held = []
        for prompt, length in enumerate(side.lengths):
            clean, _ = _log_probabilities(prompt, None)
            out, f = _log_probabilities(prompt, row["feature"])
            following = torch.from_numpy(side.tokens[prompt, 1:length])
            told = following != 0
            loss = -(out - clean)[:-1].gather(1, following[:, None])[:, 0]
            kl = (clean.exp() * (clean - out)).sum(1)[:-1]
            on = (f[:-1] > 0) & told
            behind = (on.cumsum(0) > 0) & ~on & told
            if bool(on.any()):
                sums = [on, loss * on, kl * on, f[:-1] * on, behind, loss * behind]
                held.append([float(s.sum()) for s in sums])
        if prompts < 30:
            # which are drawn is not known: that many are, of those that it fires on
            assert row["prompts"] == prompts < len(held)
            counts = {a + b for i, (a, *_) in enumerate(held) for b, *_ in held[i + 1 :]}
            assert row["n"] in counts
            continue
        n, loss, kl, f, others, after = map(sum, zip(*held, strict=True))
        assert (row["prompts"], row["n"]) == (len(held), n)
        for name, value in (("loss", loss), ("kl", kl), ("activation", f)):
            assert row[name] == pytest.approx(value / n, rel=2e-3, abs=1e-7)
        assert row["n_after"] == others
        assert row["after"] == pytest.approx(after / others, rel=2e-3, abs=1e-7)
        assert row["low"] < row["loss"] < row["high"]


def test_a_feature_that_never_fires_has_lost_nothing(tmp_path: Path) -> None:
    row = _table(tmp_path, "ablation", (0,), dead=True, prompts=4, seed=0).to_dicts()[0]
    assert (row["prompts"], row["n"]) == (0, 0)
    assert {row[name] for name in ("activation", "loss", "low", "high", "kl", "after")} == {None}


# ** what the weights say **


def test_the_nearest_features() -> None:
    decoder = torch.randn(9, 4, generator=torch.Generator().manual_seed(2))
    values, index = nearest(decoder, torch.tensor([7, 0]), 3)
    for row, i in enumerate((7, 0)):
        cosines = {
            j: float(decoder[i] @ decoder[j] / decoder[i].norm() / decoder[j].norm())
            for j in range(9)
            if j != i
        }
        assert index[row].tolist() == sorted(cosines, key=lambda j: -cosines[j])[:3]
        assert values[row].tolist() == pytest.approx([cosines[j] for j in index[row].tolist()])
    assert nearest(decoder, torch.tensor([1]), 50)[1].shape == (1, 8)


def test_histograms_count_every_value_once() -> None:
    values = torch.randn(3, 200, generator=torch.Generator().manual_seed(4))
    counts, edges = histograms(values)
    for row in range(3):
        known = torch.histogram(
            values[row], BINS, range=(float(values[row].min()), float(values[row].max()))
        )
        assert counts[row].sum() == 200
        assert (counts[row] - known.hist.long()).abs().sum() <= 2  # at an edge, by rounding
        torch.testing.assert_close(edges[row], known.bin_edges)
