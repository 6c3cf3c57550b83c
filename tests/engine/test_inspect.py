"""Features looked at, against a plain pass over all prompts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch

from interp_dsl.engine.inspect import inspect
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.dictionaries import DictionaryOf, Fitted, Inspect

from .plans import folder_in
from .test_fit import HEAD, _text
from .test_judge import _relu
from .tiny import Tiny


def _made() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(4, 6, generator=generator)


def _table(
    path: Path,
    method: str,
    features: tuple[int, ...] | None,
    model: Tiny | None = None,
    **options: int,
) -> pl.DataFrame:
    folder, state = folder_in(path), State(0)
    state.models["m"], state.data["d"] = model or Tiny(), _text()
    one = _relu(_made(), _made().T.contiguous(), torch.full((4,), 0.1))
    folder.write_tensors("sae", {name: x.numpy() for name, x in one.tensors.items()})
    folder.finish_step("sae", "k", dictionaries=[{"label": "", "activation": "relu", "k": None}])
    of = DictionaryOf("sae", (Fitted("", HEAD, "relu", ()),))
    given = tuple(sorted(options.items()))
    task = Inspect("i", "seen", Run("m", "d", "text"), of, features, method, given, batch=4)
    return inspect(task, state, folder, Report(folder, "i")).table


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


def test_contexts_have_characters_of_several_tokens_whole(tmp_path: Path) -> None:
    written = [" ", "a", *(bytes([b]) for b in "é日д".encode()), " b", "c"]
    pieces = [p if isinstance(p, str) else f"<0x{p[0]:02X}>" for p in written]
    (tmp_path / "vocab.json").write_text(json.dumps([[piece, 0.0] for piece in pieces]))
    model = Tiny()
    model.facts = replace(model.facts, tokenizer=tmp_path)
    table = _table(tmp_path, "examples", None, model, top=9, intervals=0, context=9, seed=0)
    data = [p.encode() if isinstance(p, str) else p for p in written]
    side = _text().sides["text"]
    for row in table.to_dicts():
        at = row["position"]
        ids = side.tokens[row["prompt"], : side.lengths[row["prompt"]]]
        for name, part in (("before", ids[:at]), ("after", ids[at + 1 :])):
            text = b"".join(data[i] for i in part).decode("utf-8", "replace")
            assert row[name] == text
    shown = "".join(table["before"].to_list() + table["after"].to_list())
    assert any(char in shown for char in "é日д")


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
