"""The fast search equals the plain sequential one: every score, every decision."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.circuits.acdc import acdc
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.circuits.rules import PRESETS, Rules
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.compiled.forward import Compiled
from interp_dsl.models.graph import Edge, Graph
from interp_dsl.models.load import load
from tests.circuits.exact import (
    BATCH,
    LAST,
    LENGTH,
    SOME,
    prepared,
    same,
    setting,
    spread,
)
from tests.circuits.models import double
from tests.circuits.sequential import published_order

NAMES = (
    "attn_only",
    "plain",
    "gpt2",
    "gpt_neox",
    "rotary",
    "mistral",
    "qwen3",
    "gemma2",
    "gemma3_text",
    "capped",
    "bidirectional",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ablation", ["resample", "zero", "mean"])
def test_families(name: str, ablation: str) -> None:
    case = setting(name, ablation)
    order = published_order(case.forward.graph)
    threshold = 0.003 if name == "gemma3_text" else 0.05
    judged = case.plain(threshold, order)
    spread(judged)
    for batch in (1, 5):
        (circuit,) = case.fast(threshold, Rules(batch=batch))
        same(case, circuit, judged, order)


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "rotary", "gemma2", "attn_only"])
@pytest.mark.parametrize(
    "options",
    [{"split_qkv": False}, {"split_embed": True}, {"direct": True}],
    ids=lambda options: next(iter(options)),
)
def test_graphs(name: str, options: dict[str, bool]) -> None:
    case = setting(name, **options)
    order = published_order(case.forward.graph)
    judged = case.plain(0.02, order)
    spread(judged)
    (circuit,) = case.fast(0.02, Rules(direct=options.get("direct", False), batch=4))
    same(case, circuit, judged, order)


@pytest.mark.parametrize("name", ["plain", "mistral", "gemma2", "capped"])
@pytest.mark.parametrize("reads", [None, SOME], ids=["all", "some"])
def test_reads_and_masks(name: str, reads: Tensor | None) -> None:
    case = setting(name, reads=reads)
    case.mask = torch.ones(BATCH, LENGTH, dtype=torch.bool)
    case.mask[1, 2] = case.mask[2, 0] = False
    order = published_order(case.forward.graph)
    judged = case.plain(0.05, order)
    spread(judged)
    (circuit,) = case.fast(0.05, Rules())
    same(case, circuit, judged, order)


@pytest.mark.parametrize(
    "rules",
    [{"drop_dead": False}, {"absolute": True}, {"start": "zero"}],
    ids=lambda rules: next(iter(rules)),
)
def test_rules(rules: dict[str, Any]) -> None:
    """By another metric: the logit of a token, which removals raise and lower."""
    case = setting("gpt2")
    case.metric = lambda logits: -logits[..., 0, 3]
    order = published_order(case.forward.graph)
    judged = case.plain(0.1, order, **rules)
    spread(judged)
    (circuit,) = case.fast(0.1, Rules(**rules))
    if not rules.get("drop_dead", True):
        dead = ~circuit.evaluated
        edges = np.array(case.forward.graph.edges, dtype=object)[dead]
        effects = [judged[Edge(*edge)].effect for edge in edges]
        assert effects and max(np.abs(effects)) < 1e-12
        circuit.evaluated[:] = True
    same(case, circuit, judged, order, absolute=rules.get("absolute", False))


def test_dead_edges_at_zero() -> None:
    """Their effect is 0, which is not below a threshold of 0."""
    case = setting("gpt2")
    case.metric = lambda logits: -logits[..., 0, 3]
    (judged,) = case.fast(0.0, Rules(drop_dead=False))
    (dropped,) = case.fast(0.0, Rules())
    dead = ~judged.evaluated
    assert dead.any() and (dead == ~dropped.evaluated).all()
    assert judged.kept[dead].all() and not dropped.kept[dead].any()
    assert (judged.kept[~dead] == dropped.kept[~dead]).all()


def stage(edge: Edge) -> float:
    """The final residual comes after all layers, a layer's MLP after its heads."""
    if edge.target == "logits":
        return float("inf")
    layer = edge.target[1:].split("H")[0].removesuffix(".mlp")
    return int(layer) + (0.5 if edge.channel == "mlp" else 0.0)


