"""Points of paths against passes by hand: one prompt, one direction, one length at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from interp_dsl.data.types import Data
from interp_dsl.engine.statistics import resampling
from interp_dsl.geometry import directions
from interp_dsl.geometry.curves import reached
from interp_dsl.geometry.moments import Moments
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.algebra import (
    FromRun,
    LinearVector,
    MeanVector,
    Zero,
)
from interp_dsl.plan.paths import (
    AlongSlope,
    AlongVector,
    Components,
    Drawn,
    Toward,
)
from interp_dsl.plan.paths import Path as Way
from interp_dsl.plan.places import ALL, Positions, Site, Target
from interp_dsl.plan.tasks import Plan, Reach, Sweep

from . import loop
from .curving import DISTANCE, KL, LENGTHS, SITE, plan, unit
from .plans import CLEAN, CORRUPT, END, GAP, run
from .tiny import Tiny, pairs, side, singles


def activations(model: Tiny, data: Any, side: str, site: Site = SITE) -> list[Tensor]:
    """Of each prompt [T, width]."""
    n = len(data.sides[side].tokens)
    return [loop.activations(model, data.sides[side], i)[site][0, :, 0] for i in range(n)]


def counters(number: int, example: int, position: int) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(torch.tensor([[i]]) for i in (number, example, position))  # type: ignore[return-value]


class ByHand:
    """Directions of single places, from the passes of single prompts."""

    def __init__(self, model: Tiny, data: Any, site: Site = SITE) -> None:
        self.model, self.data = model, data
        self.clean = activations(model, data, "clean", site)
        self.corrupt = activations(model, data, "corrupt", site)
        self.pool = torch.cat([x[1:] for x in self.clean])
        self.moments = Moments.of(self.pool)
        starts = np.cumsum([0] + [len(x) - 1 for x in self.clean])
        self.own = {
            (i, p): int(starts[i]) + p - 1 if p else -1
            for i, x in enumerate(self.clean)
            for p in range(len(x))
        }

    def factor(self) -> Tensor:
        values, vectors = self.moments.components()
        return (vectors * values.sqrt()).float()

    def random(self, number: int, i: int, p: int) -> Tensor:
        return directions.isotropic(0, counters(number, i, p), 8)[0, 0]

    def covariance(self, number: int, i: int, p: int) -> Tensor:
        return directions.covariance_mixture(0, counters(number, i, p), self.factor())[0, 0]

    def difference(self, number: int, i: int, p: int) -> Tensor:
        own = torch.tensor([[self.own[i, p]]])
        return directions.real_mixture(0, counters(number, i, p), self.pool, own)[0, 0]

    def toward_real(self, number: int, i: int, p: int) -> Tensor:
        own = torch.tensor([[self.own[i, p]]])
        return (
            directions.another(0, counters(number, i, p), self.pool, own)[0, 0] - self.clean[i][p]
        )

    def toward_random(self, number: int, i: int, p: int) -> Tensor:
        mean = self.moments.mean.float()
        drawn = directions.sampled(0, counters(number, i, p), mean, self.factor())[0, 0]
        return drawn - self.clean[i][p]

    def toward_zero(self, number: int, i: int, p: int) -> Tensor:
        return -self.clean[i][p]

    def toward(self, number: int, i: int, p: int) -> Tensor:
        return directions.apart(self.corrupt[i][p], self.clean[i][p])

    def components(self, number: int, i: int, p: int) -> Tensor:
        return self.moments.components()[1][:, number]

    def vector(self, number: int, i: int, p: int) -> Tensor:
        return torch.cat(self.clean).mean(0)

    def gradient(self, number: int, i: int, p: int) -> Tensor:
        """By central differences of passes of one prompt."""
        step, side = 1e-4, self.data.sides["clean"]

        def gap(coordinate: int, size: float) -> float:
            def change(site: Site, x: Tensor) -> Tensor:
                if site != SITE:
                    return x
                x = x.clone()
                x[0, p, 0, coordinate] += size
                return x

            at = self.double(side, i, change)
            right, wrong = (a[i].alternatives[0][0] for a in (self.data.answers, self.data.wrongs))
            return float(at[right] - at[wrong])

        return torch.tensor([(gap(c, step) - gap(c, -step)) / (2 * step) for c in range(8)])

    def double(self, side: Any, i: int, change: Any) -> Tensor:
        """Logits at the answer in float64."""
        last: list[Tensor] = []

        def keep(site: Site, x: Tensor) -> Tensor:
            x = change(site, x)
            if site == Site("resid_post", 1):
                last.append(x[0, side.read[i], 0])
            return x

        self.model.run(loop.prompt(side, i), keep)
        return last[0] @ self.model.unembed


WAYS: dict[str, Way] = {
    "random": Drawn("random", "random", 2),
    "covariance": Drawn("covariance", "covariance", 2, 0, CLEAN),
    "difference": Drawn("difference", "difference", 2, 0, CLEAN),
    "toward_real": Drawn("toward_real", "toward_real", 2, 0, CLEAN),
    "toward_random": Drawn("toward_random", "toward_random", 1, 0, CLEAN),
    "toward_zero": Toward("toward_zero", Zero()),
    "toward": Toward("toward", FromRun(CORRUPT)),
    "components": Components("components", CLEAN, 3),
    "vector": AlongVector("vector", MeanVector(CLEAN, Target(SITE))),
    "gradient": AlongSlope("gradient", GAP),
}


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("at", [ALL, END, Positions("label", label="S")], ids=str)
@pytest.mark.parametrize("scale", ["l2", "norm", "own"])
def test_points_are_what_passes_by_hand_give(
    name: str, at: Positions, scale: str, tmp_path: Path
) -> None:
    model, data = Tiny(), pairs()
    hand, way = ByHand(model, data), WAYS[name]
    of: Callable[[int, int, int], Tensor] = getattr(hand, name)
    found = run(plan(way, units=(unit(at=at),), scale=scale), model, tmp_path, d=data)
    n = getattr(way, "n", 1)
    for number in range(n):
        for length in LENGTHS:

            def new(
                i: int,
                target: Target,
                k: int,
                p: int,
                old: Tensor,
                t: float = length,
                number: int = number,
            ) -> Tensor:
                v = of(number, i, p).double()
                by = {"l2": t, "norm": t * hand.moments.norm, "own": t * float(v.norm())}[scale]
                return old + by * v / v.norm().clamp(min=1e-30)

            expected = loop.gaps(model, data, data.sides["clean"], unit(at=at), new)
            where = (pl.col("length") == length) & (
                (pl.col("number") == number) if n > 1 else pl.col("number").is_null()
            )
            row = found.table.with_row_index("row").filter(where).to_dicts()[0]
            np.testing.assert_allclose(found.values[row["row"]], expected, atol=2e-5)
            assert row["value"] == pytest.approx(np.mean(expected), abs=2e-5)


@pytest.mark.parametrize("rows", [None, 1])
def test_an_arc_turns_from_one_activation_to_the_other(rows: int | None, tmp_path: Path) -> None:
    """By the angle: cos and sin of it, of the start and of what in the end is at right angles."""
    model, data = Tiny(), pairs()
    hand, lengths = ByHand(model, data), (0.25, 0.5, 1.0)
    arc = Toward("arc", FromRun(CORRUPT), "arc")
    found = run(
        plan(arc, units=(unit(at=END),), lengths=lengths, scale="own", rows=rows),
        model,
        tmp_path,
        d=data,
    )
    for share in lengths:

        def new(
            i: int, target: Target, k: int, p: int, old: Tensor, share: float = share
        ) -> Tensor:
            a, b = hand.clean[i][p].double(), hand.corrupt[i][p].double()
            across = b - a * (a @ b) / (a @ a)
            angle = share * torch.arccos(a @ b / a.norm() / b.norm())
            turned = a / a.norm() * angle.cos() + across / across.norm() * angle.sin()
            return turned * ((1 - share) * a.norm() + share * b.norm())

        expected = loop.gaps(model, data, data.sides["clean"], unit(at=END), new)
        row = found.table.with_row_index("row").filter(pl.col("length") == share).row(0, named=True)
        np.testing.assert_allclose(found.values[row["row"]], expected, atol=2e-5)


@pytest.mark.parametrize("name", ["random", "difference", "covariance", "toward_zero"])
def test_prompts_of_different_lengths_are_moved_at_their_own_tokens(
    name: str, tmp_path: Path
) -> None:
    model, clean = Tiny(), [[3, 1, 4, 1, 5], [9, 2, 6], [5, 3, 5, 8, 9, 7]]
    answers = (singles(1, 2, 3), singles(4, 5, 6))
    sides = {k: side(k, x) for k, x in (("clean", clean), ("corrupt", clean))}
    data = Data("ragged", sides, *answers)
    hand = ByHand(model, data)
    of: Callable[[int, int, int], Tensor] = getattr(hand, name)
    found = run(plan(WAYS[name], lengths=(2.0,)), model, tmp_path, d=data)

    def new(i: int, target: Target, k: int, p: int, old: Tensor) -> Tensor:
        v = of(0, i, p).double()
        return old + 2 * v / v.norm()

    expected = loop.gaps(model, data, sides["clean"], unit(), new)
    first = pl.col("number") == 0 if getattr(WAYS[name], "n", 1) > 1 else pl.col("length") == 2
    row = found.table.with_row_index("row").filter(first).row(0, named=True)
    np.testing.assert_allclose(found.values[row["row"]], expected, atol=2e-5)


def test_directions_do_not_depend_on_batches_or_shards(tmp_path: Path) -> None:
    ways = (WAYS["random"], WAYS["difference"], WAYS["covariance"], WAYS["toward"])
    tables = [
        run(plan(*ways, rows=rows, shard=shard), Tiny(), tmp_path / f"{rows}{shard}", d=pairs())
        for rows, shard in ((None, None), (3, 2), (7, 5), (1, 1))
    ]
    for other in tables[1:]:
        np.testing.assert_allclose(other.values, tables[0].values, atol=1e-6, equal_nan=True)
        assert other.table.columns == tables[0].table.columns


@pytest.mark.parametrize("name", ["random", "components", "covariance", "toward"])
def test_heads_of_one_site_have_directions_and_norms_of_their_own(
    name: str, tmp_path: Path
) -> None:
    """Two heads in one step as each in a step of its own."""
    heads = tuple(unit(Site("z", 1), END, index) for index in (0, 1))
    ways = (WAYS[name],)
    both = run(plan(*ways, units=heads, scale="norm", rows=50), Tiny(), tmp_path / "b", d=pairs())
    for index, head in enumerate(heads):
        folder = tmp_path / f"{index}"
        alone = run(plan(*ways, units=(head,), scale="norm"), Tiny(), folder, d=pairs())
        rows = both.table.with_row_index("row").filter(pl.col("head") == index)
        assert len(rows) == len(alone.table)
        mine = both.values[rows["row"].to_numpy()]
        np.testing.assert_allclose(mine, alone.values, atol=1e-6, equal_nan=True)
    assert not np.allclose(both.values[: len(mine)], both.values[len(mine) :], equal_nan=True)


def test_all_directions_together_are_each_examples_mean(tmp_path: Path) -> None:
    found = run(plan(WAYS["difference"]), Tiny(), tmp_path, d=pairs())
    table = found.table.with_row_index("row").filter(pl.col("length") == 2)
    together, *each = (found.values[r["row"]] for r in table.to_dicts())
    np.testing.assert_allclose(together, np.mean(each, axis=0), atol=1e-6)
    effects = np.stack(each) - found.folder.read_tensors("who")["base"][table["row"][0]]
    row = table.row(0, named=True)
    assert row["number"] is None
    for column, share in (("q25", 0.25), ("median", 0.5), ("q75", 0.75)):
        assert row[column] == pytest.approx(np.quantile(effects, share), abs=1e-6)


def test_where_a_curve_reaches_a_threshold_and_how_it_compares(tmp_path: Path) -> None:
    lengths = (0.0, 1.0, 2.0, 3.0, 4.0)
    found = run(
        plan(
            WAYS["covariance"],
            WAYS["random"],
            lengths=lengths,
            metrics=(KL,),
            curves=Reach((1e-2, 1e9), (("covariance", "covariance"), ("random", "covariance"))),
        ),
        Tiny(),
        tmp_path,
        d=pairs(12),
    )
    table = found.table.with_row_index("row")
    curve = table.filter(pl.col("number").is_null(), pl.col("direction") == "random")
    points = curve.filter(pl.col("length").is_not_null())
    values = torch.from_numpy(found.values[points["row"].to_numpy()]).double()
    at = reached(torch.tensor(lengths).double(), values.mean(1), 1e-2)
    row = curve.filter(pl.col("threshold") == 1e-2).row(0, named=True)
    assert 0 < row["reached"] < 4 and row["reached"] == pytest.approx(float(at), abs=1e-6)
    resampled = reached(torch.tensor(lengths).double(), resampling(12, 0) @ values.T, 1e-2)
    inside = ((resampled >= row["low"]) & (resampled <= row["high"])).double().mean()
    assert float(inside) == pytest.approx(0.95, abs=0.01)
    never = curve.filter(pl.col("threshold") == 1e9).row(0, named=True)
    assert never["reached"] is None and never["low"] is None
    base = table.filter(
        pl.col("number").is_null(), pl.col("direction") == "covariance", pl.col("length") == 3
    ).row(0, named=True)
    three = points.filter(pl.col("length") == 3).row(0, named=True)
    assert three["ratio"] == pytest.approx(three["effect"] / base["effect"])
    assert three["ratio_low"] < three["ratio"] < three["ratio_high"]
    assert base["ratio"] == pytest.approx(1) and base["ratio_low"] == pytest.approx(1)
    assert points.filter(pl.col("length") == 0)["ratio"].item() is None


def test_a_read_out_that_is_linear_has_fishers_curve(tmp_path: Path) -> None:
    """Behind the last block the tiny model is a softmax of a linear map: KL → t²/2 uᵀFu."""
    model, data, last = Tiny(), pairs(40), Site("resid_post", 1)
    lengths = (0.0, 0.05, 0.1)
    way = Drawn("covariance", "covariance", 1, 0, CLEAN)
    found = run(
        plan(way, units=(unit(last, END),), lengths=lengths, metrics=(KL, DISTANCE)),
        model,
        tmp_path,
        d=data,
    )
    hand = ByHand(model, data, last)
    forms = []
    for i, x in enumerate(hand.clean):
        u = directions.unit(hand.covariance(0, i, len(x) - 1).double())[0] @ model.unembed
        p = (x[-1] @ model.unembed).softmax(0)
        forms.append(float((p * u**2).sum() - (p * u).sum() ** 2))
    points = found.table.filter(pl.col("length") == 0.1)
    kl, distance = (
        points.filter(pl.col("metric") == m)["value"].item() for m in ("kl", "distance")
    )
    assert kl == pytest.approx(0.1**2 / 2 * np.mean(forms), rel=1e-2)
    assert distance == pytest.approx(0.1, abs=1e-6)


def test_no_direction_moves_nothing(tmp_path: Path) -> None:
    """Toward itself there is no direction: effects are 0 and no ratio to it is one."""
    itself = Toward("itself", FromRun(CLEAN))
    against = Reach((0.1,), (("itself", "itself"), ("random", "itself")))
    found = run(
        plan(itself, WAYS["random"], metrics=(KL,), curves=against),
        Tiny(),
        tmp_path,
        d=pairs(),
    )
    rows = found.table.filter(pl.col("direction") == "itself", pl.col("length").is_not_null())
    assert rows["effect"].abs().max() < 1e-7
    assert found.table["ratio"].is_null().all()


def test_length_nought_is_not_run(tmp_path: Path) -> None:
    model = Tiny()
    run(plan(WAYS["random"], lengths=(0.0,)), model, tmp_path / "a", d=pairs())
    rows = model.rows
    run(plan(WAYS["random"], lengths=(0.0, 1.0)), Tiny(), tmp_path / "b", d=pairs())
    other = Tiny()
    plain = plan(WAYS["random"], lengths=(0.0,))
    task = plain.tasks[-1]
    assert isinstance(task, Sweep)
    skipping = Plan((*plain.tasks[:-1], Sweep("s", "who", task.variants, task.intervention,
        task.metrics, CLEAN, task.packing, skips=True, curves=task.curves)))  # fmt: skip
    run(skipping, other, tmp_path / "c", d=pairs())
    assert other.rows == 5 < rows


def test_a_vector_that_is_nothing_leads_nowhere(tmp_path: Path) -> None:
    """The means of both sides where their prompts are the same, which rounding may tell apart."""
    first = Target(SITE, None, Positions("first"))
    terms = ((3.0, MeanVector(CLEAN, first)), (-3.0, MeanVector(CORRUPT, first)))
    way = AlongVector("nothing", LinearVector(terms))
    with pytest.raises(InterpError) as raised:
        run(plan(way), Tiny(), tmp_path, d=pairs())
    assert raised.value.diagnostics[0].code == "E633"


@pytest.mark.parametrize(
    ("way", "code"),
    [
        (Drawn("difference", "difference", 1, 0, CLEAN), "E660"),
        (Drawn("covariance", "covariance", 1, 0, CLEAN), "E660"),
        (Components("components", CLEAN, 2), "E661"),
    ],
)
def test_too_few_activations_are_refused(way: Way, code: str, tmp_path: Path) -> None:
    data = pairs(1, 5)
    for held in data.sides.values():
        object.__setattr__(held, "tokens", held.tokens[:, :2])
        object.__setattr__(held, "lengths", np.array([2]))
        object.__setattr__(held, "read", np.array([1]))
    with pytest.raises(InterpError) as raised:
        run(plan(way), Tiny(), tmp_path, d=data)
    assert raised.value.diagnostics[0].code == code
