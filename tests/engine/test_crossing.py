"""Crosscoders between two models: fitted as by a plain loop, judged in each model as by a loop
over prompts, and what is planted in one model or in both is found there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from interp_dsl.data.types import Data
from interp_dsl.dictionaries.architectures import BatchTopK
from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.dictionaries.schedules import Schedule
from interp_dsl.dictionaries.starting import scale_of
from interp_dsl.dictionaries.training import Settings, Trainer
from interp_dsl.engine.execute import execute
from interp_dsl.engine.judge import judge
from interp_dsl.engine.keys import step_key
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.shape import Shape
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.dictionaries import (
    DictionaryOf,
    EvaluateDictionary,
    Fit,
    Fitted,
    InspectWeights,
    Judged,
)
from interp_dsl.plan.places import Site, Target
from interp_dsl.plan.tasks import BuildData, LoadModel, Plan, Task
from interp_dsl.runs.folder import RunFolder

from .plans import folder_in
from .test_ends import _batches
from .test_fit import _one, _same, _text
from .test_resume import Dies
from .tiny import SHAPE, Tiny, side

RUNS = tuple(Run(f"model:{name}", f"d@{name}", "text") for name in "ab")
LOADS: tuple[Task, ...] = tuple(
    task
    for name in "ab"
    for task in (
        LoadModel(f"model:{name}", name, {"name": name}),
        BuildData(f"d@{name}", name, {}, f"model:{name}"),
    )
)
WIDE = replace(SHAPE, d_model=10, d_mlp=6)
NEURONS = Target(Site("neuron", 0), model="model:a")
STREAM = Target(Site("resid_post", 1), model="model:b")
CROSS = replace(_one("batch_topk", NEURONS, k=2, lr=1e-3), others=(STREAM,))


class Two:
    """Loaders of models and data by name."""

    def __init__(self, models: Mapping[str, Any], data: Mapping[str, Data]) -> None:
        self.models, self.held = models, data

    def model(self, spec: Mapping[str, Any], device: str, trusted: bool) -> Any:
        return self.models[spec["name"]]

    def data(self, name: str, spec: Mapping[str, Any], facts: Any, trusted: bool) -> Data:
        return self.held[name]


def _models() -> dict[str, Tiny]:
    return {"a": Tiny(), "b": Tiny(1, WIDE)}


def _plan(one: Fitted, *more: Task, tokens: int = 400) -> Plan:
    run, other = RUNS
    fit = Fit("f", "sae", run, (one,), tokens, 8, 40, batch=7, beside=(other,))
    return Plan((*LOADS, fit, *more))


def _fit(plan: Plan, path: Path, models: Mapping[str, Any] | None = None) -> RunFolder:
    folder = folder_in(path)
    execute(plan, folder, loaders=Two(models or _models(), dict.fromkeys("ab", _text())))
    return folder


def _streamed(model: Tiny, site: Site) -> Tensor:
    """The first 400 activations in the order in which the data is passed."""
    tokens = _text().sides["text"].tokens
    rows = model.forward(torch.from_numpy(tokens), None, sites=(site,)).sites[site].flatten(2)
    stream: list[Tensor] = []
    for number in range(400):
        for i in np.random.default_rng((0, 0, number)).permutation(len(tokens)):
            stream += [x for x, t in zip(rows[i].float(), tokens[i], strict=True) if t != 0]
        if len(stream) >= 400:
            break
    return torch.stack(stream[:400])


def test_it_is_a_plain_loop_over_what_both_make_of_the_same_tokens(tmp_path: Path) -> None:
    models = _models()
    parts = [_streamed(models["a"], NEURONS.site), _streamed(models["b"], STREAM.site)]
    scales = [scale_of(x) for x in parts]
    scale = torch.cat([torch.full((x.shape[1],), s) for x, s in zip(parts, scales, strict=True)])
    raw = torch.cat(parts, 1)
    settings = Settings(24, 1e-3, dead_after=40, scale=scale)
    trainer = Trainer(BatchTopK(2), settings, Schedule(50), raw)
    for (x,) in _batches(raw):
        trainer.step(x)
    folder = _fit(_plan(CROSS), tmp_path)
    found = folder.read_tensors("sae")
    assert found["W_dec"].shape == (24, 22)
    for name, value in trainer.dictionary().tensors.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)
    (about,) = folder.step_facts("sae")["dictionaries"]
    assert about["site"] == "together(a.neurons layers 0, b.L1.resid_post)"
    for place, x in zip(about["places"], parts, strict=True):
        assert place["length"] == pytest.approx(float(x.norm(dim=1).mean()), rel=1e-5)


@pytest.mark.parametrize("rows", [40, 120])
@pytest.mark.parametrize("which", ["a", "b"])
def test_a_lost_run_goes_on_to_the_same_numbers(tmp_path: Path, which: str, rows: int) -> None:
    plan = replace(_plan(CROSS))
    models = {"a": Tiny(), "b": Tiny()}
    whole = _fit(plan, tmp_path / "whole", models)
    folder, lost = folder_in(tmp_path), models | {which: Dies(rows, RuntimeError("lost"))}
    data = dict.fromkeys("ab", _text())
    with pytest.raises(RuntimeError, match="lost"):
        execute(plan, folder, loaders=Two(lost, data))
    execute(plan, folder, loaders=Two(models, data))
    _same(whole, folder)


def test_a_store_is_shared_with_dictionaries_of_one_model(tmp_path: Path) -> None:
    """Fitted from files, it is what it is from passes; a fit of one of its places then passes
    nothing."""
    models, place = _models(), str(tmp_path / "acts")
    alone = replace(_one("topk", replace(STREAM, model=None), k=2), label="")
    single = Fit("g", "one", RUNS[1], (alone,), 400, 8, 40, batch=7, store=place)
    plan = _plan(CROSS, single)
    stored = replace(
        plan,
        tasks=tuple(replace(t, store=place) if isinstance(t, Fit) else t for t in plan.tasks),
    )
    folder = _fit(stored, tmp_path / "stored", models)
    _same(_fit(_plan(CROSS), tmp_path / "plain"), folder)
    assert (models["a"].rows, models["b"].rows) == (30, 30)


def test_other_tokens_are_shown(tmp_path: Path) -> None:
    prompts = [row[:n].tolist() for row, n in _rows(_text())]
    prompts[4][2] += 1
    data = {"a": _text(), "b": Data("text", {"text": side("text", prompts)})}
    with pytest.raises(InterpError) as caught:
        execute(_plan(CROSS), folder_in(tmp_path), loaders=Two(_models(), data))
    (found,) = caught.value.diagnostics
    assert found.code == "E426" and found.notes[0].startswith("prompt 4,")
    fewer = {"a": _text(), "b": _text(29)}
    with pytest.raises(InterpError) as caught:
        execute(_plan(CROSS), folder_in(tmp_path / "n"), loaders=Two(_models(), fewer))
    assert "one has 30 prompts, the other 29" in str(caught.value.diagnostics[0].notes)


def _rows(data: Data) -> list[tuple[Any, int]]:
    found = data.sides["text"]
    return list(zip(found.tokens, found.lengths, strict=True))


def test_a_key_is_of_the_weights_and_not_of_a_models_name() -> None:
    (fit,) = (t for t in _plan(CROSS).tasks if isinstance(t, Fit))
    ids = {"model:a": "1", "model:b": "2", "d@a": "text", "d@b": "text"}
    key = step_key(fit, 0, ids, {})
    other = replace(
        fit,
        beside=(replace(RUNS[1], model="model:c"),),
        dictionaries=(replace(CROSS, others=(replace(STREAM, model="model:c"),)),),
    )
    assert step_key(other, 0, ids | {"model:c": "2"}, {}) == key
    assert step_key(other, 0, ids | {"model:c": "3"}, {}) != key


# ---- judged

MEASURES = (
    Judged("l0", "l0"),
    Judged("fvu", "fvu"),
    Judged("mse", "mse"),
    Judged("ce_loss_score", "ce_loss_score", (("ablation", "zero"),)),
    Judged("over_mean", "loss_recovered", (("ablation", "mean"),)),
    Judged("kl_div_score", "kl_div_score", (("ablation", "zero"),)),
    Judged("exclusive", "exclusive", (("least", 0.6),)),
)
LENGTHS = (2.0, 0.5)


def _judged(path: Path, dictionary: Dictionary) -> pl.DataFrame:
    folder, state = folder_in(path), State(0)
    for (name, model), run in zip(_models().items(), RUNS, strict=True):
        state.models[f"model:{name}"], state.data[run.data] = model, _text()
    folder.write_tensors("sae", {k: v.numpy() for k, v in dictionary.saved().items()})
    places = [{"width": w, "length": n} for w, n in zip((12, 10), LENGTHS, strict=True)]
    folder.finish_step("sae", "key", dictionaries=[{"label": "", "places": places}])
    task = EvaluateDictionary(
        "e", "check", RUNS[0], DictionaryOf("sae", (CROSS,)), MEASURES, True, batch=7,
        beside=RUNS[1:],
    )  # fmt: skip
    return judge(task, state, folder, Report(folder, "e"))[0].table


def _of(table: pl.DataFrame, metric: str, model: str | None) -> float:
    (value,) = table.filter(metric=metric).filter(pl.col("model").eq_missing(model))["value"]
    return float(value)


def _random() -> Dictionary:
    generator = torch.Generator().manual_seed(0)
    sizes = {"W_enc": (22, 9), "W_dec": (9, 22), "b_enc": (9,), "b_dec": (22,)}
    drawn = {k: torch.randn(v, generator=generator) * 0.3 for k, v in sizes.items()}
    return Dictionary("relu", drawn)


def test_what_each_model_loses_is_what_a_plain_loop_says(tmp_path: Path) -> None:
    dictionary, models = _random(), _models()
    found = _judged(tmp_path, dictionary)
    places = {"a": (NEURONS.site, slice(0, 12)), "b": (STREAM.site, slice(12, 22))}
    sums: dict[tuple[str, str], float] = {}
    errors: dict[str, list[Tensor]] = {"a": [], "b": []}
    count = 0
    for tokens, length in _rows(_text()):
        row = torch.from_numpy(tokens[:length])[None]
        at = (row[0] != 0).nonzero()[:, 0]
        x = torch.cat(
            [
                models[name].forward(row, None, sites=(site,)).sites[site][0, at].flatten(1)
                for name, (site, _) in places.items()
            ],
            1,
        ).float()
        made = dictionary.reconstruct(x)
        text = [t for t in range(length - 1) if tokens[t + 1] != 0]
        count += len(text)
        for name, (site, columns) in places.items():
            errors[name].append((made - x)[:, columns].square())
            for what, part in (("sae", made[:, columns]), ("zero", 0 * made[:, columns])):

                def change(
                    here: Site, x: Tensor, site: Site = site, part: Tensor = part, at: Tensor = at
                ) -> Tensor:
                    if here != site:
                        return x
                    new = x.clone()
                    new[0, at] = part.to(x.dtype).view_as(x[0, at])
                    return new

                log = models[name].run(row, change)[0].log_softmax(-1)
                key = (name, what)
                loss = sum(-float(log[t, tokens[t + 1]]) for t in text)
                sums[key] = sums.get(key, 0.0) + loss
    for name in "ab":
        mse = float(torch.cat(errors[name]).mean())
        assert _of(found, "mse", name) == pytest.approx(mse, rel=1e-5)
        spliced, ablated = (sums[name, what] / count for what in ("sae", "zero"))
        assert _of(found, "ce_loss_with_sae", name) == pytest.approx(spliced, rel=1e-5)
        assert _of(found, "ce_loss_with_ablation", name) == pytest.approx(ablated, rel=1e-5)
        assert abs(spliced - ablated) > 1e-3
    assert len(found.filter(metric="l0")) == 1 and found.filter(metric="l0")["model"][0] is None


def test_an_identity_over_both_keeps_everything_and_half_of_one_harms_that_alone(
    tmp_path: Path,
) -> None:
    eye = torch.eye(22)
    both = {
        "W_enc": torch.cat([eye, -eye], 1), "W_dec": torch.cat([eye, -eye]),
        "b_enc": torch.zeros(44), "b_dec": torch.zeros(22),
    }  # fmt: skip
    found = _judged(tmp_path / "a", Dictionary("relu", both))
    perfect = {"fvu": 0, "ce_loss_score": 1, "over_mean": 1, "kl_div_score": 1}
    for name in "ab":
        kept = {metric: _of(found, metric, name) for metric in perfect}
        assert kept == pytest.approx(perfect, abs=1e-5)
    both["W_dec"][:, 12:] = 0
    found = _judged(tmp_path / "b", Dictionary("relu", both))
    assert _of(found, "fvu", "a") == pytest.approx(0, abs=1e-5)
    assert _of(found, "ce_loss_score", "a") == pytest.approx(1, abs=1e-5)
    assert _of(found, "ce_loss_score", "b") == pytest.approx(0, abs=1e-5)


def test_a_feature_is_a_models_own_by_its_decoders_relative_to_activations(tmp_path: Path) -> None:
    """Of features that all fire: norms 4 and 1 where activations are 2 and 0.5 long are shared."""
    decoder = torch.zeros(3, 22)
    decoder[0, 0], decoder[0, 12] = 4.0, 1.0
    decoder[1, 0] = 1.0
    decoder[2, 0], decoder[2, 12] = 4.0, 2.0
    tensors = {
        "W_enc": torch.zeros(22, 3), "W_dec": decoder, "b_enc": torch.ones(3),
        "b_dec": torch.zeros(22),
    }  # fmt: skip
    found = _judged(tmp_path, Dictionary("relu", tensors))
    assert _of(found, "exclusive", "a") == pytest.approx(1 / 3)
    assert _of(found, "exclusive", "b") == pytest.approx(1 / 3)  # 4/2 to 2/0.5: two thirds
    tensors["b_enc"] = torch.tensor([1.0, -1.0, 1.0])
    found = _judged(tmp_path / "fires", Dictionary("relu", tensors))
    assert _of(found, "exclusive", "a") == 0 and _of(found, "exclusive", "b") == 0.5


# ---- planted

BOTH, ONLY_A, ONLY_B = range(8), range(8, 12), range(12, 16)
TOKENS = 600


class Planted(Tiny):
    """A stream that is, for each token, the sum of the planted features that it has; of these the
    model has some, in directions of its own."""

    def __init__(self, own: list[int], width: int, seed: int, length: float) -> None:
        super().__init__(
            seed, Shape(1, 1, 1, width, 4, 4, d_vocab=TOKENS, d_vocab_out=TOKENS, n_ctx=16)
        )
        random = torch.Generator().manual_seed(0)  # the same for both
        on = torch.rand(TOKENS, 16, generator=random) < 0.1
        amount = on * (0.5 + torch.rand(TOKENS, 16, generator=random))
        drawn = torch.randn(16, width, generator=torch.Generator().manual_seed(seed))
        self.directions = torch.zeros(16, width)
        self.directions[own] = length * normalize(drawn, dim=1)[own]
        self.embed = (amount @ self.directions).double()
        self.places = torch.zeros_like(self.places)


@pytest.mark.parametrize(
    "one",
    [
        {"name": "batch_topk", "width": 20, "k": 2, "lr": 1e-2},
        {"name": "relu", "width": 24, "l1": 1.0, "norm": "weighted", "bias": "mean", "lr": 5e-3},
    ],
    ids=["batch_topk", "relu"],
)
def test_what_is_planted_in_one_or_both_is_found_there(tmp_path: Path, one: dict[str, Any]) -> None:
    """Models of other widths, one with activations three times as long."""
    models = {
        "a": Planted([*BOTH, *ONLY_A], 24, 1, 1.0),
        "b": Planted([*BOTH, *ONLY_B], 20, 2, 3.0),
    }
    random = np.random.default_rng(0)
    text = Data(
        "t", {"text": side("text", [[0, *random.integers(1, 600, 12)] for _ in range(300)])}
    )
    stream = Site("resid_pre", 0)
    cross = replace(
        _one(at=Target(stream, model="model:a"), **{**one, "batch": 64, "buffer": 6400}),
        others=(Target(stream, model="model:b"),),
    )
    fit = Fit("f", "sae", RUNS[0], (cross,), 48_000, 64, 6400, batch=50, beside=RUNS[1:])
    of = DictionaryOf("sae", (cross,))
    norms = InspectWeights("n", "norms", "model:a", of, None, "norms", ())
    folder = folder_in(tmp_path)
    plan = Plan((*LOADS, fit, norms))
    execute(plan, folder, loaders=Two(models, dict.fromkeys("ab", text)))

    planted = torch.cat([models["a"].directions, models["b"].directions], 1)
    found = torch.from_numpy(folder.read_tensors("sae")["W_dec"])
    cosines = normalize(planted, dim=1) @ normalize(found, dim=1).T
    best = cosines.max(1)
    assert float(best.values.min()) > 0.98
    table = folder.read_table("norms").filter(pl.col("place") == "b.L0.resid_pre")
    share = table["relative_norm"].to_numpy()[best.indices.numpy()]
    assert np.abs(share[BOTH] - 0.5).max() < 0.15
    assert share[ONLY_A].max() < 0.05 and share[ONLY_B].min() > 0.95
    assert table["cosine"].is_null().all()  # of other widths
