"""The edge-patched forward pass.

Receiver r reads x_r = Σ_s [kept_rs now_s + (1 - kept_rs) ablated_s] + biases, which is the residual
stream with ablated_s - now_s added for each removed edge (Conmy et al. 2023, section 2). `now` is
what a sender writes in this very pass, downstream of whatever has been removed; `ablated` what it
writes in a corrupt run, its mean, or zero. Biases always stay: b_O, which no head owns, and b_U; an
MLP's bias is part of what it writes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from interp_dsl.circuits.layer import Layer
from interp_dsl.circuits.prompts import Prompts
from interp_dsl.circuits.rows import Rows
from interp_dsl.models.compiled.forward import Compiled
from interp_dsl.models.edits import Edit
from interp_dsl.models.graph import Graph, Group


class Run(NamedTuple):
    """`logits` [B, r, d_vocab_out]; `outputs` of all senders [S, B, T, D] of a plain or a watched
    run; `inputs` of each group's receivers [members, B, T, D] of a watched run; of a plain run
    `streams` [B, T, D] before each layer and behind the last, and `middles`, what MLPs read."""

    logits: Tensor
    outputs: Tensor | None
    inputs: tuple[Tensor, ...]
    streams: tuple[Tensor, ...] = ()
    middles: tuple[Tensor, ...] = ()


class Change(NamedTuple):
    """What a pass that is taken up late changes: it keeps all edges but into `groups`, of which it
    keeps `kept`; an edge that is out carries `ablated` (both as in `EdgeForward.logits`).

    `attended`: what queries and keys of each layer read [B, T, D] instead of the stream, so that
    patterns are those of the run in which it stood so. `basis` [D, m], orthonormal: of what
    `origins` [B, S] write, only the component in its span is changed."""

    kept: Tensor
    ablated: Tensor
    groups: Collection[Group]
    attended: Sequence[Tensor] | None = None
    basis: Tensor | None = None
    origins: Tensor | None = None


class EdgeForward:
    """`model`'s forward pass with edges of `graph` removed, for any model that `Compiled` covers.

    Gradients flow to `kept`, `ablated` and `embedded`; weights have none. `tf32`: how matrices of
    float32 are to be multiplied, for those that differentiate it (models/precision.py). `tokens`
    [u]: those alone whose logits it gives, wherever d_vocab_out stands; None for all."""

    def __init__(
        self, model: Compiled, graph: Graph, tf32: bool = False, tokens: Tensor | None = None
    ) -> None:
        self.model = model
        self.graph = graph
        self.tf32 = tf32
        self.tokens = tokens
        self.layers = tuple(Layer(model, number) for number in range(graph.shape.n_layers))

    def unembedded(self, x: Tensor) -> Tensor:
        """The stream after the last block [..., D] -> logits [..., d_vocab_out]."""
        return self.model.logits(x, self.tokens)

    def embedded(self, tokens: Tensor) -> Tensor:
        """What the embeddings write for tokens [B, T]: [1 or 2, B, T, D]."""
        weights = self.model.weights
        x = weights.embed[tokens]
        if weights.embed_scale is not None:
            x = x * weights.embed_scale
        if weights.positions is None:
            return x[None]
        table = weights.positions[: tokens.shape[1]].expand_as(x)
        return torch.stack([x, table]) if len(self.graph.embeds) == 2 else (x + table)[None]

    def outputs(
        self, tokens: Tensor, mask: Tensor | None = None, edits: Sequence[Edit] = ()
    ) -> Tensor:
        """What all senders write in a plain run over tokens [B, T], under `edits` as of Prompts:
        [S, B, T, D]."""
        nowhere = tokens.new_zeros(len(tokens), 0)
        outputs = self.run(self.embedded(tokens), reads=nowhere, mask=mask, edits=edits).outputs
        assert outputs is not None
        return outputs

    def logits(
        self,
        tokens: Tensor,
        kept: Tensor,
        ablated: Tensor,
        reads: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Logits [B, r, d_vocab_out] at positions `reads` [B, r] (None: all) of tokens [B, T].

        `kept` is [E], [B, E], or [B or 1, E, T] for edges by position: bool, or numbers between the
        ablated (0) and the current value (1). `ablated` [S, B, T, D] may have axes of size 1."""
        return self.run(self.embedded(tokens), kept, ablated, reads, mask).logits

    def run(
        self,
        embedded: Tensor,
        kept: Tensor | None = None,
        ablated: Tensor | None = None,
        reads: Tensor | None = None,
        mask: Tensor | None = None,
        watch: bool = False,
        edits: Sequence[Edit] = (),
    ) -> Run:
        """The pass from what the embeddings write, [1 or 2, B, T, D], on. `kept` and `ablated` as
        in `logits`; without them all edges are kept. `watch` makes each group's inputs a tensor
        that gradients can be taken to. `edits` as of Prompts hold throughout."""
        prompts = Prompts(self.model, embedded.shape[2], mask, reads, edits)
        stream = _Stream(self.graph, kept, ablated, watch)
        stream.write(embedded)
        return self._from(0, stream, prompts)

    def resumed(
        self,
        layer: int,
        x: Tensor,
        outputs: Tensor,
        change: Change,
        reads: Tensor | None = None,
        mask: Tensor | None = None,
        edits: Sequence[Edit] = (),
    ) -> Tensor:
        """The logits of a pass with a change that lies in no earlier layer, taken up before `layer`
        where the stream is x [B, T, D], from what the senders before it write [s, B, T, D]; behind
        the last layer where it is their number."""
        prompts = Prompts(self.model, x.shape[1], mask, reads, edits)
        stream = _Stream(self.graph, change.kept, change.ablated, False, change)
        stream.take_up(x, outputs)
        return self._from(layer, stream, prompts, change.attended).logits

    def _from(
        self,
        first: int,
        stream: _Stream,
        prompts: Prompts,
        attended: Sequence[Tensor] | None = None,
    ) -> Run:
        """The pass from a layer on."""
        groups = (g for g in self.graph.groups if g.layer is None or g.layer >= first)
        for number, layer in enumerate(self.layers[first:], first):
            before = stream.mark()
            held = None if attended is None else attended[number]
            raw = self._attention(layer, stream, groups, prompts, held)
            scale, bias = layer.post_scale(raw), layer.block.b_o
            if scale is not None:
                raw, bias = raw * scale, None if bias is None else bias * scale
            stream.write(raw, bias)
            if layer.block.ln2 is not None:
                x = stream.mark_middle(before if self.graph.shape.parallel else stream.x)
                out = layer.mlp(stream.received(x, next(groups)))
                stream.write(prompts.edited("mlp_out", number, out))
        final = prompts.narrowed(stream.received(stream.mark(), next(groups))[0])
        return Run(
            self.unembedded(final),
            stream.outputs(),
            tuple(stream.inputs),
            tuple(stream.marks),
            tuple(stream.middles),
        )

    def _attention(
        self,
        layer: Layer,
        stream: _Stream,
        groups: Iterator[Group],
        prompts: Prompts,
        held: Tensor | None,
    ) -> Tensor:
        """What the heads of a layer write before a norm behind them, [H, B, T, D]. `held`: what
        queries and keys read instead of the stream."""
        n_inputs = 3 if self.graph.split_qkv else 1
        mine = [next(groups) for _ in range(n_inputs)]
        positions = prompts.positions(narrow=False)
        if stream.is_shared:
            q, k, v = layer.projected(layer.normed(stream.x))
            q, k = layer.turned(q, "q", positions), layer.turned(k, "k", positions)
            return layer.attended(q, k, v, prompts)
        normed = [layer.normed(stream.received(stream.x, group)) for group in mine]
        normed *= 3 // n_inputs
        if held is not None:
            normed[:2] = [layer.normed(held[None])] * 2
        return layer.heads(normed, prompts)


