"""Features of two places related, against a plain pass over all tokens."""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import polars as pl
import pytest
import torch

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.engine.relate import relate
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State
from interp_dsl.geometry.similarity import sums_bytes
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.dictionaries import DictionaryOf, Fitted, Relate
from interp_dsl.plan.places import Site, Target
from interp_dsl.plan.relating import PAIR_BYTES, rows_of
from interp_dsl.runs.folder import RunFolder

from .plans import folder_in
from .test_fit import _text
from .test_judge import _relu
from .tiny import Tiny

LOW, HIGH = Target(Site("resid_mid", 0)), Target(Site("resid_post", 0))
GIVEN = {
    "measure": "pearson",
    "least": -2.0,
    "top": 99,
    "support": 1,
    "active": 0.0,
    "passing": 0.95,
    "gate": 0.999,
    "inputs": 2,
    "joined": 0.9,
    "verify": 0,
    "prompts": 3,
    "partition": "louvain",
    "resolution": 1,
    "seed": 0,
}


def dictionary(width: int, seed: int) -> Dictionary:
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(8, width, generator=generator)
    return _relu(made, made.T.contiguous(), torch.full((8,), 0.1))


SAES = {"low": dictionary(5, 1), "high": dictionary(6, 2)}
SAES["high"] = _relu(  # its first feature is the first below
    torch.cat([SAES["low"].tensors["W_enc"][:, :1], SAES["high"].tensors["W_enc"][:, 1:]], 1),
    SAES["high"].tensors["W_dec"],
    torch.full((8,), 0.1),
)


def run(
    path: Path, rows: int = 5, target: Target = HIGH, model: Tiny | None = None, **given: object
) -> RunFolder:
    folder, state = folder_in(path), State(0)
    state.models["m"], state.data["d"] = model or Tiny(), _text()
    for name, one in SAES.items():
        folder.write_tensors(name, {k: x.numpy() for k, x in one.tensors.items()})
        about = [{"label": "", "activation": "relu", "k": None}]
        folder.finish_step(name, name, dictionaries=about)
    of = tuple(
        DictionaryOf(name, (Fitted("", place, "relu", ()),))
        for name, place in (("low", LOW), ("high", target))
    )
    options = tuple(sorted({**GIVEN, **given}.items()))
    task = Relate("r", "graph", Run("m", "d", "text"), of, "similarity", options, rows, batch=4)  # type: ignore[arg-type]
    relate(task, "k", state, folder, Report(folder, "r"))
    return folder


def plain(target: Target = HIGH) -> tuple[torch.Tensor, torch.Tensor]:
    """The features of both places, of all tokens but BOS and padding."""
    side, found = _text().sides["text"], []
    for tokens, length in zip(side.tokens, side.lengths, strict=True):
        row = torch.from_numpy(tokens[:length])[None]
        sites = Tiny().forward(row, None, sites=(LOW.site, target.site)).sites
        kept = row[0] != 0
        found.append(
            [
                SAES[name].encode(sites[place.site][0, kept, 0].float())
                for name, place in (("low", LOW), ("high", target))
            ]
        )
    below, above = zip(*found, strict=True)
    return torch.cat(below).double(), torch.cat(above).double()


@pytest.mark.parametrize("rows", [2, 5])
def test_pairs_are_those_of_a_plain_pass(tmp_path: Path, rows: int) -> None:
    folder = run(tmp_path, rows)
    a, b = plain()
    found = {(r["i"], r["j"]): r for r in folder.read_table("graph.pairs").to_dicts()}
    expected = torch.corrcoef(torch.cat([a, b], 1).T)[:5, 5:]
    for i, j in product(range(5), range(6)):
        both = ((a[:, i] > 0) & (b[:, j] > 0)).sum()
        assert ((i, j) in found) == bool(both)
        if not both:
            continue
        row = found[i, j]
        assert row["pearson"] == pytest.approx(float(expected[i, j]), abs=1e-5)
        assert row["support"] == int(both)
        assert row["necessity"] == pytest.approx(float(both / (b[:, j] > 0).sum()))
        cosine = torch.cosine_similarity(
            SAES["low"].tensors["W_dec"][i], SAES["high"].tensors["W_dec"][j], dim=0
        )
        assert row["decoder_cosine"] == pytest.approx(float(cosine), abs=1e-6)
        assert (row["below"], row["above"]) == ("L0.resid_mid", "L0.resid_post")


