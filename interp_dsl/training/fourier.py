"""Which frequencies a model of modular addition works with, from its weights and its logits.

A model that has learned the sum has logits that depend on a and b through a + b alone, at a few
frequencies (Nanda et al. 2023)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from interp_dsl.data import addition
from interp_dsl.training.model import Transformer

KEY_SHARE = 0.01
"""A frequency is a key one from this share of the logits' variance on."""


def logits_of_all_pairs(model: Transformer, p: int = addition.MODULUS) -> Tensor:
    """Logits of the p residues where the answer is read, at every pair: [a, b, c] float64."""
    prompts = torch.from_numpy(addition.addition_prompts(addition.addends("all")))
    with torch.no_grad():
        parts = [model(part)[:, -1, :p].double() for part in torch.split(prompts, 1024)]
    return torch.cat(parts).reshape(p, p, p)


def logit_shares(logits: Tensor) -> Tensor:
    """For each frequency 1..(p - 1)/2, the share of the logits' variance (about their mean over the
    answers c) that lies in functions of a + b of this frequency. logits: [a, b, c]."""
    p = len(logits)
    centred = logits - logits.mean(-1, keepdim=True)
    at = torch.arange(p)
    by_sum = centred[at, (at[:, None] - at) % p].mean(1)
    spread = (by_sum - by_sum.mean(0)).pow(2).mean() / centred.pow(2).mean()
    return power(by_sum) * spread


def power(rows: Tensor) -> Tensor:
    """The share of each frequency 1..(p - 1)/2 in the variance of rows [p, d] about their mean."""
    transform: Tensor = torch.fft.rfft(rows.double() - rows.double().mean(0), dim=0)[1:]
    found = transform.abs().pow(2).sum(1)
    return found / found.sum()


def frequencies(model: Transformer) -> dict[str, Any]:
    """The key frequencies, the one of the greatest share first, their shares of the logits' and of
    the embedding's variance, and the share of the logits' that all of them make up."""
    of_logits = logit_shares(logits_of_all_pairs(model))
    of_embedding = power(model.embed.W_E.detach()[: addition.MODULUS])
    order = of_logits.argsort(descending=True)
    keys = [int(k) for k in order if of_logits[k] >= KEY_SHARE]
    return {
        "frequencies": [k + 1 for k in keys],
        "logit_shares": [round(of_logits[k].item(), 4) for k in keys],
        "embedding_shares": [round(of_embedding[k].item(), 4) for k in keys],
        "logits_explained": round(of_logits[keys].sum().item(), 4),
    }
