"""The basis on networks whose answer is known, its defining properties, and what does not change
it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from interp_dsl.geometry import interaction_basis as ib
from interp_dsl.geometry.communities import components
from interp_dsl.geometry.interaction_basis import Basis, Stage
from interp_dsl.geometry.modules import logarithmic
from tests.geometry.planted import hidden_blocks, rotation, two_blocks

KINDS = ("interaction", "pca", "neuron")


def found(stages: list[Stage], layers: list[Tensor], **options: object) -> list[dict[str, Basis]]:
    return list(ib.bases(stages, layers, **options))[::-1]  # type: ignore[arg-type]


def all_edges(
    stages: list[Stage], layers: list[Tensor], held: list[dict[str, Basis]]
) -> dict[str, list[Tensor]]:
    by_stage = [
        ib.edges(stage, f, [(below[k], above[k]) for k in KINDS])
        for stage, f, below, above in zip(stages, layers, held, held[1:], strict=False)
    ]
    return {kind: [e[at] for e in by_stage] for at, kind in enumerate(KINDS)}


def chain(seed: int = 0, n: int = 500) -> tuple[list[Stage], list[Tensor]]:
    """Three tanh layers of width 6 at two positions that mix."""
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(12, 12, generator=generator, dtype=torch.float64) / 3 for _ in range(3)]
    x = torch.randn(n, 2, 6, generator=generator, dtype=torch.float64) + 0.5

    def stage(weight: Tensor) -> Stage:
        return lambda f, rows: (f.flatten(1) @ weight).tanh().view(-1, 2, 6)

    stages, layers = [stage(w) for w in weights], [x]
    for one in stages:
        layers.append(one(layers[-1], slice(0, n)))
    return stages, layers


def in_coordinates(
    stage: Stage, below: Basis, above: Basis, rows: slice
) -> Callable[[Tensor], Tensor]:
    return lambda h: above.coordinates(stage(below.activations(h), rows))


@pytest.mark.parametrize("mode", ["local", "global"])
def test_covariance_is_the_spectrum_and_the_jacobians_gram_the_identity(mode: str) -> None:
    stages, layers = chain()
    held = found(stages, layers, mode=mode)
    for at, stage in enumerate(stages):
        basis, target = held[at]["interaction"], held[at + 1]["interaction"]
        if mode == "global":
            stage, target = ib.composed(stages[at:]), held[-1]["pca"]
        h = basis.coordinates(layers[at]).flatten(0, 1)
        assert torch.allclose(h.mean(0), torch.zeros_like(h[0]), atol=1e-12)
        covariance = h.T @ h / len(h)
        assert torch.allclose(covariance, basis.values.diag(), atol=1e-9 * basis.values[0])
        gram = torch.zeros_like(covariance)
        for example in range(len(layers[at])):
            one = slice(example, example + 1)
            run = in_coordinates(stage, basis, target, one)
            j = torch.autograd.functional.jacobian(run, basis.coordinates(layers[at][one]))
            flat = j.reshape(-1, basis.to.shape[1])
            gram += flat.T @ flat
        gram /= layers[at][..., 0].numel()
        assert torch.allclose(gram, torch.eye(len(gram)).double(), atol=1e-7)


def test_local_and_global_agree_on_the_last_stage_alone() -> None:
    stages, layers = chain()
    local, everywhere = (found(stages, layers, mode=m) for m in ("local", "global"))
    assert torch.allclose(local[2]["interaction"].values, everywhere[2]["interaction"].values)
    assert not torch.allclose(local[1]["interaction"].values, everywhere[1]["interaction"].values)


def test_rotated_linear_blocks_are_recovered() -> None:
    """Off-block edges of the basis are zero beside the largest."""
    stages, layers = two_blocks(lambda x: x)
    edges = all_edges(stages, layers, found(stages, layers))["interaction"]
    for e in edges:
        assert e.shape == (8, 8)
        off = e - torch.diag(e.diagonal())
        assert off.abs().max() / e.max() < 1e-12


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_modules_hidden_by_rotations_fall_apart_in_the_basis_alone(seed: int) -> None:
    stages, layers = two_blocks(torch.relu, seed)
    edges = all_edges(stages, layers, found(stages, layers))
    parts = {}
    for kind in KINDS:
        graph = logarithmic(edges[kind], [1e-9 * float(e.max()) for e in edges[kind]])
        nodes = edges[kind][0].shape[1] + sum(len(e) for e in edges[kind])
        parts[kind] = len(set(components(nodes, graph)))
    assert parts == {"interaction": 2, "pca": 2, "neuron": 1}
    counts = {k: sum(int((e > 1e-9 * e.max()).sum()) for e in edges[k]) for k in KINDS}
    assert counts["interaction"] <= counts["pca"] <= 3 * 32 and counts["neuron"] == 3 * 64
    sizes = {k: ib.effective(edges[k][0]) for k in KINDS}
    assert sizes["interaction"] < sizes["neuron"] and sizes["pca"] < sizes["neuron"]


@pytest.mark.parametrize("seed", range(6))
def test_edges_are_those_between_directions_that_live_in_a_block(seed: int) -> None:
    """Two layers of ReLUs and a linear read-out. Within a block every live direction reads every
    other, but that the basis diagonalises what is linear: 72 edges, and 60 where a neuron of the
    last layer is dead; 96 and 85 of principal components."""
    stages, layers, turns = hidden_blocks([torch.relu, torch.relu, lambda x: x], seed, lift=0.0)
    neurons = [(f[:, 0] @ turn).std(0) > 1e-12 for f, turn in zip(layers, turns, strict=True)]
    assert all(bool(layer.all()) for layer in (*neurons[:2], neurons[3]))
    last = [int(part.sum()) for part in neurons[2].split(4)]
    edges = all_edges(stages, layers, found(stages, layers))

    def counted(least: float) -> dict[str, int]:
        return {k: sum(int((e > least * e.max()).sum()) for e in edges[k]) for k in KINDS}

    assert counted(1e-12) == {
        "interaction": sum(4 * n + n * n + n for n in last),
        "pca": sum(4 * 4 + 4 * n + n * n for n in last),
        "neuron": 3 * 64,
    }
    counts = counted(1e-9)
    assert 60 <= counts["interaction"] <= 72 and counts["neuron"] == 192
    if sum(last) < 8:
        assert 83 <= counts["pca"] <= 91


def test_what_varies_and_is_not_read_is_dropped() -> None:
    """12 dimensions of which 10 vary and 8 of these are read."""
    generator = torch.Generator().manual_seed(0)
    turn = rotation(12, generator)
    x = torch.randn(400, 1, 12, generator=generator, dtype=torch.float64)
    x[..., 10:] = 3.0
    read = torch.randn(8, 5, generator=generator, dtype=torch.float64)
    more = torch.randn(8, 8, generator=generator, dtype=torch.float64)

    def stage(f: Tensor, rows: slice) -> Tensor:
        g = (f @ turn)[..., :8]
        return torch.cat([(g @ more).tanh(), (g @ read).sigmoid()], -1)

    f = x @ turn.T
    lower = found([stage], [f, stage(f, slice(0, 400))])[0]
    assert len(lower["pca"].values) == 10 and len(lower["pca"].dropped) == 2
    assert len(lower["interaction"].values) == 8 and len(lower["interaction"].dropped) == 2
    planes = lower["interaction"].to / lower["interaction"].to.norm(dim=0)
    assert torch.linalg.matrix_rank(planes).item() == 8


def test_a_recoding_of_a_hidden_layer_changes_no_edge() -> None:
    generator = torch.Generator().manual_seed(5)
    stages, layers = chain()
    recoding = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    back = torch.linalg.inv(recoding)
    first, second, third = stages
    moved: list[Stage] = [
        lambda f, rows: first(f, rows) @ recoding,
        lambda f, rows: second(f @ back, rows),
        third,
    ]
    recoded = [layers[0], layers[1] @ recoding, *layers[2:]]
    plain = all_edges(stages, layers, found(stages, layers))
    other = all_edges(moved, recoded, found(moved, recoded))
    for one, two in zip(plain["interaction"], other["interaction"], strict=True):
        assert (one - two).abs().max() / one.max() < 1e-8
    assert (plain["pca"][0] - other["pca"][0]).abs().max() / plain["pca"][0].max() > 1e-2


def test_edges_as_concentrated_as_so_many() -> None:
    assert ib.effective(torch.tensor([[2.0, 0.0], [2.0, 0.0]])) == 2
    assert ib.effective(torch.tensor([[3.0, 0.0], [1.0, 0.0]])) == pytest.approx(1.6)
    assert ib.effective(torch.zeros(2, 3)) == ib.effective(torch.zeros(2, 0)) == 0


def test_edges_are_their_definition_on_one_example() -> None:
    stages, layers = chain()
    held = found(stages, layers)
    below, above = held[0]["interaction"], held[1]["interaction"]
    one = layers[0][:1]
    [edges] = ib.edges(stages[0], one, [(below, above)])
    expected, step = torch.zeros_like(edges), 1e-5
    h = below.coordinates(one)
    for j in range(h.shape[-1]):
        moved = []
        for sign in (1, -1):
            g = h.clone()
            g[..., j] *= 1 + sign * step
            moved.append(above.coordinates(stages[0](below.activations(g), slice(0, 1))))
        slope = (moved[0] - moved[1]) / (2 * step)
        expected[:, j] = slope[0].square().sum(0)
    assert torch.allclose(edges, expected, rtol=1e-5, atol=1e-9 * float(edges.max()))


@pytest.mark.parametrize("numbers", [1000, 100])
def test_blocks_of_examples_and_positions_change_nothing(
    numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A position of an example has 72 slopes."""
    stages, layers = chain(n=37)
    whole = found(stages, layers)
    edges = all_edges(stages, layers, whole)
    monkeypatch.setattr(ib, "NUMBERS", numbers)
    largest = max(j.numel() for _, j in ib.jacobians(stages[0], layers[0]))
    assert largest == {1000: 6 * 144, 100: 72}[numbers]
    parts = found(stages, layers)
    for one, two in zip(whole, parts, strict=True):
        assert torch.allclose(one["interaction"].values, two["interaction"].values, rtol=1e-12)
    again = all_edges(stages, layers, whole)
    for kind in KINDS:
        for one, two in zip(edges[kind], again[kind], strict=True):
            assert torch.allclose(one, two, rtol=1e-9, atol=1e-12 * float(one.max()))


