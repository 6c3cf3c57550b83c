"""The linear way from a place to the logits: the weights between, the final norm as a linear map,
the unembedding. LN takes the mean off and multiplies by its weight, RMS multiplies by its weight;
what either divides by depends on the whole stream and is left out, so logits are right up to one
positive factor a token. Soft caps of logits and biases are left out too."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.compiled.weights import Norm
from interp_dsl.models.errors import failure
from interp_dsl.models.executor import Executor
from interp_dsl.plan.places import Target

POST = ("head", "z", "neuron")
"""Places whose output passes the block's own norm behind it, where there is one (Gemma)."""


@dataclass(frozen=True)
class Linear:
    """A norm as a linear map: x ↦ (x - mean x, where it `centres`) · gain."""

    centres: bool
    gain: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """Of directions x [..., d_model]."""
        x = x - x.mean(-1, keepdim=True) if self.centres else x
        return x if self.gain is None else x * self.gain


class ReadOut:
    """From directions at places to logits. Raises InterpError E650 for a model that runs by
    hooks."""

    def __init__(self, executor: Executor) -> None:
        if not isinstance(executor, CompiledExecutor):
            raise failure(
                "E650",
                f"{executor.facts.name} runs by TransformerLens's hooks, which `logits()` does not",
                notes=(executor.remark,) if executor.remark else (),
                help="look at what features do by ablation() on DATA",
                exit_code=1,
            )
        self._model = executor.model
        self.unembed = executor.model.weights.unembed.float()

    def logits(self, target: Target, directions: Tensor) -> Tensor:
        """What directions [m, width] of a target's activations add to the logits [m, d_vocab_out],
        less the mean over the vocabulary, which changes no probability."""
        description, weights = self._model.description, self._model.weights
        x = self._written(target, directions.float())
        x = self._linear(weights.final, description.final_norm)(x)
        logits = x @ self.unembed.T
        return logits - logits.mean(1, keepdim=True)

    def _written(self, target: Target, x: Tensor) -> Tensor:
        """What directions [m, width] write to the residual stream [m, d_model]."""
        kind, layer = target.site.kind, target.site.layer
        if kind not in POST:
            return x
        assert layer is not None
        block = self._model.weights.blocks[layer]
        post = block.ln2_post if kind == "neuron" else block.ln1_post
        if kind == "neuron":
            assert block.w_out is not None
            into = block.w_out.float().T
            into = into if block.mid_norm is None else _through(block.mid_norm, into)
            x = x @ (into if target.index is None else into[[target.index]])
        elif kind == "z":
            into = block.w_o.float()
            x = x @ (into.flatten(0, 1) if target.index is None else into[target.index])
        elif target.index is None:  # all heads' outputs side by side
            x = x.reshape(len(x), -1, self.unembed.shape[1]).sum(1)
        return x if post is None else self._linear(post, self._model.description.norm)(x)

    def _linear(self, norm: Norm, kind: str | None) -> Linear:
        if kind is None:
            return Linear(False, None)
        gain = None if norm.weight is None else norm.weight.float()
        is_offset = kind == "RMS" and gain is not None and self._model.description.norm_offset
        return Linear(kind == "LN", 1 + gain if is_offset and gain is not None else gain)


def _through(norm: Norm, into: Tensor) -> Tensor:
    """The MLP's output weight [d_mlp, d_model] with the LN in front of it, as one linear map."""
    gained = into if norm.weight is None else norm.weight.float()[:, None] * into
    return gained - gained.mean(0)
