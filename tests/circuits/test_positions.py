"""Edges by position, against whole passes in which each is taken out at each token of its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.circuits.acdc import discover
from interp_dsl.circuits.attribution import edges as attribution
from interp_dsl.circuits.attribution.examples import Examples
from interp_dsl.circuits.circuit import Circuit
from interp_dsl.circuits.clean import Clean
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.circuits.found import finished
from interp_dsl.circuits.greedy import greedy
from interp_dsl.circuits.pruning import prune_edges
from interp_dsl.circuits.ranked import top_edges
from interp_dsl.circuits.rules import Rules
from interp_dsl.circuits.setting import Setting
from interp_dsl.circuits.suffix import Suffix
from interp_dsl.models.graph import Bools, Edge, Graph
from interp_dsl.models.paths import on_path
from tests.circuits.exact import BATCH, LAST, LENGTH, SOME, divergence
from tests.circuits.models import double
from tests.circuits.plain import Plain
from tests.circuits.sequential import published_order

PLACES = ("first", "S", "END", "all - together(first, S, END)")
S, END = [1, 2, 3, 4], [5, 4, 5, 3]
"""Each prompt has its own tokens at S and END; the last place is all the others."""


def marked(length: int = LENGTH) -> Tensor:
    """Where the places are [P, B, T]; S is two tokens in the first prompt."""
    at = torch.zeros(len(PLACES), BATCH, length, dtype=torch.bool)
    rows = torch.arange(BATCH)
    at[0, :, 0] = True
    at[1, rows, S] = at[2, rows, END] = True
    at[1, 0, 2] = True
    at[3] = ~at.any(0)
    assert (at.sum(0) == 1).all() and at.any(-1).all()
    return at


def each() -> Tensor:
    """A place a token."""
    return torch.eye(LENGTH, dtype=torch.bool)[:, None].expand(-1, BATCH, -1)


def setting(
    name: str, at: Tensor, reads: Tensor | None = LAST, mask: Tensor | None = None, **options: bool
) -> Setting:
    model = double(name)
    names = PLACES if len(at) == len(PLACES) else tuple(map(str, range(len(at))))
    forward = EdgeForward(model, Graph(model.description.shape, **options, places=names))
    generator = torch.Generator().manual_seed(3)
    size = (2, BATCH, LENGTH)
    tokens, corrupt = torch.randint(0, forward.graph.shape.d_vocab, size, generator=generator)
    with torch.no_grad():
        ablated = forward.outputs(corrupt, mask)
        logits = forward.run(forward.embedded(tokens), reads=reads, mask=mask).logits
    return Setting(forward, tokens, ablated, divergence(logits), reads, mask, places=at)


def by_token(place: Setting, out: Sequence[Edge]) -> Tensor:
    """What is kept [B, E, T] where edges are out at the tokens of their places."""
    base = replace(place.graph, places=())
    kept = torch.ones(BATCH, base.n_edges, LENGTH)
    assert place.places is not None
    for edge in out:
        number = base.index[edge._replace(position="all")]
        at = place.graph.places.index(edge.position)
        for prompt in range(BATCH):
            for token in range(LENGTH):
                if place.places[at, prompt, token]:
                    kept[prompt, number, token] = 0
    return kept


def measured(place: Setting, out: Sequence[Edge]) -> float:
    with torch.no_grad():
        logits = place.forward.logits(
            place.tokens, by_token(place, out), place.ablated, place.reads, place.mask
        )
        return float(place.metric(logits[None])[0].mean())


def in_turn(graph: Graph) -> list[Edge]:
    """As published, the places of each from the last to the first."""
    base = published_order(replace(graph, places=()))
    return [edge._replace(position=at) for edge in base for at in reversed(graph.places)]


def plain(place: Setting, threshold: float) -> dict[Edge, tuple[float, float, bool]]:
    """Effect, score and whether it is kept, an edge and place at a time; none is dropped
    untested."""
    out: list[Edge] = []
    score, found = measured(place, out), {}
    for edge in in_turn(place.graph):
        new = measured(place, [*out, edge])
        effect = new - score
        if effect < threshold:
            out.append(edge)
            score = new
        found[edge] = effect, score, effect >= threshold
    return found


def fast(place: Setting, threshold: float, rules: Rules, among: Bools | None = None) -> Circuit:
    return discover(run_of(place), threshold, rules, among)[0]


def run_of(place: Setting) -> Clean:
    about = (place.forward, place.tokens, place.ablated, place.metric)
    return Clean(*about, place.reads, place.mask, place.places)


def test_values_against_formulas() -> None:
    """The edge-patched forward of a circuit by position is that of the formulas, token by token."""
    place = setting("gpt2", marked(), reads=None)
    kept = np.random.default_rng(0).random((3, place.graph.n_edges)) < 0.6
    base = Plain(place.forward.model, replace(place.graph, places=()))
    found = place.values(kept)
    for circuit, values in zip(kept, found, strict=True):
        out = [e for e, is_kept in zip(place.graph.edges, circuit, strict=True) if not is_kept]
        logits = base.logits(place.tokens, by_token(place, out), place.ablated)
        assert np.abs(place.metric(logits[None])[0].numpy() - values).max() < 1e-10


@pytest.mark.parametrize("at", [marked(), each()], ids=["some", "each"])
@pytest.mark.parametrize("name", ["gpt2", "gemma2", "mistral", "bidirectional"])
def test_states(name: str, at: Tensor) -> None:
    """The state of a circuit, built anew, is that of whole passes."""
    place = setting(name, at, SOME)
    generator = np.random.default_rng(1)
    clean = run_of(place)
    for share in (0.2, 0.5, 0.8, 0.95):
        kept = generator.random(place.graph.n_edges) < share
        with torch.no_grad():
            assert Suffix(clean, kept, 0).score == pytest.approx(place.means(kept), abs=1e-10)


@pytest.mark.parametrize(("name", "batch"), [("plain", 1), ("gemma2", 8), ("gpt_neox", 4)])
def test_acdc(name: str, batch: int) -> None:
    place = setting(name, marked())
    check(place, fast(place, 0.01, Rules(batch=batch)), 0.01)


def test_acdc_at_every_token() -> None:
    place = setting("attn_only", each(), SOME)
    circuit = fast(place, 0.01, Rules())
    check(place, circuit, 0.01)
    logits = [e.position for e, k in zip(place.graph.edges, circuit.kept, strict=True) if k]
    assert logits


@pytest.mark.parametrize("name", ["bidirectional", "mistral"])
def test_acdc_of_masked_prompts(name: str) -> None:
    mask = torch.ones(BATCH, LENGTH, dtype=torch.bool)
    mask[1, 2] = mask[2, 0] = False
    place = setting(name, marked(), SOME, mask)
    check(place, fast(place, 0.02, Rules(batch=4)), 0.02)


def test_acdc_of_heads_that_read_once() -> None:
    place = setting("gpt2", marked(), split_qkv=False, split_embed=True)
    check(place, fast(place, 0.01, Rules(batch=4)), 0.01)


def check(place: Setting, circuit: Circuit, threshold: float) -> None:
    """Scores and decisions are those of whole passes; what was dropped untested has no effect."""
    judged = plain(place, threshold)
    kept = [one[2] for one in judged.values()]
    assert 0.01 < np.mean(kept) < 0.9
    for rank, (edge, (effect, score, is_kept)) in enumerate(judged.items()):
        number = place.graph.index[edge]
        assert circuit.order[number] == rank
        assert abs(effect - threshold) > 1e-9
        assert abs(circuit.effect[number] - effect) < 1e-9, edge
        assert abs(circuit.score[number] - score) < 1e-9
        assert circuit.kept[number] == is_kept
    assert not circuit.evaluated.all() and circuit.evaluated.mean() > 0.1
    assert not circuit.kept[~circuit.evaluated].any()


def test_some_places_are_all_of_them() -> None:
    """One place that is every token: the search without places."""
    everywhere = torch.ones(1, BATCH, LENGTH, dtype=torch.bool)
    place = setting("gpt2", everywhere)
    without = replace(
        place,
        forward=EdgeForward(place.forward.model, replace(place.graph, places=())),
        places=None,
    )
    one, other = fast(place, 0.01, Rules()), fast(without, 0.01, Rules())
    assert (one.kept == other.kept).all() and (one.evaluated == other.evaluated).all()
    assert np.abs(one.score - other.score).max() < 1e-9


def test_among() -> None:
    """Edges that are not searched stay in at their places."""
    place = setting("gpt2", marked())
    among = np.array([e.position == "END" and e.channel in "vq" for e in place.graph.edges])
    circuit = fast(place, 0.01, Rules(), among)
    assert circuit.kept[~among].all() and not circuit.kept[among].all()
    assert (circuit.order[~among] == -1).all() and circuit.kept[among].any()


METHODS: dict[str, Callable[[EdgeForward, Examples, Tensor], Tensor]] = {
    "eap": attribution.eap,
    "clean_corrupt": attribution.clean_corrupt,
    "eap_ig": lambda f, e, a: attribution.eap_ig(f, e, a, 3, "midpoint"),
    "eap_ig_activations": lambda f, e, a: attribution.eap_ig_activations(f, e, a, 3),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["gpt2", "gemma2"])
def test_estimates(name: str, method: str) -> None:
    """By place they add up to those of whole edges; and the slope is that of real passes in which
    an edge fades a little at the tokens of its place."""
    place = setting(name, marked(), SOME)
    base = EdgeForward(place.forward.model, replace(place.graph, places=()))
    wrong = lambda logits: logits[..., 0, 3] - logits[..., 1, 5]  # noqa: E731
    about = Examples(place.tokens, wrong, place.reads)
    whole = METHODS[method](base, about, place.ablated)
    found = METHODS[method](place.forward, replace(about, places=place.places), place.ablated)
    parts = found.view(BATCH, len(PLACES), -1)
    assert float((parts.sum(1) - whole).abs().max()) < 1e-10
    assert float((parts[:, 0] - whole).abs().max()) > 1e-3
    if method != "eap":
        return
    step = 1e-5
    clean = wrong(base.run(base.embedded(place.tokens), reads=SOME).logits)
    for number in np.random.default_rng(0).choice(place.graph.n_edges, 24, replace=False):
        kept = by_token(place, [place.graph.edges[number]]).double()
        faded = 1 - step * (1 - kept)
        with torch.no_grad():
            logits = base.logits(place.tokens, faded, place.ablated, SOME)
        slope = (wrong(logits) - clean) / step
        assert float((slope - found[:, number]).abs().max()) < 1e-3 * float(found.abs().max())


@pytest.mark.parametrize("absolute", [True, False])
def test_top_edges_and_elimination(absolute: bool) -> None:
    """The best edges by their scores at places; and elimination takes out at each turn what whole
    passes say is missed least."""
    place = setting("attn_only", marked())
    scores = np.random.default_rng(0).normal(size=place.graph.n_edges)
    kept = top_edges(place.graph, scores, 40, absolute=absolute)
    assert kept.sum() <= 40 and (on_path(place.graph, kept) == kept).all()
    strength = np.abs(scores) if absolute else scores
    ends = np.array([e.target == "logits" and e.source == "embed" for e in place.graph.edges])
    assert kept[ends & (strength > np.sort(strength)[-40])].all()
    among = np.zeros(place.graph.n_edges, dtype=bool)
    among[np.random.default_rng(1).choice(place.graph.n_edges, 12, replace=False)] = True
    found = finished(greedy(place, n=6, among=among))
    out: list[Edge] = []
    searched = [e for e, is_one in zip(place.graph.edges, among, strict=True) if is_one]
    while len(out) < 6:
        left = [e for e in searched if e not in out]
        out.append(min(left, key=lambda e: measured(place, [*out, e])))
    gone = {e for e, k in zip(place.graph.edges, found.kept, strict=True) if not k}
    assert gone == set(out)


def test_pruning_learns_by_position() -> None:
    """Masks learned for edges at one place leave those at others alone."""
    place = setting("attn_only", marked())
    among = np.array([e.position == "END" for e in place.graph.edges])
    found = finished(prune_edges(place, 10, steps=30, among=among))
    assert found.kept[~among].all() and found.kept[among].sum() <= 10
    assert found.value == pytest.approx(
        measured(place, [e for e, k in zip(place.graph.edges, found.kept, strict=True) if not k]),
        abs=1e-8,
    )
