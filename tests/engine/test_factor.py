"""The chain against the model itself, and what `factor` leaves."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

import interp_dsl
from interp_dsl.engine.chain import Chain, in_float64
from interp_dsl.engine.state import State
from interp_dsl.face import Run as Opened
from interp_dsl.geometry import interaction_basis as ib
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.load import load
from interp_dsl.plan.algebra import Metric, MetricCall, Run
from interp_dsl.plan.factors import depth
from interp_dsl.plan.places import Site

from .tiny import Tiny, pairs

ACCURACY = (Metric("accuracy", MetricCall("accuracy")),)
RUN = Run("model:m", "data:d", "clean")


def state_of(model: str, task: str, n: int) -> State:
    from interp_dsl.data.build import build

    executor = load(
        {"kind": "bundled", "name": model, "dtype": "float64"}, "cpu", executor="compiled"
    )
    data = build("d", {"kind": "task", "name": task, "n": n}, executor.facts)
    return State(0, models={RUN.model: executor}, data={RUN.data: data})


SITES = [Site("resid_pre", 0), Site("resid_mid", 0), Site("resid_pre", 1), Site("resid_post", 1)]


@pytest.mark.parametrize("model", ["induction-2l"])
def test_streams_and_stages_are_the_models_own(model: str) -> None:
    state = state_of(model, model, 6)
    chain = Chain(RUN, ACCURACY, state)
    executor, side = state.executor(RUN), state.side(RUN)
    assert isinstance(executor, CompiledExecutor)
    tokens, reads = torch.from_numpy(side.tokens), torch.from_numpy(side.read)[:, None]
    found = executor.forward(tokens, reads, sites=[*SITES, Site("logits")])
    depths = [depth(site, 2) for site in SITES] + [5]
    streams = chain.streams(depths)
    rows = torch.arange(6)
    for site, stream in zip(SITES, streams, strict=False):
        own = found.sites[site][:, :, 0]
        own = own[rows, reads[:, 0]][:, None] if depth(site, 2) > 2 else own[:, 1:]
        assert torch.allclose(stream, own, atol=1e-12)
    logits = found.sites[Site("logits")][:, :, 0][rows, reads[:, 0]][:, None]
    assert torch.allclose(streams[-1], logits, atol=1e-12)
    for at, (below, above) in enumerate(pairwise(depths)):
        moved = chain.stage(below, above)(streams[at], slice(0, 6))
        assert torch.allclose(moved, streams[at + 1], atol=1e-12)
    later = chain.stage(depths[1], depths[3])(streams[1][2:4], slice(2, 4))
    assert torch.allclose(later, streams[3][2:4], atol=1e-12)
    assert torch.allclose(chain.values(streams[-1])[0], torch.ones(6))


def test_a_metric_that_reads_everywhere_leaves_only_bos_out() -> None:
    """Behind the last attention, too; the logits are all there, as the metric needs them."""
    state = state_of("induction-2l", "induction-2l", 6)
    chain = Chain(RUN, (Metric("loss", MetricCall("loss")),), state)
    behind, logits = chain.streams([4, 5])
    tokens = chain.tokens
    assert (behind.shape[1], logits.shape[1]) == (tokens.shape[1] - 1, tokens.shape[1])
    assert torch.equal(chain.stage(4, 5)(behind, slice(0, 6)), logits)
    scores = logits[:, :-1].log_softmax(2).gather(2, tokens[:, 1:, None].long())
    expected = -scores[..., 0].mean(1).float()
    torch.testing.assert_close(chain.values(logits)[0], expected)


def test_slopes_behind_an_mlp_are_differences() -> None:
    state = state_of("ioi-3l", "ioi-3l", 1)
    chain = Chain(RUN, (), state)
    layer = 1
    begin = 2 * layer + 1
    (stream,) = chain.streams([begin])
    stage = chain.after_added(layer, stream)
    zero = torch.zeros(1, stream.shape[1], 256, dtype=torch.float64)
    ((_, jacobian),) = ib.jacobians(stage, zero)
    plain = chain.stage(begin, 7)(stream, slice(0, 1))
    assert torch.allclose(stage(zero, slice(0, 1)), plain, atol=1e-12)
    moved = zero.clone()
    moved[0, 3, 17] = 1e-6
    slope = (stage(moved, slice(0, 1)) - plain) / 1e-6
    assert torch.allclose(slope, jacobian[..., 3, 17], atol=1e-4 * float(jacobian.abs().max()))


TEXT = """model m = bundled("induction-2l")
dataset d = task("induction-2l", n=12)
units stream = L1.resid_pre | L1.resid_post | logits
step bases = factor stream on d by interaction_basis(examples=6, tolerance=0.01) measure accuracy()
expect bases[L1.resid_pre, basis=interaction].directions > 0
expect bases[basis=pca].modularity >= 0 or bases[L1.resid_post, basis=pca].directions == 64
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    folder = tmp_path_factory.mktemp("factor")
    (folder / "x.interp").write_text(TEXT)
    return interp_dsl.run(folder / "x.interp", out=folder / "run", device="cpu")


