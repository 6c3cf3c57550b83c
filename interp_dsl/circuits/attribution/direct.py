"""Direct logit attribution: what each sender says to the logits itself (Elhage et al. 2021, A
Mathematical Framework for Transformer Circuits; Wang et al. 2022, arXiv 2211.00593).

The metric reads the logits along a direction; the unembedding turns it into one of the final
stream, and the final norm, its scale held at the actual run's, into one of what senders write."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from interp_dsl.circuits.attribution.examples import Examples
from interp_dsl.circuits.attribution.norms import Tangent
from interp_dsl.circuits.attribution.recorded import record
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.circuits.prompts import Prompts
from interp_dsl.models.compiled.forward import Compiled
from interp_dsl.models.precision import in_own_precision


class Direct(NamedTuple):
    """`senders` [S, B] in the graph's order; `bias` [B] of b_O, the final norm and the unembedding,
    which no sender owns. Together they are Σ ∂M/∂logits · logits: the metric itself, where that is
    a logit difference or another weighted sum of logits."""

    senders: Tensor
    bias: Tensor


@in_own_precision
def direct_logit_attribution(forward: EdgeForward, examples: Examples) -> Direct:
    """One pass. A cap of the logits (Gemma-2) is held fixed like the norm's scale: each logit is
    multiplied by what the cap makes of it."""
    model, metric = forward.model, examples.metric
    prompts = Prompts(model, examples.tokens.shape[1], examples.mask, examples.reads)
    with torch.no_grad():
        embedded = forward.embedded(examples.tokens)
        run = record(forward, embedded.sum(0), prompts, watch=True)
        x = prompts.narrowed(run.streams[max(run.streams)])
    with torch.enable_grad():
        logits = run.logits.detach().requires_grad_()
        (weight,) = torch.autograd.grad(metric(logits).sum(), logits)
    final, kind = model.weights.final, model.description.final_norm
    weight = weight * _cap_scale(model, x)
    u = Tangent(model, final, kind, x).frozen(weight @ model.weights.unembed)
    parts = [(prompts.narrowed(part) * u).sum((-1, -2)) for part in (embedded, *run.outputs)]
    senders = torch.cat(parts)
    bias = (x * u).sum((-1, -2)) - senders.sum(0)
    if final.bias is not None and kind == "LN":
        bias = bias + (weight @ model.weights.unembed @ final.bias).sum(-1)
    if model.weights.unembed_bias is not None:
        bias = bias + (weight @ model.weights.unembed_bias).sum(-1)
    return Direct(senders, bias)


def _cap_scale(model: Compiled, x: Tensor) -> Tensor | float:
    """What the cap multiplies each logit of the final stream x by."""
    cap = model.description.logit_cap
    if cap is None:
        return 1.0
    h = model.normed(x, model.weights.final, model.description.final_norm)
    share = functional.linear(h, model.weights.unembed, model.weights.unembed_bias) / cap
    return torch.where(share == 0, 1.0, torch.tanh(share) / share)