def test_random_signs_estimate_what_all_positions_read() -> None:
    """Slopes of two positions multiply in M' and in the edges with the mean of their signs'
    product: about 1/sqrt(sources x examples). Where there is one position, nothing is estimated."""
    stages, layers = chain(n=20)
    held = found(stages, layers)
    pair = [(held[0]["interaction"], held[1]["interaction"])]
    exact = ib.what_is_read(stages[0], layers[0]), ib.edges(stages[0], layers[0], pair)[0]

    def apart(sources: int) -> list[float]:
        told = ib.sourced(stages[0], sources, 0)
        found = ib.what_is_read(told, layers[0]), ib.edges(told, layers[0], pair)[0]
        return [float((x - y).norm() / y.norm()) for x, y in zip(found, exact, strict=True)]

    few, many = apart(1), apart(200)
    assert min(few) > 0.03 > max(many), (few, many)

    def last(f: Tensor, rows: slice) -> Tensor:
        return stages[0](f, rows)[:, -1:]

    alone = ib.what_is_read(ib.sourced(last, 3, 0), layers[0])
    torch.testing.assert_close(alone, ib.what_is_read(last, layers[0]))


def test_tied_values_are_told() -> None:
    gram = torch.diag(torch.tensor([4.0, 1.0, 9.0, 1.0]).double())
    basis = ib.principal(torch.zeros(4).double(), gram)
    assert basis.values.tolist() == [9.0, 4.0, 1.0, 1.0]
    assert basis.tied.tolist() == [False, False, True, True]
    own = ib.neurons(torch.zeros(4).double(), gram)
    assert own.to.argmax(0).tolist() == [2, 0, 1, 3]