def values(run: Opened, metric: str, basis: str) -> dict[str, float]:
    table = run.scores("bases").filter((pl.col("metric") == metric) & (pl.col("basis") == basis))
    return dict(zip(table["unit"], table["value"], strict=True))


def test_a_step_leaves_findings_tables_and_tensors(run: Opened) -> None:
    assert all(claim["ok"] for claim in run.claims)
    for basis in ("interaction", "pca", "neuron"):
        directions = values(run, "directions", basis)
        assert list(directions) == ["L1.resid_pre", "L1.resid_post", "logits"]
        assert set(values(run, "edges_required", basis)) == {"L1.resid_pre", "L1.resid_post"}
        assert set(values(run, "modularity", basis)) == {"model"}
        tensors = run.tensors("bases")
        to, back = (tensors[f"L1.resid_pre.{basis}.{part}"] for part in ("to", "back"))
        np.testing.assert_allclose(back @ to, np.eye(to.shape[1]), atol=1e-6)
        edges = tensors[f"L1.resid_pre->L1.resid_post.{basis}.edges"]
        assert edges.shape == (directions["L1.resid_post"], directions["L1.resid_pre"])
    pca, ours = (values(run, "directions", b)["L1.resid_pre"] for b in ("pca", "interaction"))
    assert ours <= pca <= 64
    spectrum = run.folder.read_table("bases.spectrum")
    kept = spectrum.filter(
        (pl.col("basis") == "interaction") & (pl.col("layer") == "L1.resid_pre") & pl.col("kept")
    )
    assert len(kept) == ours and kept["value"].is_sorted(descending=True)
    curve = run.folder.read_table("bases.ablation")
    last = curve.filter((pl.col("basis") == "neuron") & (pl.col("layer") == "L1.resid_pre"))
    assert last["kept"].to_list()[-1] == 64 and last["score"].to_list()[-1] == 1


def test_a_chain_may_end_before_the_logits(run: Opened, tmp_path: Path) -> None:
    """Then the place before has the basis that it has with the logits behind, where these do not
    come in; and the metric is still that of the logits."""
    (tmp_path / "x.interp").write_text(TEXT.replace(" | logits", "").split("expect")[0])
    short = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run", device="cpu")
    assert list(values(short, "directions", "pca")) == ["L1.resid_pre", "L1.resid_post"]
    for metric in ("directions_required", "edges_required"):
        one, two = (values(r, metric, "pca")["L1.resid_pre"] for r in (short, run))
        assert one == two
    assert (
        values(short, "directions", "interaction")["L1.resid_post"]
        == values(short, "directions", "pca")["L1.resid_post"]
    )


def test_too_few_examples_for_the_dimensions_are_told_of(run: Opened) -> None:
    notes = [e["text"] for e in run.folder.events() if e["event"] == "note"]
    (few,) = [note for note in notes if "L1.resid_post" in note]
    assert "64 dimensions and 12 activations" in few
    assert not any("L1.resid_pre" in note for note in notes)
    assert values(run, "directions", "pca")["L1.resid_post"] == 11


def test_the_edges_that_are_kept_are_the_greatest(run: Opened) -> None:
    tensors, table = run.tensors("bases"), run.folder.read_table("bases.edges")
    name = "L1.resid_post->logits.interaction.edges"
    required = values(run, "edges_required", "interaction")["L1.resid_post"]
    rows = table.filter((pl.col("source") == "L1.resid_post") & (pl.col("basis") == "interaction"))
    assert len(rows) == required
    if required:
        flat = np.sort(tensors[name].ravel())[::-1]
        np.testing.assert_allclose(rows["edge"].to_numpy(), flat[: len(rows)])
        first = rows.row(0, named=True)
        assert tensors[name][first["target_k"], first["source_k"]] == first["edge"]


