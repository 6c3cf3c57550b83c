"""A run that remembers what is needed to tell the gradient in every receiver's input.

Receivers of one channel read the same stream x in a run from which nothing is removed: no input a
head is made. Behind x come the norm and each head's projection, so that the gradient in what head h
reads is W_hᵀ ∂M/∂(W_h x̂ + b_h), pulled back through the norm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from interp_dsl.circuits.attribution.norms import Tangent
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.circuits.layer import Layer
from interp_dsl.circuits.order import stage_of
from interp_dsl.circuits.prompts import Prompts
from interp_dsl.models.graph import Group


class Recorded(NamedTuple):
    """`logits` [B, r, d_vocab_out]; the stream [B, T, D] that the receivers of each stage (see
    order.py) read; each layer's queries, keys and values, [H, B, T, d_head] before they are turned;
    what its senders write, [s, B, T, D] a stage, apart from the gradient, where that was asked
    for."""

    logits: Tensor
    streams: dict[int, Tensor]
    projected: dict[int, tuple[Tensor, Tensor, Tensor]]
    outputs: list[Tensor]


class Read(NamedTuple):
    """The receivers of a stage: their groups, whose edges come one after another and from the same
    senders, and the gradient in what they read, [members, B, T, D]."""

    groups: list[Group]
    gradient: Tensor


def record(
    forward: EdgeForward, x: Tensor, prompts: Prompts, start: int = 0, watch: bool = False
) -> Recorded:
    """The plain run from stage `start` on, where the stream is x [B, T, D]. `watch`: keep what
    senders write."""
    run = Recorded(x, {}, {}, [])
    shape, end = forward.graph.shape, 2 * forward.graph.shape.n_layers
    positions = prompts.positions(narrow=False)
    for stage in range(start, end):
        layer = forward.layers[stage // 2]
        if stage % 2 == 0:
            run.streams[stage] = x
            q, k, v = run.projected[stage // 2] = layer.projected(layer.normed(x))
            q, k = layer.turned(q, "q", positions), layer.turned(k, "k", positions)
            z = layer.attend(q, k, v, prompts, narrow=False)
            x = x + layer.written(z)
            if watch:
                run.outputs.append(_heads(layer, z.detach()))
        elif not shape.attn_only:
            before = run.streams[stage - 1] if shape.parallel else x
            run.streams[stage] = before.view_as(before)
            written = layer.mlp(run.streams[stage])
            x = x + written
            if watch:
                run.outputs.append(written.detach()[None])
    run.streams[end] = x.view_as(x)
    logits = forward.unembedded(prompts.narrowed(run.streams[end]))
    return run._replace(logits=logits)


def gradients(forward: EdgeForward, run: Recorded, value: Tensor) -> Iterator[Read]:
    """∂value/∂(what each receiver reads) from a run made with gradients: first of the MLPs and the
    final residual, then of the heads, a layer at a time, worked out when it is asked for."""
    graph, split = forward.graph, forward.graph.split_qkv
    single = [
        group
        for group in graph.groups
        if group.channel in ("mlp", "logits") and stage_of(graph, group) in run.streams
    ]
    wanted = [run.streams[stage_of(graph, group)] for group in single]
    wanted += [part for parts in run.projected.values() for part in parts]
    found = torch.autograd.grad(value, wanted)
    yield Read(single, torch.stack(found[: len(single)]))
    rest = iter(found[len(single) :])
    norm = forward.model.description.norm
    for number in run.projected:
        layer, x = forward.layers[number], run.streams[2 * number].detach()
        g = torch.cat([next(rest) for _ in "qkv"], 0 if split else -1)
        rows = torch.cat([layer.weight(channel) for channel in "qkv"], 0 if split else 1)
        heads = [g for g in graph.groups if g.layer == number and g.channel != "mlp"]
        yield Read(heads, Tangent(forward.model, layer.block.ln1, norm, x).pulled_back(g, rows))


def _heads(layer: Layer, z: Tensor) -> Tensor:
    """What each head writes, [H, B, T, D]."""
    raw = layer.write(z)
    scale = layer.post_scale(raw)
    return raw if scale is None else raw * scale
