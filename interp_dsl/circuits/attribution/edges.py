"""What removing an edge would do, from gradients.

Edge attribution patching (Syed et al. 2023, arXiv 2310.10348): to first order, the effect of edge
s -> r is

    Σ_positions (ablated_s - clean_s) · ∂M/∂x_r

with one pass forward and one back for all edges. The gradient may be taken at other points than the
clean run. A direct edge, which carries all that a receiver reads, has the sum of the others. An
edge by position has the sum over the positions of its place.

All functions: `ablated` [S, B, T, D], what senders are replaced by, whose later axes may have size
1; results [B, E], of each example, in the graph's order of edges."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from interp_dsl.circuits.attribution.examples import Examples, points
from interp_dsl.circuits.attribution.recorded import Recorded, gradients, record
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.circuits.prompts import Prompts
from interp_dsl.models.graph import Group
from interp_dsl.models.precision import in_own_precision


def eap(forward: EdgeForward, examples: Examples, ablated: Tensor) -> Tensor:
    """Edge attribution patching: the gradient of the clean run."""
    return _along_inputs(forward, examples, ablated, [(0.0, 1.0)])


def clean_corrupt(forward: EdgeForward, examples: Examples, ablated: Tensor) -> Tensor:
    """The mean of the gradients at both ends of EAP-IG's path."""
    return _along_inputs(forward, examples, ablated, [(0.0, 0.5), (1.0, 0.5)])


def eap_ig(
    forward: EdgeForward, examples: Examples, ablated: Tensor, steps: int = 5, rule: str = "right"
) -> Tensor:
    """EAP-IG (Hanna et al. 2024, arXiv 2403.17806): the mean gradient while what the embeddings
    write goes straight from clean to ablated and all else responds. `rule`: see examples.py."""
    return _along_inputs(forward, examples, ablated, points(steps, rule))


@in_own_precision
def eap_ig_activations(
    forward: EdgeForward, examples: Examples, ablated: Tensor, steps: int = 5, rule: str = "right"
) -> Tensor:
    """Integrated gradients along the activations themselves (EAP-IG-activations of Mueller et al.
    2025, arXiv 2504.13151): for edges from a layer's heads, what these heads write goes straight
    from clean to ablated, all of them at once, and what comes later responds; likewise for each MLP
    and for the embeddings. With many steps the edges from one such place add up to the exact effect
    of replacing what it writes. `steps` passes a place."""
    scores = _Scores(forward, examples, ablated)
    for senders, start in _places(forward):
        clean, path = scores.streams[start], scores.difference(senders).sum(1)
        for part, weight in points(steps, rule):
            scores.add(clean + part * path, weight, start, senders)
    return scores.total()


@in_own_precision
def _along_inputs(
    forward: EdgeForward, examples: Examples, ablated: Tensor, at: Sequence[tuple[float, float]]
) -> Tensor:
    scores = _Scores(forward, examples, ablated, at[0][1] if at[0][0] == 0 else None)
    embeds = slice(0, len(forward.graph.embeds))
    clean, path = scores.streams[0], scores.difference(embeds).sum(1)
    for part, weight in at:
        if part > 0:
            scores.add(clean + part * path, weight)
    return scores.total()


