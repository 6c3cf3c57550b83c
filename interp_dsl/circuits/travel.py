"""An effect that travels along some edges only: path patching (Wang et al. 2022, arXiv 2211.00593;
Goldowsky-Dill et al. 2023, arXiv 2304.05969).

It starts at some senders, which write what they do elsewhere. A node that such edges enter is
computed anew from

    x_r + Σ_s along_rs (new_s − run_s),

where x_r is what it reads in the run, and whatever else it reads is as in the run. What it writes
then, `new`, is known to the edges that lead on from it and to no other node."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from interp_dsl.circuits.forward import EdgeForward, Run, spanned
from interp_dsl.circuits.layer import Layer
from interp_dsl.circuits.prompts import Prompts
from interp_dsl.models.edits import Edit
from interp_dsl.models.graph import Group


class Traveller:
    """Rows of which each has its own edges: `along` [R, E] (1 where it travels) and `origins`
    [R, S], senders that write `ablated` [S, R, T, D] (later axes may have size 1). Row i is of the
    example rows[i] of the plain run `run`. `holds_patterns`: queries and keys read what they do in
    the run. `basis` [D, m], orthonormal: of what origins write only the component in its span is
    changed. `edits` as of Prompts hold in all rows, as they do in the run."""

    def __init__(
        self,
        forward: EdgeForward,
        run: Run,
        rows: Tensor,
        along: Tensor,
        origins: Tensor,
        ablated: Tensor,
        mask: Tensor | None,
        holds_patterns: bool,
        basis: Tensor | None = None,
        edits: Sequence[Edit] = (),
    ) -> None:
        assert run.outputs is not None
        self._forward, self._run, self._rows = forward, run, rows
        self._along, self._origins = along, origins
        self._holds_patterns = holds_patterns
        self._outputs = run.outputs[:, rows]
        self._prompts = Prompts(forward.model, self._outputs.shape[2], mask, edits=edits)
        starts = origins.T[:, :, None, None]
        self._moved = torch.where(starts, spanned(ablated - self._outputs, basis), 0)

    def written(self) -> Tensor:
        """What senders write, [S, R, T, D]."""
        groups = iter(self._forward.graph.groups)
        n_inputs = 3 if self._forward.graph.split_qkv else 1
        for number, layer in enumerate(self._forward.layers):
            self._attention(number, layer, [next(groups) for _ in range(n_inputs)])
            if layer.block.ln2 is not None:
                self._mlp(number, layer, next(groups))
        return self._outputs + self._moved

    def _attention(self, number: int, layer: Layer, groups: list[Group]) -> None:
        entered = torch.stack([self._edges(group).any(-1) for group in groups]).any(0)
        if not bool(entered.any()):
            return
        x = self._run.streams[number][self._rows]
        plain = layer.normed(x[None])
        normed = [layer.normed(self._received(x, group)) for group in groups] * (3 // len(groups))
        if self._holds_patterns:
            normed[:2] = [plain] * 2
        raw = layer.heads(normed, self._prompts)
        if layer.block.ln1_post is not None:
            old = layer.heads([plain] * 3, self._prompts)
            raw = raw * layer.scale_of(old.sum(0) + (raw - old))
        self._move(self._forward.graph.heads(number), entered, raw)

    def _mlp(self, number: int, layer: Layer, group: Group) -> None:
        entered = self._edges(group).any(-1)
        if bool(entered.any()):
            x = self._run.middles[number][self._rows]
            out = self._prompts.edited("mlp_out", number, layer.mlp(self._received(x, group)))
            self._move(self._forward.graph.nodes(group), entered, out)

    def _edges(self, group: Group) -> Tensor:
        """The edges into a group, [R, members, s]."""
        return self._along[:, group.edges].view(-1, group.members, group.senders)

    def _received(self, x: Tensor, group: Group) -> Tensor:
        """What its receivers read, [members, R, T, D], where the run's stream is x [R, T, D]."""
        edges = self._edges(group).to(x.dtype)
        return x + torch.einsum("bms,sbtd->mbtd", edges, self._moved[: group.senders])

    def _move(self, nodes: slice, entered: Tensor, new: Tensor) -> None:
        """Nodes that edges have entered [R, m], and that are no origins, write `new` [m, R, T, D];
        each alone, whatever the others of its layer write."""
        moves = (entered & ~self._origins[:, nodes]).T[:, :, None, None]
        self._moved[nodes] = torch.where(moves, new - self._outputs[nodes], self._moved[nodes])
