"""Dictionaries judged: the identity keeps everything, zero and the mean nothing, and any other what
a plain loop over prompts says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.engine.judge import judge
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.dictionaries import DictionaryOf, EvaluateDictionary, Fitted, Judged
from interp_dsl.plan.places import Site, Target
from interp_dsl.verbs.judging import MEASURES

from .plans import folder_in
from .test_fit import _text
from .tiny import Tiny

NEURONS, STREAM, HEAD = (
    Target(Site("neuron", 0)),
    Target(Site("resid_pre", 1)),
    Target(Site("z", 1), 1),
)
WIDTHS = {NEURONS: 12, STREAM: 8, HEAD: 4}
ZERO, MEAN = (("ablation", "zero"),), (("ablation", "mean"),)
EVERY = (
    *(
        Judged(name, name, ZERO if f.parameters else ())
        for name, f in MEASURES.items()
        if not {"reference", "target", "least"} & f.parameters.keys()
    ),
    Judged("over_mean", "loss_recovered", MEAN),
)


def _judged(
    path: Path, target: Target, dictionaries: list[Dictionary], batch: int = 7
) -> dict[tuple[str, str], float]:
    """Values by the dictionary's label and the metric."""
    labels = [f"seed={i}" for i in range(len(dictionaries))]
    fitted = tuple(Fitted(label, target, "relu", ()) for label in labels)
    folder, state = folder_in(path), State(0)
    state.models["m"], state.data["d"] = Tiny(), _text()
    tensors = {
        f"{label}/{name}": value.numpy()
        for label, one in zip(labels, dictionaries, strict=True)
        for name, value in one.tensors.items()
    }
    folder.write_tensors("sae", tensors)
    about = [
        {"label": label, "activation": one.activation, "k": one.k}
        for label, one in zip(labels, dictionaries, strict=True)
    ]
    folder.finish_step("sae", "key", dictionaries=about)
    task = EvaluateDictionary(
        "e", "check", Run("m", "d", "text"), DictionaryOf("sae", fitted), EVERY, True, batch=batch
    )
    scored, _ = judge(task, state, folder, Report(folder, "e"))
    rows, values = scored.table.to_dicts(), scored.tensors["value"]
    assert values.shape == (len(rows), 30)
    for row, own in zip(rows, values, strict=True):
        assert (row["low"] is None) is bool(np.isnan(own).all())
    for row in rows:
        assert row["low"] is None or row["low"] <= row["value"] + 1e-9 <= row["high"] + 2e-9
    return {(row.get("dictionary") or labels[0], row["metric"]): row["value"] for row in rows}


def _relu(encoder: Tensor, decoder: Tensor, bias: Tensor) -> Dictionary:
    zero = torch.zeros(encoder.shape[1])
    tensors = {"W_enc": encoder, "b_enc": zero, "W_dec": decoder, "b_dec": bias}
    return Dictionary("relu", tensors)


def _rows(target: Target) -> Tensor:
    """The target's activations at every token of text."""
    tokens = torch.from_numpy(_text().sides["text"].tokens)
    x = Tiny().forward(tokens, None, sites=(target.site,)).sites[target.site].float()
    x = x.flatten(2) if target.index is None else x[:, :, target.index]
    return x[tokens != 0]


@pytest.mark.parametrize("target", [NEURONS, STREAM, HEAD], ids=lambda t: t.place)
def test_identity_zero_and_mean_score_as_they_must(tmp_path: Path, target: Target) -> None:
    d = WIDTHS[target]
    eye, none = torch.eye(d), torch.zeros(d)
    mean = _rows(target).mean(0)
    identity = _relu(torch.cat([eye, -eye], 1), torch.cat([eye, -eye]), none)
    zero = _relu(torch.zeros(d, 3), torch.zeros(3, d), none)
    average = _relu(torch.zeros(d, 3), torch.zeros(3, d), mean)
    found = _judged(tmp_path, target, [identity, zero, average])

    def values(label: int, *names: str) -> list[float]:
        return [found[f"seed={label}", name] for name in names]

    perfect = ("explained_variance", "ce_loss_score", "kl_div_score", "over_mean", "loss_recovered")
    assert values(0, *perfect) == pytest.approx([1] * 5, abs=1e-5)
    assert values(0, "fvu", "mse", "kl_div_with_sae") == pytest.approx([0] * 3, abs=1e-6)
    assert values(0, "cosine", "l2_ratio") == pytest.approx([1, 1], abs=1e-5)
    assert found["seed=0", "l1"] == pytest.approx(float(_rows(target).abs().sum(1).mean()))
    assert values(1, "ce_loss_score", "kl_div_score", "loss_recovered") == [0, 0, 0]
    assert values(1, "l0", "dead", "frac_alive") == [0, 1, 0]
    assert values(2, "over_mean", "explained_variance") == pytest.approx([0, 0], abs=1e-5)


