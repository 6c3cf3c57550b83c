"""What senders say to the logits themselves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from interp_dsl.circuits.attribution.direct import direct_logit_attribution
from interp_dsl.circuits.attribution.examples import Examples
from tests.circuits.models import executor_of
from tests.circuits.plain import close
from tests.circuits.tasks import induction, ioi, small
from tests.models.running import MODELS

RIGHT, WRONG = 3, 7


def gap(logits: Tensor) -> Tensor:
    return (logits[..., RIGHT] - logits[..., WRONG]).sum(-1)


@pytest.mark.parametrize("name", MODELS)
def test_parts_add_up_to_the_logit_difference(name: str) -> None:
    """At one read position and at two; with a mask; caps, norms behind attention, biases."""
    forward, examples, _ = small(name, split_embed=True)
    for reads in (examples.reads, torch.tensor([[5, 1], [3, 3], [2, 4]])):
        mine = Examples(examples.tokens, gap, reads, examples.mask)
        found = direct_logit_attribution(forward, mine)
        assert found.senders.shape == (len(forward.graph.senders), 3)
        run = forward.run(forward.embedded(mine.tokens), reads=reads, mask=mine.mask)
        total = found.senders.sum(0) + found.bias
        assert close(total, gap(run.logits)) < 1e-11
        logits = executor_of(name).forward(mine.tokens, reads, mask=mine.mask).logits
        assert close(total.float(), gap(logits)) < 1e-5


@pytest.mark.parametrize("name", ["gpt2", "gemma", "attn_only", "bidirectional"])
def test_by_hand(name: str) -> None:
    """Each sender's output, centred where the norm centres, over the final stream's own scale,
    times the norm's weight, on the difference of two unembedding vectors."""
    forward, examples, _ = small(name)
    model = forward.model
    mine = Examples(examples.tokens, gap, examples.reads, examples.mask)
    found = direct_logit_attribution(forward, mine)
    assert examples.reads is not None
    rows, at = torch.arange(3), examples.reads[:, 0]
    run = forward.run(forward.embedded(mine.tokens), mask=mine.mask, watch=True)
    assert run.outputs is not None
    x, direction = run.inputs[-1][0, rows, at], model.weights.unembed[RIGHT]
    direction = direction - model.weights.unembed[WRONG]
    kind = model.description.final_norm
    for number, output in enumerate(run.outputs):
        part = output[rows, at]
        if kind is not None:
            middle = x.mean(-1, keepdim=True) if kind == "LN" else 0
            part = part - (part.mean(-1, keepdim=True) if kind == "LN" else 0)
            scale = ((x - middle).square().mean(-1, keepdim=True) + model.description.eps).sqrt()
            part = part / scale
            weight = model.weights.final.weight
            if weight is not None:
                part = part * (1 + weight if name == "gemma" else weight)
        assert close(found.senders[number], part @ direction) < 1e-6


def test_other_metrics_are_read_along_their_gradient() -> None:
    forward, examples, _ = small("plain")
    mine = Examples(examples.tokens, lambda logits: logits.log_softmax(-1)[:, 0, 3], examples.reads)
    found = direct_logit_attribution(forward, mine)
    logits = forward.run(forward.embedded(mine.tokens), reads=mine.reads).logits[:, 0]
    weights = torch.eye(logits.shape[-1]).double()[3] - logits.softmax(-1)
    assert close(found.senders.sum(0) + found.bias, (weights * logits).sum(-1)) < 1e-11


def test_trained_models() -> None:
    """Induction heads and the name mover write the answer; so their cards say."""
    for task, heads in ((induction(), ["L1H0", "L1H1", "L1H2", "L1H3"]), (ioi(), ["L2H0"])):
        found = direct_logit_attribution(task.forward, task.examples)
        values = task.metric(task.examples.tokens)
        assert (found.senders.sum(0) + found.bias - values).abs().max() < 1e-4
        means = found.senders.mean(1)
        names = [name for name in task.forward.graph.senders if "H" in name]
        means = torch.stack([means[task.forward.graph.senders.index(name)] for name in names])
        largest = [names[i] for i in means.argsort(descending=True)[: len(heads)]]
        assert sorted(largest) == heads
