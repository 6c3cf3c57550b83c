"""Which units an arrow makes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from interp_dsl.check import check_source
from interp_dsl.language.source import Source
from interp_dsl.models.graph import Edge, Graph, leads
from interp_dsl.models.shape import Shape
from interp_dsl.plan.algebra import Explicit
from tests.models.checkpoints import tiny

BUNDLED = 'bundled("induction-2l")'


def units(text: str, model: str = BUNDLED, allow: tuple[Path, ...] = ()) -> list[str]:
    """The units of `patch TEXT`."""
    program = (
        f"model m = {model}\n"
        "dataset d = repeated_tokens(pairs=2, half=4)\n"
        f"step who = patch {text} from d.corrupt into d.clean measure kl()\n"
    )
    checked = check_source(Source(program), allow=list(allow))
    assert checked.experiment is not None, checked.diagnostics
    found = checked.experiment.session.steps["who"].units
    assert isinstance(found, Explicit)
    return [unit.place for unit in found.units]


def grid(senders: str, receivers: str) -> list[str]:
    return [f"{a} -> {b}" for a in senders.split() for b in receivers.split()]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("L0H1 -> L1H2.k", grid("L0H1", "L1H2.k")),
        ("{L1H0, L0H3} -> logits", grid("L1H0 L0H3", "logits")),
        ("{embed, L0H2} -> {L1H0.q, m.L1H1.v}", grid("embed L0H2", "L1H0.q L1H1.v")),
        ("(heads layers 0) -> L1H2", grid("L0H0 L0H1 L0H2 L0H3", "L1H2")),
        ("heads -> {L1H0.k}", grid("L0H0 L0H1 L0H2 L0H3", "L1H0.k")),
        ("L0H0 -> (values layers 1)", grid("L0H0", "L1H0.v L1H1.v L1H2.v L1H3.v")),
        ("L0H0 -> {L1H1.q_input, heads}", grid("L0H0", "L1H1.q L1H0 L1H1 L1H2 L1H3")),
        ("{L0H0, L0H1} -> together({L1H0.k, logits})",
         ["together(L0H0 -> L1H0.k, L0H0 -> logits)", "together(L0H1 -> L1H0.k, L0H1 -> logits)"]),
        ("together({L0H0, L1H1}) -> {L1H0.k, logits}",
         ["L0H0 -> L1H0.k", "together(L0H0 -> logits, L1H1 -> logits)"]),
        ("{together(L0H0, L0H1), L0H2} -> L1H0.k",
         ["together(L0H0 -> L1H0.k, L0H1 -> L1H0.k)", "L0H2 -> L1H0.k"]),
        ("pairs({L0H0, L0H1, embed}) -> logits",
         ["together(L0H0 -> logits, L0H1 -> logits)", "together(L0H0 -> logits, embed -> logits)",
          "together(L0H1 -> logits, embed -> logits)"]),
        ("L0H1 -> L1H2.k -> logits", ["L0H1 -> L1H2.k -> logits"]),
        ("{embed, L0H1} -> {L0H2.v, L1H2} -> logits",
         ["embed -> L0H2.v -> logits", "embed -> L1H2 -> logits", "L0H1 -> L1H2 -> logits"]),
        ("embed -> (heads layers 0) -> (keys layers 1) -> m.logits",
         [f"embed -> L0H{a} -> L1H{b}.k -> logits" for a in range(4) for b in range(4)]),
        ("L0H1 -> together({L1H0.k, L1H2}) -> logits",
         ["together(L0H1 -> L1H0.k -> logits, L0H1 -> L1H2 -> logits)"]),
        ("{together({embed, L0H1}), L0H2} -> L1H0.k -> logits",
         ["together(embed -> L1H0.k -> logits, L0H1 -> L1H0.k -> logits)",
          "L0H2 -> L1H0.k -> logits"]),
        ("together({L0H0 -> L1H0.k -> logits, L0H0 -> logits})",
         ["together(L0H0 -> L1H0.k -> logits, L0H0 -> logits)"]),
        ("edges(split_qkv=false) & (L0H0 -> {L1H0, L1H0.k})", ["L0H0 -> L1H0"]),
    ],
)  # fmt: skip
def test_units(text: str, wanted: list[str]) -> None:
    assert units(text) == wanted


def test_every_edge_of_the_graph() -> None:
    checked = units("edges")
    assert len(checked) == len(set(checked)) == 81
    assert set(units("{embed, heads} -> {queries, keys, values, logits}")) == set(checked)


def test_grouped_queries_read_apart() -> None:
    """Two query heads share a key head: an edge leads to each."""
    folder = tiny("llama")
    model = f'checkpoint("{folder}")'
    assert units("L0H0 -> L1H3.k", model, (folder,)) == ["L0H0 -> L1H3.k"]
    wanted = grid("L0H0", "L1H0.k L1H1.k L1H2.k L1H3.k")
    assert units("L0H0 -> (keys layers 1)", model, (folder,)) == wanted


SHAPE = Shape(
    n_layers=2, n_heads=2, n_kv_heads=2, d_model=8, d_head=4, d_mlp=12, d_vocab=11,
    d_vocab_out=11, n_ctx=16,
)  # fmt: skip


@pytest.mark.parametrize("parallel", [False, True])
def test_an_edge_leads_as_in_the_graph(parallel: bool) -> None:
    shape = replace(SHAPE, parallel=parallel)
    graph = Graph(shape)
    for sender in graph.senders:
        for target, channel in graph.receivers:
            assert leads(sender, target, shape) == (Edge(sender, target, channel) in graph.index)
