"""What lies behind a receiver, ready to be run again and again: the core of a fast exact search.

ACDC visits receivers from the logits down, stage by stage: the final residual, the last layer's
MLP, its heads, and so on. When it tests an edge into a receiver r,

1. every sender before r is clean, for no edge there has been decided: the candidate's input is
   x_r + (ablated_s - clean_s), and nothing before r is run;
2. behind r only those heads and MLPs change that kept edges lead to from r, and of a head only the
   queries, keys or values that these edges enter. They read x + Σ_s kept_s (new_s - old_s), where
   s are the senders that change; all else is taken from the accepted state. Those that the same
   senders reach share one input;
3. a node is narrow, needed at the positions that the metric reads alone, when its kept edges lead
   to the final residual, to queries of narrow heads and to narrow MLPs only;
4. a node without a kept path to the logits is not run at all;
5. a narrow head behind r attends to what its keys and values are made of (absorbed.py): these are
   made of an accepted candidate alone."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from torch import Tensor

from interp_dsl.circuits.candidates import Candidates
from interp_dsl.circuits.clean import Clean
from interp_dsl.circuits.flow import Flow, Inputs
from interp_dsl.circuits.nodes import Heads, Mlp
from interp_dsl.circuits.places import live
from interp_dsl.models.graph import Bools, Graph, Ints
from interp_dsl.models.paths import join, reaching


class Suffix:
    """Stage `stage` and all later ones when only the edges `kept` [E] are there; edges into earlier
    stages are all kept. `score` is the metric then, until something is accepted."""

    def __init__(self, clean: Clean, kept: Bools, stage: int) -> None:
        graph = clean.forward.graph
        self.stage = stage
        self._clean = clean
        present, reach = graph.present(kept), reaching(graph, kept)
        narrow = reach & ~wide(graph, present, reach)
        if clean.prompts.reads is None:
            narrow[:] = False
        held = graph.by_place(kept) if graph.places else present
        self._nodes: list[Heads | Mlp] = []
        for layer in range(graph.shape.n_layers):
            heads = graph.heads(layer)
            for is_narrow in (False, True):
                mine = np.flatnonzero(reach[heads] & (narrow[heads] == is_narrow))
                if len(mine) and 2 * layer >= stage:
                    self._nodes.append(Heads(clean, layer, mine, held, is_narrow))
            mlp = graph.mlp(layer)
            if not graph.shape.attn_only and reach[mlp] and 2 * layer + 1 >= stage:
                self._nodes.append(Mlp(clean, layer, held, bool(narrow[mlp])))
        self._final = Inputs(clean, [(graph.groups[-1], 0)], held, True)
        inputs = [*(i for node in self._nodes for i in node.inputs), self._final]
        self._live = np.zeros((graph.n_receivers, 1), dtype=bool)
        self._live[[receiver for owner in inputs for receiver in owner.receivers]] = True
        if clean.places is not None:
            windows = [layer.kind.window for layer in clean.forward.layers]
            self._live = self._live & live(graph, kept, clean.places, clean.prompts, windows)
        self._flow = self._new_flow(None)
        self._advance()
        self.accept(0)
        self.is_new = True
        """Has nothing been accepted yet?"""

    @cached_property
    def score(self) -> float:
        """Of a state that is new."""
        assert self.is_new
        return self._measured(self._final.x)[0]

    def live(self, edges: Ints) -> Bools:
        """Do edges [n] into this stage and later ones have a kept path to the logits?"""
        graph = self._clean.forward.graph
        found: Bools = self._live[graph.receiver_of[edges], graph.place_of[edges]]
        return found

    def test(self, candidates: Candidates) -> list[float]:
        """The score of each of K candidates, which take edges into live receivers of this stage out
        of the accepted state, as they were asked for."""
        self._flow = self._new_flow(candidates)
        scores = self._measured(self._advance())
        return [scores[number] for number in candidates.numbers]

    def accept(self, asked: int) -> None:
        """Make one of the candidates tested last the accepted state."""
        given = self._flow.given
        self._flow.accept(given.numbers[asked] if given else 0)
        self.is_new = False

    def _new_flow(self, given: Candidates | None) -> Flow:
        n_senders = sum(len(node.senders) for node in self._nodes)
        return Flow(self._clean, n_senders, given)

    def _advance(self) -> Tensor:
        """Run the flow: what the final residual becomes, [K, B, t, D]."""
        for node in self._nodes:
            node.advance(self._flow)
        x = self._final.only(self._flow)
        assert x is not None
        return x

    def _measured(self, x: Tensor) -> list[float]:
        return self._clean.means(self._clean.forward.unembedded(x))


def wide(graph: Graph, present: Bools, reach: Bools) -> Bools:
    """Which senders [S] are needed at all positions, given the edges present and the senders that
    reach the logits: those that a key or a value reads, or what is itself needed everywhere."""
    found = np.zeros(len(graph.senders), dtype=bool)
    for group in reversed(graph.groups[:-1]):
        nodes = graph.nodes(group)
        join(graph, group, found)
        readers = reach[nodes]
        if group.channel in ("q", "mlp"):
            readers = readers & found[nodes]
        found[: group.senders] |= (group.matrix(present) & readers[:, None]).any(0)
    return found