class _Scores:
    """Scores [B, E] as they add up, and the clean run that they start from: its `streams`, and the
    gradient taken there, where that has a `weight`."""

    def __init__(
        self,
        forward: EdgeForward,
        examples: Examples,
        ablated: Tensor,
        weight: float | None = None,
    ) -> None:
        self.forward, self.metric, self.places = forward, examples.metric, examples.places
        batch, length = examples.tokens.shape
        self.prompts = Prompts(forward.model, length, examples.mask, examples.reads)
        with torch.no_grad():
            embedded = forward.embedded(examples.tokens)
        with torch.set_grad_enabled(weight is not None):
            clean = self._run(embedded.sum(0), watch=True)
        self.streams = {stage: x.detach() for stage, x in clean.streams.items()}
        self._difference = _differences(ablated, [embedded, *clean.outputs])
        dtype = torch.promote_types(embedded.dtype, torch.float32)
        size = (batch, forward.graph.n_edges)
        self._scores = torch.zeros(size, dtype=dtype, device=embedded.device)
        if weight is not None:
            self._add(clean, weight, slice(None))

    def difference(self, senders: slice) -> Tensor:
        """ablated - clean, [B, s, T, D]."""
        return self._difference[:, senders]

    def add(self, x: Tensor, weight: float, start: int = 0, senders: slice = slice(None)) -> None:
        """Take the gradient of the run whose stream before stage `start` is x [B, T, D], for edges
        from `senders`."""
        with torch.enable_grad():
            run = self._run(x, start)
        self._add(run, weight, senders)

    def total(self) -> Tensor:
        graph = self.forward.graph
        for group in graph.groups:
            direct = graph.direct_edges(group)
            if direct is not None:
                self._scores[:, direct] = self._matrix(group)[:, 0].sum(-1)
        return self._scores

    def _run(self, x: Tensor, start: int = 0, watch: bool = False) -> Recorded:
        x = x.requires_grad_(torch.is_grad_enabled())
        return record(self.forward, x, self.prompts, start, watch)

    def _add(self, run: Recorded, weight: float, senders: slice) -> None:
        with torch.enable_grad():
            value = self.metric(run.logits).sum()
        for groups, gradient in gradients(self.forward, run, value):
            seen = max(group.senders for group in groups)
            products = self._products(self._difference[:, :seen][:, senders], gradient)
            parts = torch.split(products, [group.members for group in groups], 2)
            for group, part in zip(groups, parts, strict=True):
                scores = self._matrix(group)[..., senders]
                scores += weight * part[..., : scores.shape[3]]

    def _products(self, difference: Tensor, gradient: Tensor) -> Tensor:
        """Products [B, places, m, s] of differences [B, s, T, D] and gradients [m, B, T, D], summed
        over the positions of each place; over all where there are none."""
        if self.places is None:
            one = torch.bmm(difference.flatten(2), gradient.flatten(2).permute(1, 2, 0))
            return one.transpose(1, 2)[:, None]
        by_token = torch.einsum("bstd,mbtd->btms", difference, gradient)
        return torch.einsum("pbt,btms->bpms", self.places.to(by_token.dtype), by_token)

    def _matrix(self, group: Group) -> Tensor:
        """Scores [B, places, members, senders] of a group, a view."""
        graph, batch = self.forward.graph, len(self._scores)
        places = self._scores[:, : graph.n_edges - len(graph.direct_receivers)]
        by_place = places.view(batch, -1, graph.n_additive)[..., group.edges]
        return by_place.view(batch, -1, group.members, group.senders)


def _differences(ablated: Tensor, written: Sequence[Tensor]) -> Tensor:
    """ablated - clean of all senders, [B, S, T, D], from what they write in the clean run,
    [s, B, T, D] at a time."""
    n_senders, (batch, length, width) = len(ablated), written[0].shape[1:]
    found = written[0].new_empty(batch, n_senders, length, width)
    start = 0
    for outputs in written:
        rows = slice(start, start + len(outputs))
        torch.sub(ablated[rows].transpose(0, 1), outputs.transpose(0, 1), out=found[:, rows])
        start = rows.stop
    return found


def _places(forward: EdgeForward) -> list[tuple[slice, int]]:
    """Senders that write at once, and the first stage that reads them."""
    graph = forward.graph
    found = [(slice(0, len(graph.embeds)), 0)]
    for layer in range(graph.shape.n_layers):
        heads, behind = graph.heads(layer), 2 * layer + 2
        is_last = graph.shape.parallel or graph.shape.attn_only
        found.append((heads, behind if is_last else behind - 1))
        if not graph.shape.attn_only:
            found.append((slice(heads.stop, heads.stop + 1), behind))
    return found