def test_what_passes_is_told(tmp_path: Path) -> None:
    """The stream before and behind an MLP is nearly the same: the shared feature passes on."""
    folder = run(tmp_path, passing=0.6, joined=0.6)
    a, b = plain()
    best = torch.corrcoef(torch.cat([a, b], 1).T)[:5, 5:].nan_to_num(nan=-1)
    alive = (a > 0).any(0)
    rows = {r["metric"]: r for r in folder.read_table("graph").to_dicts()}
    passed = float((best.amax(1)[alive] >= 0.6).double().mean())
    assert rows["passed"]["value"] == pytest.approx(passed) and passed > 0
    assert rows["disappearing"]["value"] == pytest.approx(1 - passed)
    assert rows["passed"]["unit"] == "L0.resid_mid" and rows["communities"]["unit"] == "model"
    communities = folder.read_table("graph.communities")
    first = communities.filter(pl.col("feature") == 0)["community"].to_list()
    assert len(first) == 2 and len(set(first)) == 1
    assert rows["communities"]["value"] == communities["community"].n_unique()


def test_leiden_finds_communities_where_igraph_is(tmp_path: Path) -> None:
    """The few pairs that are joined leave both methods no choice."""
    pytest.importorskip("igraph", reason="igraph is an optional extra")
    found = [
        run(tmp_path / how, joined=0.6, partition=how).read_table("graph.communities")
        for how in ("leiden", "louvain")
    ]
    assert len(found[0]) and found[0].equals(found[1])


def test_leiden_asks_for_igraph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any text goes through the model."""
    monkeypatch.setitem(sys.modules, "igraph", None)
    model = Tiny()
    with pytest.raises(InterpError) as error:
        run(tmp_path, model=model, partition="leiden")
    assert [d.code for d in error.value.diagnostics] == ["E693"] and model.rows == 0


def test_gates_of_both_kinds_are_scored_in_one_pass(tmp_path: Path) -> None:
    """A pass for the pairs and one for the gates, of all texts each."""
    model = Tiny()
    gates = run(tmp_path / "all", model=model, gate=0.5, inputs=5).read_table("graph.gates")
    assert set(gates["kind"]) == {"and", "or"}
    alone = Tiny()
    none = run(tmp_path / "none", model=alone, gate=1.0, support=10**6).read_table("graph.gates")
    assert len(none) == 0 and model.rows == 2 * alone.rows > 0


def test_a_share_of_the_largest_activation_is_the_threshold(tmp_path: Path) -> None:
    folder = run(tmp_path, active=0.5)
    a, b = plain()
    on = (a > 0.5 * a.amax(0), b > 0.5 * b.amax(0))
    for row in folder.read_table("graph.pairs").to_dicts():
        both = (on[0][:, row["i"]] & on[1][:, row["j"]]).sum()
        assert row["support"] == int(both) > 0


def upper(prompt: torch.Tensor, ablated: int | None) -> torch.Tensor:
    """The upper features of a prompt's text, a lower one taken out of the stream by hand."""
    kept, found = prompt[0] != 0, []

    def change(site: Site, x: torch.Tensor) -> torch.Tensor:
        if site == LOW.site and ablated is not None:
            held = x[0, kept, 0].float()
            f = SAES["low"].encode(held)[:, ablated : ablated + 1]
            x = x.clone()
            x[0, kept, 0] = (held - f * SAES["low"].tensors["W_dec"][ablated]).double()
        if site == HIGH.site:
            found.append(SAES["high"].encode(x[0, kept, 0].float()))
        return x

    Tiny().run(prompt, change)
    return found[0]


def test_verified_pairs_are_real_ablations(tmp_path: Path) -> None:
    folder = run(tmp_path, verify=4)
    rows = folder.read_table("graph.verified").to_dicts()
    values = folder.read_table("graph.pairs")["pearson"]
    assert [r["measure"] for r in rows] == sorted(r["measure"] for r in rows)
    assert rows[0]["measure"] == values.min() and rows[-1]["measure"] == values.max()
    side = _text().sides["text"]
    for row in rows:
        before, after = [], []
        for tokens, length in zip(side.tokens[:3], side.lengths[:3], strict=True):
            prompt = torch.from_numpy(tokens[:length])[None]
            before.append(upper(prompt, None)[:, row["j"]])
            after.append(upper(prompt, row["i"])[:, row["j"]])
        one, two = torch.cat(before), torch.cat(after)
        on = one > 0.01 * one.max()
        assert row["n"] == int(on.sum()) > 0
        assert row["effect"] == pytest.approx(float((two - one)[on].mean()), abs=1e-5)
        assert row["lost"] == pytest.approx(-row["effect"] / float(one[on].mean()), rel=1e-4)
    table = {r["metric"]: r["value"] for r in folder.read_table("graph").to_dicts()}
    assert table["verified"] is not None and -1 <= table["verified"] <= 1


def test_the_plan_counts_what_a_pass_holds() -> None:
    assert sums_bytes(7, 11) == 7 * 11 * PAIR_BYTES
    wide = [Fitted("", LOW, "relu", (("width", 24_576),)) for _ in range(2)]
    assert sums_bytes(rows_of(wide), 24_576) <= 2 * 2**30 < sums_bytes(rows_of(wide) + 1, 24_576)
    small = [Fitted("", LOW, "relu", (("width", 64),)) for _ in range(2)]
    assert rows_of(small) == 64