def shuffled(graph: Graph, seed: int) -> list[Edge]:
    """Edges in any order inside a stage."""
    noise = np.random.default_rng(seed).permutation(graph.n_edges)
    return sorted(graph.edges, key=lambda edge: (-stage(edge), noise[graph.index[edge]]))


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox"])
@pytest.mark.parametrize("direct", [False, True])
def test_orders(name: str, direct: bool) -> None:
    case = setting(name, direct=direct)
    graph = case.forward.graph
    sets = []
    for seed in range(2):
        order = shuffled(graph, seed)
        judged = case.plain(0.05, order)
        numbers = [graph.index[edge] for edge in order]
        (circuit,) = case.fast(0.05, Rules(order=numbers, direct=direct))
        same(case, circuit, judged, order)
        sets.append(circuit.kept)
    assert (sets[0] != sets[1]).any()


def test_auto_circuit() -> None:
    """Numbers of edges ascend inside a stage; dead edges are judged; the score starts at zero."""
    case = setting("plain")
    graph = case.forward.graph
    order = sorted(graph.edges, key=lambda edge: (-stage(edge), graph.index[edge]))
    judged = case.plain(0.05, order, drop_dead=False, start="zero")
    spread(judged)
    (circuit,) = case.fast(0.05, PRESETS["auto-circuit"])
    circuit.evaluated[:] = True
    same(case, circuit, judged, order)


def test_original() -> None:
    case = setting("plain", direct=True)
    order = published_order(case.forward.graph)
    judged = case.plain(0.02, order)
    spread(judged)
    (circuit,) = case.fast(0.02, PRESETS["original"])
    same(case, circuit, judged, order)
    cut = [edge for edge in order if edge.source == edge.target and not judged[edge].kept]
    assert cut
    for edge in order:
        if any((edge.target, edge.channel) == (c.target, c.channel) for c in cut if c != edge):
            assert not judged[edge].kept and not judged[edge].evaluated


def test_thresholds_share_work() -> None:
    case = setting("gpt2")
    values = [0.05, 0.02, 0.2, 0.05, -1e9, 1e9]
    together = case.fast(values, Rules())
    for value, circuit in zip(values, together, strict=True):
        (alone,) = case.fast(value, Rules())
        assert (circuit.kept == alone.kept).all()
        assert (circuit.evaluated == alone.evaluated).all()
        for name in ("effect", "score", "margin"):
            assert np.abs(getattr(circuit, name) - getattr(alone, name)).max() < 1e-9
    assert together[3].tests == 0
    assert sum(circuit.tests for circuit in together[:3]) < 3 * together[0].tests


def test_everything_and_nothing() -> None:
    case = setting("gpt2")
    everything, nothing = case.fast([-1e9, 1e9], Rules())
    assert everything.kept.all() and everything.evaluated.all() and abs(everything.final) < 1e-12
    assert not nothing.kept.any()
    corrupt = case.metric(
        case.forward.logits(
            case.tokens, torch.zeros(case.forward.graph.n_edges), case.ablated, case.reads
        )
    )
    assert nothing.final == pytest.approx(float(corrupt.mean()), abs=1e-12)
    assert nothing.evaluated.sum() == nothing.evaluated[case.forward.graph.groups[-1].edges].sum()


def test_progress() -> None:
    case = setting("gpt2")
    search = acdc(case.clean(), [0.05, 0.1], Rules())
    seen = list(search)
    total = case.forward.graph.n_edges
    for threshold in (0.05, 0.1):
        mine = [progress for progress in seen if progress.threshold == threshold]
        assert [p.done for p in mine] == sorted({p.done for p in mine})
        assert len(mine) > 3
        assert mine[-1].done == mine[-1].total == total
        (circuit,) = case.fast(threshold, Rules())
        assert mine[-1].kept == circuit.kept.sum()
        assert mine[-1].score == pytest.approx(circuit.final, abs=1e-12)


