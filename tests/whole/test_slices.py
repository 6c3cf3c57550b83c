"""Paths among prompts, planes, gates and several models, against passes of the bridge-free model by
hand and against steps of one model each."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

import interp_dsl
from interp_dsl.data.build import build
from interp_dsl.models.edits import Edit
from interp_dsl.models.load import load
from interp_dsl.plan.places import Site

N, LAYER = 5, 0
HEAD = """
model m = bundled("ioi-3l")
dataset d = task("ioi-3l", n=5)
"""
STEP = """
step ways = interpolate L0.resid_post from d.clean to others(d.clean) at last
  using refine=0, gates=last, slice=4, planes=2, jump=1.05 by 0..1 every 0.25 measure distance()
"""


class ByHand:
    """Whole passes of single prompts with the last position's stream behind a layer set."""

    def __init__(self) -> None:
        self.model = load({"kind": "bundled", "name": "ioi-3l"}, "cpu")
        data = build("d", {"kind": "task", "name": "ioi-3l", "n": N, "seed": 0}, self.model.facts)
        self.side = data.sides["clean"]
        self.site = Site("resid_post", LAYER)
        self.last = self.model.facts.shape.n_layers - 1
        self.own = [self.run(i, None)[2] for i in range(N)]

    def run(self, prompt: int, x: Tensor | None) -> tuple[Tensor, Tensor, Tensor, int]:
        """The last stream and the last layer's neurons at the read position, the place itself, the
        likeliest token."""
        end = int(self.side.lengths[prompt])
        tokens = torch.from_numpy(self.side.tokens[prompt : prompt + 1, :end])
        row, at = torch.zeros(1, dtype=torch.long), torch.tensor([[end - 1]])
        edits = []
        if x is not None:
            valid = torch.ones(1, 1, dtype=torch.bool)
            edits = [Edit(self.site, row, row, at, valid, x[None, None])]
        sites = (Site("resid_post", self.last), Site("neuron", self.last), self.site)
        found = self.model.forward(tokens, at, edits, sites)
        streams, neurons, own = (found.sites[s][0, end - 1].flatten() for s in sites)
        return streams, neurons, own, int(found.logits[0, 0].argmax())


@pytest.fixture(scope="module")
def hand() -> ByHand:
    return ByHand()


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ways")
    (path / "a.interp").write_text(HEAD + STEP)
    interp_dsl.run(path / "a.interp", out=path / "run")
    return path / "run" / "tables"


def test_paths_lead_to_each_other_prompt(ways: Path, hand: ByHand) -> None:
    table = pl.read_parquet(ways / "ways.parquet").filter(pl.col("length") == 0.5)
    pairs = pl.read_parquet(ways / "ways.pairs.parquet")
    assert {(r["start"], r["end"]) for r in pairs.to_dicts()} == {
        (i, j) for i in range(N) for j in range(N) if i != j
    }
    for k in range(N - 1):
        distances = []
        for i in range(N):
            a, b = hand.own[i], hand.own[(i + k + 1) % N]
            distances.append(float((hand.run(i, (a + b) / 2)[0] - hand.run(i, a)[0]).norm()))
        row = table.filter(number=k).row(0, named=True)
        assert row["effect"] == pytest.approx(np.mean(distances), rel=1e-3)
    for row in pairs.to_dicts():
        a, b = hand.own[row["start"]], hand.own[row["end"]]
        outputs = [hand.run(row["start"], a + s / 4 * (b - a))[0] for s in range(5)]
        away = torch.stack([(x - outputs[0]).norm() for x in outputs])
        slope = float((away / away[-1]).diff().max() * 4)
        assert row["slope"] == pytest.approx(slope, rel=1e-3)