def integrated(power: int, steps: int) -> tuple[Tensor, Tensor]:
    """The edges into g = h_1^power + 3 h_2 and into h_1 h_2, and the coordinates h about 0."""
    random = torch.Generator().manual_seed(4)
    h = torch.randn(30, 1, 2, generator=random, dtype=torch.float64)
    eye = torch.eye(2, dtype=torch.float64)
    basis = Basis(torch.zeros(2).double(), eye, eye, torch.ones(2).double(), torch.zeros(0))

    def stage(x: Tensor, rows: slice) -> Tensor:
        a, b = x[..., 0], x[..., 1]
        return torch.stack([a**power + 3 * b, a * b], -1)

    [edges] = ib.edges(stage, h, [(basis, basis)], steps)
    return edges, h[:, 0]


@pytest.mark.parametrize("power", [1, 2, 3, 5])
def test_integrated_edges_share_out_the_whole_change(power: int) -> None:
    """The integral of a power's slope along the way is the power itself; a product is shared half
    and half."""
    edges, h = integrated(power, steps=3)
    a, b = h.T
    expected = [[a**power, 3 * b], [a * b / 2, a * b / 2]]
    wanted = torch.stack([torch.stack([x.square().mean() for x in row]) for row in expected])
    torch.testing.assert_close(edges, wanted)


def test_at_the_activations_a_power_counts_as_often_as_it_is_high() -> None:
    edges, h = integrated(3, steps=0)
    assert float(edges[0, 0]) == pytest.approx(9 * float((h[:, 0] ** 6).mean()))


def test_integrated_edges_are_riemann_sums_of_slopes() -> None:
    stages, layers = chain()
    below, above = (layer["interaction"] for layer in found(stages, layers)[:2])
    f, points = layers[0][:6], (torch.arange(400).double() + 0.5) / 400
    total = torch.zeros(above.to.shape[1], below.to.shape[1]).double()
    for i in range(len(f)):
        apart = f[i : i + 1] - below.mean
        along = torch.zeros(f.shape[1], above.to.shape[1], below.to.shape[1]).double()
        for a in points.tolist():
            [(_, slopes)] = [(r, j) for r, j in ib.jacobians(stages[0], below.mean + a * apart)]
            in_basis = torch.einsum("pukd,ua,bd->pakb", slopes[0], above.to, below.back)
            along += torch.einsum("pakb,kb->pab", in_basis, below.coordinates(f[i])) / len(points)
        total += along.square().sum(0)
    [edges] = ib.edges(stages[0], f, [(below, above)], steps=40)
    torch.testing.assert_close(edges, total / len(f), rtol=1e-2, atol=1e-3)