@pytest.mark.parametrize("name", ["induction-2l", "ioi-3l"])
@pytest.mark.parametrize("ablation", ["resample", "mean"])
def test_bundled_models(name: str, ablation: str) -> None:
    """Trained models in single precision; batches of any size decide alike."""
    model = load({"kind": "bundled", "name": name}, "cpu", executor="compiled")
    assert isinstance(model, CompiledExecutor)
    forward = EdgeForward(model.model, Graph(model.facts.shape))
    case = prepared(forward, ablation, LAST)
    order = published_order(forward.graph)
    for threshold in (0.1, 0.01):
        judged = case.plain(threshold, order)
        spread(judged)
        circuits = [case.fast(threshold, Rules(batch=batch))[0] for batch in (1, 3, 16)]
        for circuit in circuits:
            same(case, circuit, judged, order, 1e-5)
            assert (circuit.kept == circuits[0].kept).all()


def test_close_calls() -> None:
    """Thresholds that are effects themselves: what rounding would decide is measured again, and
    batches of any size decide alike."""
    forward = setting("gpt2").forward
    single = Compiled(forward.model.description, single_precision(forward.model.weights))
    case = prepared(EdgeForward(single, forward.graph), "resample", LAST)
    order = published_order(forward.graph)
    judged = case.plain(0.05, order)
    near = [judged[edge].effect for edge in order if judged[edge].effect > 0][::8]
    assert len(near) > 5
    for threshold in near:
        circuits = [case.fast(threshold, Rules(batch=batch))[0] for batch in (1, 2, 7, 16)]
        for circuit in circuits:
            assert (circuit.kept == circuits[0].kept).all()
    first = judged[order[0]].effect
    for batch in (1, 7):
        (circuit,) = case.fast(first, Rules(batch=batch))
        assert circuit.again and abs(circuit.margin[forward.graph.index[order[0]]]) < 1e-6
        (circuit,) = case.fast(first, Rules(batch=batch, close=0.0))
        assert not circuit.again
    (other,) = case.fast(0.05, Rules())
    _, shared = case.fast([0.05, float(other.effect[forward.graph.index[order[0]]])], Rules())
    assert shared.again


def single_precision(part: Any) -> Any:
    """Weights with all their tensors in float32, rotary angles as they are."""
    if isinstance(part, Tensor):
        return part.float()
    if isinstance(part, tuple):
        return tuple(single_precision(one) for one in part)
    if not is_dataclass(part):
        return part
    names = [field.name for field in fields(part)]
    return replace(part, **{name: single_precision(getattr(part, name)) for name in names})


def test_refusals() -> None:
    case = setting("attn_only")
    with pytest.raises(ValueError, match="direct edges"):
        case.fast(0.1, PRESETS["original"])
    with pytest.raises(ValueError, match="an order is one of"):
        case.fast(0.1, Rules(order="sideways"))
    with pytest.raises(ValueError, match="each of the 81 edges once"):
        case.fast(0.1, Rules(order=[0, 1]))
    with pytest.raises(ValueError, match="from the logits down"):
        case.fast(0.1, Rules(order=range(81)))
    with pytest.raises(ValueError, match="measured or zero"):
        Rules(start="soon")


def test_bias_before_a_norm_is_refused() -> None:
    model = double("gemma2")
    bias = torch.ones(model.description.shape.d_model, dtype=torch.float64)
    blocks = tuple(replace(block, b_o=bias) for block in model.weights.blocks)
    biased = Compiled(model.description, replace(model.weights, blocks=blocks))
    with pytest.raises(ValueError, match="bias between attention and a norm"):
        prepared(EdgeForward(biased, Graph(model.description.shape)), "mean", LAST).clean()


@pytest.mark.parametrize("name", ["gpt2", "attn_only", "gemma2", "mistral"])
@pytest.mark.parametrize("absorbs", [False, True])
def test_large_inputs(name: str, absorbs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of inputs that are large only those are made that a candidate changes."""
    monkeypatch.setattr("interp_dsl.circuits.flow.CACHED", 1)
    monkeypatch.setattr("interp_dsl.circuits.absorbed.pays", lambda *sizes: absorbs)
    case = setting(name)
    graph = case.forward.graph
    for order in (published_order(graph), shuffled(graph, 0)):
        judged = case.plain(0.02, order)
        numbers = [graph.index[edge] for edge in order]
        (circuit,) = case.fast(0.02, Rules(order=numbers, batch=16))
        same(case, circuit, judged, order)