def test_a_finished_step_is_taken_over_with_its_tables(run: Opened, tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(TEXT)
    (tmp_path / "runs").mkdir()
    first = interp_dsl.run(tmp_path / "x.interp", runs=tmp_path / "runs", device="cpu")
    again = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "other", runs=tmp_path / "runs")
    assert first.folder.read_table("bases.spectrum").equals(
        again.folder.read_table("bases.spectrum")
    )


RANKS = """model m = bundled("ioi-3l")
dataset d = task("ioi-3l", n=4)
let one = d where index < 1
step ranks = factor {L1.mlp, L2.mlp} on one by degeneracy()
step same = factor {L2.mlp} on one by degeneracy(agreement=0.5, hessian=1)
"""


def test_ranks_of_mlps(tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(RANKS)
    run = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run", device="cpu")
    table = run.scores("ranks")
    found = {(r["unit"], r["matrix"], r["metric"]): r["value"] for r in table.to_dicts()}
    positions = 1  # behind the last attention only the read position matters
    for unit in ("L1.mlp", "L2.mlp"):
        for matrix in ("W_in", "W_out"):
            r1, r2 = (found[unit, matrix, f"{n}_rank"] for n in ("activation", "gradient"))
            assert found[unit, matrix, "parameters"] == 64 * 256
            assert found[unit, matrix, "free"] == 64 * 256 - r1 * r2
            assert 0 < found[unit, matrix, "effective"] <= r1 * r2
    assert found["L2.mlp", "W_in", "activation_rank"] == positions
    assert found["L1.mlp", "W_in", "activation_rank"] > positions
    counted = run.scores("same").filter(metric="hessian_rank")
    for matrix in ("W_in", "W_out"):  # of one activation: as many as its slopes have dimensions
        (rank,) = counted.filter(matrix=matrix)["value"]
        assert rank == found["L2.mlp", matrix, "gradient_rank"] > 1
        assert found["L2.mlp", matrix, "hessian_rank"] is None
    ranks = run.folder.read_table("ranks.ranks")
    assert set(ranks["of"]) == {"activations", "slopes"}
    groups = run.folder.read_table("same.groups")
    dead = {r["metric"]: r["value"] for r in run.scores("same").to_dicts() if r["matrix"] is None}
    assert dead["synchronised"] == len(groups)
    assert dead["neurons_dead"] + dead["synchronised"] <= 256


# ---- what is refused


def codes(error: pytest.ExceptionInfo[InterpError]) -> list[str | None]:
    return [found.code for found in error.value.diagnostics]


def test_a_model_that_runs_by_hooks_is_refused() -> None:
    state = State(0, models={RUN.model: Tiny()}, data={RUN.data: pairs()})  # type: ignore[dict-item]
    with pytest.raises(InterpError) as error:
        Chain(RUN, (), state)
    assert codes(error) == ["E690"]


def test_a_device_without_float64_is_refused() -> None:
    model = SimpleNamespace(device=torch.device("mps"))
    with pytest.raises(InterpError) as error:
        in_float64(model)  # type: ignore[arg-type]
    assert codes(error) == ["E691"]


def test_prompts_of_several_lengths_are_refused() -> None:
    with pytest.raises(InterpError) as error:
        Chain(RUN, ACCURACY, state_of("ioi-3l", "ioi-3l", 16))
    assert codes(error) == ["E692"]


def test_leiden_asks_for_igraph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is computed."""
    monkeypatch.setitem(sys.modules, "igraph", None)
    monkeypatch.setattr(Chain, "streams", lambda *_: pytest.fail("activations were computed"))
    text = TEXT.replace("examples=6", "examples=6, partition=leiden")
    (tmp_path / "x.interp").write_text(text)
    with pytest.raises(InterpError) as error:
        interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run", device="cpu")
    assert codes(error) == ["E693"]


def test_integrated_gradients_change_edges_of_what_is_curved_alone(
    tmp_path: Path, run: Opened
) -> None:
    """The unembedding is linear here, the attention is not."""
    text = TEXT.replace("examples=6", "examples=6, steps=3")
    (tmp_path / "x.interp").write_text(text)
    tensors = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run", device="cpu").tensors(
        "bases"
    )
    before = run.tensors("bases")
    flat, curved = "L1.resid_post->logits.pca.edges", "L1.resid_pre->L1.resid_post.pca.edges"
    np.testing.assert_allclose(tensors[flat], before[flat], rtol=1e-6, atol=1e-12)
    apart = np.abs(tensors[curved] - before[curved]).max() / before[curved].max()
    assert apart > 1e-3