class _Stream:
    """The residual stream `x` [B, T, D] of one pass, and what receivers get instead of it."""

    def __init__(
        self,
        graph: Graph,
        kept: Tensor | None,
        ablated: Tensor | None,
        watch: bool,
        change: Change | None = None,
    ) -> None:
        self.x: Tensor = torch.zeros(())
        self.inputs: list[Tensor] = []
        self.is_shared = kept is None and not watch
        """Do all receivers read the stream as it is?"""
        self.marks: list[Tensor] = []
        self.middles: list[Tensor] = []
        self._graph, self._kept, self._ablated, self._watch = graph, kept, ablated, watch
        self._change = change
        self._changed = graph.groups if change is None else change.groups
        self._read = max((group.senders for group in self._changed), default=0)
        self._written = Rows(len(graph.senders))
        self._differences = Rows(len(graph.senders))

    def write(self, outputs: Tensor, bias: Tensor | None = None) -> None:
        """Outputs [s, B, T, D] of the next senders."""
        self.x = self.x + outputs.sum(0)
        if bias is not None:
            self.x = self.x + bias
        if self._kept is not None and self._differences.count < self._read:
            self._differ(outputs)
        if self._kept is None or self._watch:
            self._written.add(outputs)

    def mark(self) -> Tensor:
        """The stream as it is, remembered of a plain run."""
        if self._kept is None:
            self.marks.append(self.x)
        return self.x

    def mark_middle(self, x: Tensor) -> Tensor:
        """What an MLP reads, x, remembered of a plain run."""
        if self._kept is None:
            self.middles.append(x)
        return x

    def take_up(self, x: Tensor, outputs: Tensor) -> None:
        """The stream x [B, T, D] that the first senders' outputs [s, B, T, D] have led to."""
        self.x = x
        self._differ(outputs)

    def _differ(self, outputs: Tensor) -> None:
        """Note how what stands in an edge that is out differs from what the next senders write."""
        assert self._ablated is not None
        senders = slice(self._differences.count, self._differences.count + len(outputs))
        found = self._ablated[senders] - outputs
        if self._change is not None and self._change.basis is not None:
            assert self._change.origins is not None
            starts = self._change.origins.T[senders, :, None, None]
            found = torch.where(starts, spanned(found, self._change.basis), found)
        self._differences.add(found)

    def received(self, x: Tensor, group: Group) -> Tensor:
        """What the receivers of a group read, [members, B, T, D], where the stream is x [B, T, D];
        one for all of them [1, B, T, D] where nothing is removed or watched."""
        if self._kept is None or group not in self._changed:
            inputs = x.expand(group.members if self._watch else 1, *x.shape)
        else:
            removed = _removed(self._graph, group, self._kept, x.dtype)
            inputs = x + torch.einsum(
                _SUMS[removed.ndim], removed, self._differences.first(group.senders)
            )
        if self._watch:
            inputs = inputs if inputs.requires_grad else inputs.clone().requires_grad_()
            self.inputs.append(inputs)
        return inputs

    def outputs(self) -> Tensor | None:
        return self._written.first(self._written.count) if self._written.count else None


def spanned(x: Tensor, basis: Tensor | None) -> Tensor:
    """The component of x [..., D] in the span of orthonormal columns [D, m]; x without them."""
    return x if basis is None else x @ basis @ basis.T


# removed [members, s], [B, members, s] or [B, members, s, T]; differences [s, B, T, D]
_SUMS = {2: "ms,sbtd->mbtd", 3: "bms,sbtd->mbtd", 4: "bmst,sbtd->mbtd"}


def _removed(graph: Graph, group: Group, kept: Tensor, dtype: torch.dtype) -> Tensor:
    """1 - kept for a group's edges: [members, s], [B, members, s] or [B, members, s, T] from kept
    [E], [B, E] or [B, E, T]. A receiver keeps nothing without its direct edge."""
    axis = min(kept.ndim - 1, 1)
    matrix = kept.narrow(axis, group.start, group.members * group.senders).to(dtype)
    sizes = (group.members, group.senders)
    matrix = matrix.view(*matrix.shape[:axis], *sizes, *matrix.shape[axis + 1 :])
    direct = graph.direct_edges(group)
    if direct is not None:
        whole = kept.narrow(axis, direct.start, group.members).to(dtype)
        matrix = matrix * whole.unsqueeze(axis + 1)
    return 1 - matrix
