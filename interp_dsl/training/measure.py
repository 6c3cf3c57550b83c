"""What each head of a trained model does: attention by place, and what the task loses without it.

Every measure is independent of the circuit that an experiment later finds: attention is read off
the patterns, ablation replaces the head's z by its mean over the real tokens of the prompts, and
patching replaces it, at all positions, by its value in the corrupt run. `writes_answer` and
`writes_wrong` read the head's own output where the answer is read through the unembedding."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from interp_dsl.data import tasks
from interp_dsl.training.model import Trace, Transformer

Heads = dict[str, dict[str, float]]
"""Head ("L0H1") -> measure -> number."""


BETWEEN = (("S2", "S1"), ("C_def", "B_def"), ("B_doc", "B_def"), ("B_doc", "C_def"))
"""Pairs of labels, query and key, whose attention is measured where a task has them."""

SHORTEST_REPEAT = 5
"""The least context in which stripes mean anything: BOS and two tokens, twice."""


def head_name(layer: int, head: int) -> str:
    return f"L{layer}H{head}"


@torch.no_grad()
def stripes(model: Transformer, n: int = 256, seed: int = 0) -> Heads:
    """Mean attention on BOS and a block of random distinct tokens given twice, as long as the
    context holds. `previous_token`: to the token before, from the third token on; `induction`: in
    the second copy, to the token after the previous occurrence; `duplicate_token`: there, to the
    previous occurrence itself."""
    rng = np.random.default_rng((seed, 2))
    period, ids = (model.shape.n_ctx - 1) // 2, np.arange(1, model.shape.d_vocab)
    block = np.stack([rng.permutation(ids)[:period] for _ in range(n)])
    tokens = np.concatenate([np.full((n, 1), tasks.BOS), block, block], axis=1)
    trace = Trace()
    model(torch.from_numpy(tokens), trace)
    ctx = tokens.shape[1]
    later, repeat = torch.arange(2, ctx), torch.arange(period + 1, ctx)
    places = {
        "previous_token": (later, later - 1),
        "induction": (repeat, repeat - period + 1),
        "duplicate_token": (repeat, repeat - period),
    }
    return {
        head_name(layer, head): {
            name: pattern[:, head, query, key].mean().item()
            for name, (query, key) in places.items()
        }
        for layer, pattern in enumerate(trace.patterns)
        for head in range(model.shape.n_heads)
    }


@torch.no_grad()
def label_attention(model: Transformer, data: tasks.TaskData) -> Heads:
    """Mean attention between labels of a task's clean prompts: from END to each other label, and
    BETWEEN others."""
    trace = Trace()
    model(torch.from_numpy(data.clean), trace)
    ends = [("END", name) for name in data.labels if name != "END"]
    pairs = ends + [pair for pair in BETWEEN if data.labels.keys() >= set(pair)]
    at = {name: torch.from_numpy(span[:, 0]) for name, span in data.labels.items()}
    rows = torch.arange(len(data.clean))
    return {
        head_name(layer, head): {
            f"{query}->{key}": pattern[rows, head, at[query], at[key]].mean().item()
            for query, key in pairs
        }
        for layer, pattern in enumerate(trace.patterns)
        for head in range(model.shape.n_heads)
    }


@torch.no_grad()
def importance(model: Transformer, data: tasks.TaskData) -> Heads:
    """`ablation_drop`: logit difference (answer - wrong) lost when the head gives its mean;
    `patch_effect`: the share of the way to the corrupt run's logit difference that patching the
    head alone goes, from the corrupt run into the clean one."""
    assert data.corrupt is not None
    clean, corrupt = torch.from_numpy(data.clean), torch.from_numpy(data.corrupt)
    on_clean, on_corrupt = Trace(), Trace()
    base = logit_diff(model(clean, on_clean), data)
    gap = logit_diff(model(corrupt, on_corrupt), data) - base
    real = torch.arange(clean.shape[1])[None, :] < torch.from_numpy(data.lengths)[:, None]
    result: Heads = {}
    for layer in range(model.shape.n_layers):
        for head in range(model.shape.n_heads):
            mean = on_clean.z[layer][:, :, head][real].mean(0)
            ablated = Trace(replace={(layer, head): mean})
            patched = Trace(replace={(layer, head): on_corrupt.z[layer][:, :, head]})
            result[head_name(layer, head)] = {
                "ablation_drop": base - logit_diff(model(clean, ablated), data),
                "patch_effect": (logit_diff(model(clean, patched), data) - base) / gap,
            }
    return result


@torch.no_grad()
def writes(model: Transformer, data: tasks.TaskData) -> Heads:
    """Mean logits that a head's output adds, on clean prompts where the answer is read, to the
    answer and to the wrong answer (of a class: their mean), above the mean over the vocabulary."""
    trace = Trace()
    model(torch.from_numpy(data.clean), trace)
    assert trace.final is not None
    rows, read = torch.arange(len(data.clean)), torch.from_numpy(data.position)
    answer = torch.from_numpy(data.answer)[:, None]
    targets = {"writes_answer": answer, "writes_wrong": wrong_class(data)}
    result: Heads = {}
    for layer, z in enumerate(trace.z):
        w_o = model.get_parameter(f"blocks.{layer}.attn.W_O")
        for head in range(model.shape.n_heads):
            logits = model.unembedded(z[rows, read, head] @ w_o[head], trace.final[rows, read])
            logits = logits - logits.mean(-1, keepdim=True)
            result[head_name(layer, head)] = {
                name: logits.gather(1, tokens).mean().item() for name, tokens in targets.items()
            }
    return result


@torch.no_grad()
def neurons(model: Transformer, tokens: Tensor) -> dict[str, float]:
    """Of the first layer's MLP on tokens [n, T] after BOS: the share of activations above 0, of
    neurons never above 0, and of neurons above 0 on less than one token in a hundred."""
    trace = Trace()
    model(tokens, trace)
    density = (trace.hidden[0][:, 1:] > 0).float().mean((0, 1))
    return {
        "neuron_density": density.mean().item(),
        "neurons_dead": (density == 0).float().mean().item(),
        "neurons_rare": (density < 0.01).float().mean().item(),
    }


@torch.no_grad()
def without_mlps(model: Transformer) -> Transformer:
    """A copy whose MLPs add nothing."""
    weights = model.weights()
    for name, weight in weights.items():
        if name.endswith((".W_out", ".b_out")):
            weight.zero_()
    return Transformer.of(model.shape, weights)


def logit_diff(logits: Tensor, data: tasks.TaskData) -> float:
    """Mean over examples of the answer's logit minus the wrong one's (of a class: the highest),
    where the answer is read."""
    rows = torch.arange(len(logits))
    at_end = logits[rows, torch.from_numpy(data.position)]
    wrong = at_end.gather(1, wrong_class(data)).amax(1)
    return (at_end[rows, torch.from_numpy(data.answer)] - wrong).mean().item()


def wrong_class(data: tasks.TaskData) -> Tensor:
    """The wrong tokens of each example, [n, k]."""
    return torch.from_numpy(data.wrong).reshape(len(data.wrong), -1)


def heads(model: Transformer, data: tasks.TaskData | None) -> Heads:
    """All measures of every head, rounded to four decimals; the task's where there is one."""
    tables = [stripes(model)] if model.shape.n_ctx >= SHORTEST_REPEAT else []
    if data is not None:
        tables += [f(model, data) for f in (label_attention, writes, importance)]
    return {
        head: {k: round(v, 4) for table in tables for k, v in table[head].items()}
        for head in tables[0]
    }