def test_regions_are_what_no_jump_divides(ways: Path) -> None:
    pairs = pl.read_parquet(ways / "ways.pairs.parquet")
    slope = {(r["start"], r["end"]): r["slope"] for r in pairs.to_dicts()}
    labels = list(range(N))
    for _ in range(N):
        for i, j in combinations(range(N), 2):
            if max(slope[i, j], slope[j, i]) < 1.05:
                labels[i] = labels[j] = min(labels[i], labels[j])
    found = pl.read_parquet(ways / "ways.regions.parquet")
    names = {label: k for k, label in enumerate(dict.fromkeys(labels))}
    assert found["region"].to_list() == [names[label] for label in labels]
    assert found["size"].to_list() == [labels.count(label) for label in labels]


def test_gates_are_counted_at_both_ends(ways: Path, hand: ByHand) -> None:
    flips = []
    for i in range(N):
        own = [
            int(((hand.run(i, None)[1] > 0) != (hand.run(i, hand.own[j])[1] > 0)).sum())
            for j in range(N)
            if j != i
        ]
        flips.append(sorted(own)[(len(own) - 1) // 2])
    whole = pl.read_parquet(ways / "ways.parquet").filter(pl.col("flips").is_not_null())
    assert whole["flips"].item() == pytest.approx(float(np.median(flips)))
    assert max(flips) > 0


def test_a_plane_shows_what_the_model_makes_of_its_points(ways: Path, hand: ByHand) -> None:
    table = pl.read_parquet(ways / "ways.planes.parquet")
    assert len(table) == 2 * 4 * 4
    text = interp_dsl_token(hand)
    for prompt in range(2):
        a, b, c = (hand.own[(prompt + k) % N].double() for k in range(3))
        share = ((c - a) @ (b - a)) / (b - a).square().sum()
        across = c - a - share * (b - a)
        corners = [hand.run(prompt, x.float())[0].double() for x in (a, b, c)]
        widest = max(float((x - y).norm()) for x, y in combinations(corners, 2))
        for row in table.filter(prompt=prompt).to_dicts():
            x = a + row["along"] * (b - a) + row["across"] * across
            output, _, _, token = hand.run(prompt, x.float())
            alike = [max(0.0, 1 - float((output - y).norm()) / widest) for y in corners]
            assert [row[k] for k in "abc"] == pytest.approx(alike, abs=1e-4)
            assert row["nearest"] == "abc"[int(np.argmax(alike))]
            assert row["token"] == text(token)


def interp_dsl_token(hand: ByHand):  # type: ignore[no-untyped-def]
    from interp_dsl.engine.state import token_text

    return token_text(hand.model.facts)


MODELS = """
model early = bundled("induction-2l", step=300)
model late  = bundled("induction-2l")
dataset d = repeated_tokens(pairs=8, half=8, seed=0)
step both = interpolate early.L0.resid_post from d.clean to d.corrupt at last
  using models=[early, late] measure distance(), kl()
step one = interpolate early.L0.resid_post from d.clean to d.corrupt at last
  measure distance(), kl()
step two = interpolate late.L0.resid_post from d.clean to d.corrupt at last
  measure distance(), kl()
expect both[model=late, side=clean, length=0.5].kl.effect >= 0
"""


def test_several_models_are_each_as_alone(tmp_path: Path) -> None:
    (tmp_path / "a.interp").write_text(MODELS)
    run = interp_dsl.run(tmp_path / "a.interp", out=tmp_path / "run")
    both = run.scores("both")
    assert list(dict.fromkeys(both["model"])) == ["early", "late"]
    for name, step in (("early", "one"), ("late", "two")):
        own, alone = both.filter(model=name).drop("model"), run.scores(step)
        assert own.columns == alone.columns
        for column in own.columns:
            if own.schema[column].is_numeric():
                a, b = (t[column].fill_null(-9).to_numpy() for t in (own, alone))
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
            else:
                assert own[column].to_list() == alone[column].to_list()
    slopes = both.filter(pl.col("slope").is_not_null())
    assert slopes["model"].n_unique() == 2
