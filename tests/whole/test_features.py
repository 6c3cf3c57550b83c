"""Features looked at from a file: what is lost without them is what `ablate` measures, and steps
are taken over where nothing has changed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

import interp_dsl
from interp_dsl.plan.tasks import LoadModel
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.neuronpedia import dashboards

TEXT = """model   m    = bundled("induction-2l")
dataset d    = repeated_tokens(pairs=24, half=12, seed=0)
step sae    = fit topk(width=48, k=6, batch=64, lr=5e-3) on L0.resid_post of d.clean until tokens=6k
step lost   = inspect sae[0..15] by ablation(prompts=24) on d.clean
step off    = ablate sae[0..15] at all - first with zero on d.clean measure loss(), kl()
step often  = inspect sae[0..15] by density() on d.clean
step writes = inspect sae[0..15] by logits(top=3)
step near   = inspect features(sae) by nearest(top=2)
step seen   = inspect sae[0..15] by examples(top=2, intervals=3, context=3) on d.clean
step beside = inspect sae[0..15] by cofiring(top=2, support=5) on d.clean
"""
FEATURE = """
feature_index neuron_alignment_indices neuron_alignment_values neuron_alignment_l1
correlated_neurons_indices correlated_neurons_l1 correlated_neurons_pearson
correlated_features_indices correlated_features_l1 correlated_features_pearson
neg_str neg_values pos_str pos_values frac_nonzero freq_hist_data_bar_values
freq_hist_data_bar_heights logits_hist_data_bar_heights logits_hist_data_bar_values n_prompts_total
n_tokens_in_prompt dataset decoder_weights_dist activations vector
""".split()  # noqa: SIM905
"""The fields of a feature in SAEDashboard 0.8.0, as sae_dashboard/neuronpedia has them; its own
classes have read such a file and written it unchanged."""
ACTIVATION = ["bin_min", "bin_max", "bin_contains", "tokens", "values", "qualifying_token_index"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    place = tmp_path_factory.mktemp("features")
    path = place / "x.interp"
    path.write_text(TEXT)
    return RunFolder(interp_dsl.run(path, runs=place, device="cpu").path)


def test_losses_are_those_that_ablate_measures(run: RunFolder) -> None:
    """Prompts on which a feature is not on lose nothing; every other token counts once, in one
    mean or the other."""
    lost, off = run.read_table("lost"), run.read_table("off")
    values = run.read_tensors("off")
    changes = (values["value"] - values["base"]).astype(float)
    is_loss = (off["metric"] == "loss").to_numpy()
    known = dict(zip(off["index"].to_numpy()[is_loss], changes[is_loss], strict=True))
    length = run.read_table("often")["n"][0] / 24  # tokens that a prompt predicts
    for row in lost.to_dicts():
        total = row["n"] * row["loss"] + row["n_after"] * row["after"]
        assert total == pytest.approx(float(known[row["feature"]].sum()) * length, rel=2e-3)
    assert lost["n"].min() > 0 and lost["after"].abs().max() > 1e-4


def test_a_second_run_takes_all_over(run: RunFolder) -> None:
    place = run.path.parent
    again = RunFolder(interp_dsl.run(place / "x.interp", runs=place, device="cpu").path)
    for step in ("lost", "writes", "near"):
        assert again.read_table(step).equals(run.read_table(step))
        assert "taken_from" in again.step_facts(step)
    np.testing.assert_array_equal(
        again.read_tensors("writes")["histogram"], run.read_tensors("writes")["histogram"]
    )


def test_dashboards_have_neuronpedias_fields_and_the_tables_numbers(run: RunFolder) -> None:
    (files,) = dashboards(run, "sae").values()
    batch = json.loads(files["batch-0.json"])
    about = {"model_id": "induction-2l", "layer": 0, "sae_set": "sae", "sae_id_suffix": None}
    assert {k: v for k, v in batch.items() if k != "features"} == about
    tables = {name: run.read_table(name) for name in ("seen", "often", "writes", "beside")}
    of = {name: table.partition_by("feature", as_dict=True) for name, table in tables.items()}
    decoder = run.read_tensors("sae")["W_dec"]
    tokens = tables["often"]["n"][0]
    assert [f["feature_index"] for f in batch["features"]] == [*range(48)]  # near is of them all
    for feature in batch["features"][:16]:
        assert {*feature} == {*FEATURE}
        number = feature["feature_index"]
        row = decoder[number]
        assert feature["neuron_alignment_indices"] == (-row).argsort()[:3].tolist()
        assert feature["neuron_alignment_l1"][0] == pytest.approx(
            row.max() / abs(row).sum(), rel=1e-4
        )
        assert feature["frac_nonzero"] == of["often"][number,]["density"][0]
        writes = of["writes"][number,]
        for name, end in (("pos", "top"), ("neg", "bottom")):
            held = writes.filter(writes["end"] == end)
            assert feature[f"{name}_str"] == held["token"].to_list()
            assert feature[f"{name}_values"] == pytest.approx(held["logit"].to_list(), rel=1e-4)
        heights = feature["logits_hist_data_bar_heights"]
        assert len(heights) == 50 and sum(heights) == len(run_vocabulary(run))
        others = of["beside"].get((number,))
        known = [] if others is None else others["other"].to_list()
        assert feature["correlated_features_indices"] == known
        _check_activations(feature, of["seen"].get((number,)), tokens)
    assert batch["features"][20]["activations"] == []


def run_vocabulary(run: RunFolder) -> range:
    """Tokens of the model."""
    (load,) = (t for t in run.read_plan().tasks if isinstance(t, LoadModel))
    assert load.size is not None
    return range(load.size.d_vocab)


def _check_activations(feature: dict[str, Any], examples: pl.DataFrame | None, tokens: int) -> None:
    held = [] if examples is None else examples.to_dicts()
    assert len(feature["activations"]) == len(held)
    contained = {}
    for one, row in zip(feature["activations"], held, strict=True):
        assert [*one] == ACTIVATION and len(one["tokens"]) == len(one["values"])
        at = one["qualifying_token_index"]
        assert at == min(3, row["position"])
        assert one["values"][at] == pytest.approx(row["activation"], rel=1e-4)
        assert one["tokens"][at] == row["token"]
        most = max(r["activation"] for r in held)
        if row["interval"] is None:
            assert (one["bin_min"], one["bin_contains"]) == (-1, -1)
            assert one["bin_max"] == pytest.approx(most, rel=1e-4)
        else:
            assert one["bin_min"] <= row["activation"] * 1.0001
            assert one["bin_max"] - one["bin_min"] == pytest.approx(most / 3, rel=1e-4)
            contained[row["interval"]] = one["bin_contains"]
    if len(contained) == 3:
        assert sum(contained.values()) == pytest.approx(feature["frac_nonzero"], rel=1e-4)
    assert sum(feature["freq_hist_data_bar_heights"]) == round(feature["frac_nonzero"] * tokens)