def _plain(target: Target, made: Dictionary | None, zero: bool = False) -> tuple[float, float]:
    """Cross-entropy, and divergence from the clean run, of the tokens of text, prompt by prompt;
    with the reconstruction, or zero, in the place of the activation."""
    model, side = Tiny(), _text().sides["text"]
    losses, kls = [], []
    for tokens, length in zip(side.tokens, side.lengths, strict=True):
        row = torch.from_numpy(tokens[:length])[None]

        def change(site: Site, x: Tensor, row: Tensor = row) -> Tensor:
            if site != target.site or (made is None and not zero):
                return x
            new = x.clone()
            at = (row[0] != 0).nonzero()[:, 0]
            part = x[0, at].flatten(1) if target.index is None else x[0, at, target.index]
            out = torch.zeros_like(part) if made is None else made.reconstruct(part.float())
            if target.index is None:
                new[0, at] = out.to(x.dtype).view_as(x[0, at])
            else:
                new[0, at, target.index] = out.to(x.dtype)
            return new

        clean = model.run(row, lambda site, x: x)[0].log_softmax(-1)
        log = model.run(row, change)[0].log_softmax(-1)
        for t in range(length - 1):
            if tokens[t + 1] != 0:
                losses.append(-float(log[t, tokens[t + 1]]))
                kls.append(float((clean[t].exp() * (clean[t] - log[t])).sum()))
    return sum(losses) / len(losses), sum(kls) / len(kls)


@pytest.mark.parametrize("target", [NEURONS, STREAM, HEAD], ids=lambda t: t.place)
def test_any_dictionary_scores_what_a_plain_loop_finds(tmp_path: Path, target: Target) -> None:
    generator, d = torch.Generator().manual_seed(5), WIDTHS[target]
    encoder, decoder = (
        torch.randn(d, 6, generator=generator),
        torch.randn(6, d, generator=generator),
    )
    made = _relu(encoder * 0.3, decoder * 0.3, torch.randn(d, generator=generator) * 0.1)
    found = {m: v for (_, m), v in _judged(tmp_path, target, [made], batch=4).items()}
    x = _rows(target)
    f, out = made.encode(x), made.reconstruct(x)
    fvu = float((out - x).square().sum() / (x - x.mean(0)).square().sum())
    cosine = torch.nn.functional.cosine_similarity(out, x, dim=1).mean()
    density = (f > 0).float().mean(0)
    assert found["l0"] == pytest.approx(float((f > 0).sum(1).float().mean()))
    assert found["fvu"] == pytest.approx(fvu, rel=1e-4)
    assert found["mse"] == pytest.approx(float((out - x).square().mean()), rel=1e-5)
    assert found["cosine"] == pytest.approx(float(cosine), rel=1e-4)
    assert found["freq_over_10_percent"] == pytest.approx(float((density > 0.1).float().mean()))

    clean, with_sae, without = (_plain(target, *case) for case in ((None,), (made,), (None, True)))
    assert found["ce_loss_without_sae"] == pytest.approx(clean[0], rel=1e-5)
    assert found["ce_loss_with_sae"] == pytest.approx(with_sae[0], rel=1e-5)
    assert found["ce_loss_with_ablation"] == pytest.approx(without[0], rel=1e-5)
    assert found["kl_div_with_sae"] == pytest.approx(with_sae[1], rel=1e-3)
    wanted = (without[0] - with_sae[0]) / (without[0] - clean[0])
    assert found["ce_loss_score"] == pytest.approx(wanted, rel=1e-3, abs=1e-4)


def test_a_batch_that_was_too_large_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory runs out at the second dictionary, when the first has seen the batch."""
    eye = torch.eye(8)
    made = [_relu(eye, eye, torch.zeros(8)), _relu(-eye, -eye, torch.zeros(8))]
    wanted, encode, calls = _judged(tmp_path / "whole", STREAM, made), Dictionary.encode, []

    def small(self: Dictionary, x: Tensor) -> Tensor:
        calls.append(len(x))
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(self, x)

    monkeypatch.setattr(Dictionary, "encode", small)
    assert _judged(tmp_path / "small", STREAM, made) == pytest.approx(wanted, rel=1e-6)
    assert calls[2] < calls[0]
