"""Transcoders and crosscoders: fitted as by a plain loop, also where a run was lost; judged by
splicing them in, against what they must score and against a plain loop over prompts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.dictionaries.architectures import BatchTopK, Relu
from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.dictionaries.ends import Onto
from interp_dsl.dictionaries.schedules import Schedule
from interp_dsl.dictionaries.training import Settings, Trainer
from interp_dsl.engine.execute import execute
from interp_dsl.engine.judge import judge
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.dictionaries import DictionaryOf, EvaluateDictionary, Fitted, Judged
from interp_dsl.plan.places import Site, Target

from .plans import folder_in
from .test_fit import _fit, _one, _plan, _same, _text
from .test_resume import Dies
from .tiny import Given, Tiny

MID, MLP = Target(Site("resid_mid", 1)), Target(Site("mlp_out", 1))
NEURONS, STREAM = Target(Site("neuron", 0)), Target(Site("resid_post", 1))
TRANSCODER = replace(_one("batch_topk", MID, k=2, skip=True, lr=1e-2), onto=MLP)
CROSSCODER = replace(
    _one("relu", NEURONS, l1=0.2, norm="weighted", lr=1e-2, bias="mean"), others=(STREAM,)
)


def _streamed(target: Target) -> Tensor:
    """The first 400 activations in the order in which the data is passed."""
    tokens = _text().sides["text"].tokens
    found = Tiny().forward(torch.from_numpy(tokens), None, sites=(target.site,))
    rows = found.sites[target.site].flatten(2).float()
    stream: list[Tensor] = []
    for number in range(400):
        for i in np.random.default_rng((0, 0, number)).permutation(len(tokens)):
            stream += [x for x, t in zip(rows[i], tokens[i], strict=True) if t != 0]
        if len(stream) >= 400:
            break
    return torch.stack(stream[:400])


def _batches(*streams: Tensor) -> list[list[Tensor]]:
    """In blocks of 40 that are shuffled, 8 at a time."""
    found = []
    for block in range(10):
        order = np.random.default_rng((0, 1, block)).permutation(40)
        for rows in torch.from_numpy(order).split(8):
            found.append([x[40 * block :][rows] for x in streams])
    return found


def _scale(x: Tensor) -> float:
    return float(x.shape[1] ** 0.5 / x.norm(dim=1).mean())


def test_a_transcoder_is_a_plain_loop_over_pairs_of_activations(tmp_path: Path) -> None:
    x, y = _streamed(MID), _streamed(MLP)
    settings = Settings(24, 1e-2, dead_after=40, scale=_scale(x), onto=_scale(y))
    trainer = Trainer(BatchTopK(2), settings, Schedule(50), x, Onto(has_skip=True), y)
    for one, other in _batches(x, y):
        trainer.step(one, other)
    folder = _fit(_plan(TRANSCODER), tmp_path)
    found, wanted = folder.read_tensors("sae"), trainer.dictionary().tensors
    assert found.keys() == wanted.keys() == {
        "W_enc", "W_dec", "W_skip", "b_enc", "b_dec", "b_in", "threshold",
    }  # fmt: skip
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)
    (about,) = folder.step_facts("sae")["dictionaries"]
    assert (about["site"], about["onto"]) == ("L1.resid_mid", "L1.mlp")
    assert about["onto_scale"] == pytest.approx(_scale(y), rel=1e-5)


def test_a_crosscoder_is_a_plain_loop_over_places_side_by_side(tmp_path: Path) -> None:
    parts = [_streamed(NEURONS), _streamed(STREAM)]
    scales = [_scale(x) for x in parts]
    scaled = torch.cat([x * s for x, s in zip(parts, scales, strict=True)], 1)
    made = Relu(0.2, "weighted", parts=(12, 8))
    trainer = Trainer(
        made, Settings(24, 1e-2, dead_after=40), Schedule(50, sparsity_warmup=0.05), scaled
    )
    for (x,) in _batches(scaled):
        trainer.step(x)
    plain = trainer.dictionary()
    folder = _fit(_plan(CROSSCODER), tmp_path)
    found = Dictionary.of({k: torch.from_numpy(v) for k, v in folder.read_tensors("sae").items()})

    raw = torch.cat(parts, 1)[:50]
    f, wanted = found.encode(raw), plain.encode(scaled[:50])
    assert torch.equal(f > 0, wanted > 0) and 0 < int((f > 0).sum()) < f.numel()
    unscale = torch.cat([torch.full((x.shape[1],), s) for x, s in zip(parts, scales, strict=True)])
    torch.testing.assert_close(
        found.decode(f), plain.decode(wanted) / unscale, atol=1e-4, rtol=1e-4
    )
    (about,) = folder.step_facts("sae")["dictionaries"]
    assert about["site"] == "together(neurons layers 0, L1.resid_post)"
    assert [(p["site"], p["width"]) for p in about["places"]] == [
        ("neurons layers 0", 12),
        ("L1.resid_post", 8),
    ]


@pytest.mark.parametrize("one", [TRANSCODER, CROSSCODER], ids=["transcoder", "crosscoder"])
@pytest.mark.parametrize("rows", [20, 60])
def test_a_lost_run_goes_on_to_the_same_numbers(tmp_path: Path, one: Fitted, rows: int) -> None:
    plan = _plan(one)
    whole = _fit(plan, tmp_path / "whole")
    folder = folder_in(tmp_path)
    with pytest.raises(RuntimeError, match="lost"):
        execute(plan, folder, loaders=Given(Dies(rows, RuntimeError("lost")), d=_text()))
    execute(plan, folder, loaders=Given(Tiny(), d=_text()))
    _same(whole, folder)


# ---- judged

MEASURES = (
    Judged("fvu", "fvu"),
    Judged("ce_loss_score", "ce_loss_score", (("ablation", "zero"),)),
    Judged("over_mean", "loss_recovered", (("ablation", "mean"),)),
    Judged("kl_div_score", "kl_div_score", (("ablation", "zero"),)),
)


def _judged(path: Path, one: Fitted, dictionary: Dictionary) -> dict[str, float]:
    folder, state = folder_in(path), State(0)
    state.models["m"], state.data["d"] = Tiny(), _text()
    folder.write_tensors("sae", {k: v.numpy() for k, v in dictionary.saved().items()})
    folder.finish_step("sae", "key", dictionaries=[])
    task = EvaluateDictionary(
        "e", "check", Run("m", "d", "text"), DictionaryOf("sae", (one,)), MEASURES, True, batch=7
    )
    scored, _ = judge(task, state, folder, Report(folder, "e"))
    return dict(zip(scored.table["metric"], scored.table["value"], strict=True))


def _random(d_in: int, d_out: int, transcodes: bool) -> Dictionary:
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) * 0.3

    tensors = {
        "W_enc": drawn(d_in, 9), "W_dec": drawn(9, d_out), "b_enc": drawn(9), "b_dec": drawn(d_out),
    }  # fmt: skip
    if transcodes:
        tensors |= {"b_in": drawn(d_in), "W_skip": drawn(d_out, d_in)}
    return Dictionary("relu", tensors)


PERFECT = {"fvu": 0, "ce_loss_score": 1, "over_mean": 1, "kl_div_score": 1}


def test_the_mlp_itself_is_a_perfect_transcoder_and_nothing_loses_all(tmp_path: Path) -> None:
    model = Tiny()
    zero = torch.zeros(12)
    mlp = {"W_enc": model.mlp_in[1].float(), "W_dec": model.mlp_out[1].float()}
    biases = {"b_enc": zero, "b_dec": zero[:8], "b_in": zero[:8]}
    found = _judged(tmp_path / "a", TRANSCODER, Dictionary("relu", mlp | biases))
    assert {k: found[k] for k in PERFECT} == pytest.approx(PERFECT, abs=1e-5)
    nothing = {"W_enc": torch.zeros(8, 12), "W_dec": torch.zeros(12, 8)}
    found = _judged(tmp_path / "b", TRANSCODER, Dictionary("relu", nothing | biases))
    assert [found[k] for k in ("ce_loss_score", "kl_div_score")] == [0, 0]


def test_a_skip_connection_alone_is_a_linear_map(tmp_path: Path) -> None:
    """Of the stream onto itself, W_skip the identity keeps everything."""
    nothing = {"W_enc": torch.zeros(8, 3), "W_dec": torch.zeros(3, 8), "b_enc": torch.zeros(3)}
    shift = torch.arange(8.0)
    skip = {"W_skip": torch.eye(8), "b_in": shift, "b_dec": shift}
    one = replace(TRANSCODER, target=STREAM, onto=STREAM)
    found = _judged(tmp_path, one, Dictionary("relu", nothing | skip))
    assert {k: found[k] for k in PERFECT} == pytest.approx(PERFECT, abs=1e-5)


def test_an_identity_over_two_places_keeps_everything(tmp_path: Path) -> None:
    eye = torch.eye(20)
    both = {
        "W_enc": torch.cat([eye, -eye], 1), "W_dec": torch.cat([eye, -eye]),
        "b_enc": torch.zeros(40), "b_dec": torch.zeros(20),
    }  # fmt: skip
    found = _judged(tmp_path, CROSSCODER, Dictionary("relu", both))
    assert {k: found[k] for k in PERFECT} == pytest.approx(PERFECT, abs=1e-5)


def _loss(one: Fitted, dictionary: Dictionary | None, zero: bool = False) -> float:
    """The cross-entropy of text, prompt by prompt, with what a dictionary makes of the clean
    activations, or zero, in the places that it rebuilds."""
    model, side, losses = Tiny(), _text().sides["text"], []
    for tokens, length in zip(side.tokens, side.lengths, strict=True):
        row = torch.from_numpy(tokens[:length])[None]
        at = (row[0] != 0).nonzero()[:, 0]
        sites = [t.site for t in one.read]
        clean = model.forward(row, None, sites=sites).sites
        x = torch.cat([clean[s][0, at].flatten(1) for s in sites], 1).float()
        made: Any = None if dictionary is None else dictionary.reconstruct(x)

        def change(site: Site, x: Tensor, at: Tensor = at, made: Any = made) -> Tensor:
            places = [t.site for t in one.rebuilt]
            if site not in places or (made is None and not zero):
                return x
            new, sizes = x.clone(), {"neuron": 12}
            first = sum(sizes.get(s.kind, 8) for s in places[: places.index(site)])
            part = torch.zeros_like(x[0, at]) if zero else made[:, first : first + x[0, 0].numel()]
            new[0, at] = part.to(x.dtype).view_as(x[0, at])
            return new

        log = model.run(row, change)[0].log_softmax(-1)
        losses += [-float(log[t, tokens[t + 1]]) for t in range(length - 1) if tokens[t + 1] != 0]
    return sum(losses) / len(losses)


@pytest.mark.parametrize(
    ("one", "sizes"),
    [(TRANSCODER, (8, 8)), (CROSSCODER, (20, 20))],
    ids=["transcoder", "crosscoder"],
)
def test_what_is_lost_is_what_a_plain_loop_says(
    tmp_path: Path, one: Fitted, sizes: tuple[int, int]
) -> None:
    dictionary = _random(*sizes, one.onto is not None)
    found = _judged(tmp_path, one, dictionary)
    clean, spliced, ablated = _loss(one, None), _loss(one, dictionary), _loss(one, None, zero=True)
    assert found["ce_loss_with_sae"] == pytest.approx(spliced, rel=1e-5)
    assert found["ce_loss_with_ablation"] == pytest.approx(ablated, rel=1e-5)
    wanted = (ablated - spliced) / (ablated - clean)
    assert found["ce_loss_score"] == pytest.approx(wanted, rel=1e-4)
