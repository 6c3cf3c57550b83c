"""The reference executor: TransformerLens's bridge, run with hooks that return new tensors."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.edits import Edit, moved
from interp_dsl.models.errors import failure, nearest
from interp_dsl.models.executor import Pass
from interp_dsl.models.fingerprint import digest
from interp_dsl.models.precision import Precision, in_own_precision
from interp_dsl.models.shape import ModelFacts
from interp_dsl.models.trace import Trace
from interp_dsl.models.weights import Source
from interp_dsl.plan.places import INPUT_SITES, Site


class HookedExecutor:
    """Runs any model that TransformerLens's bridge wraps.

    `processing` is none, or compatibility where the bridge has folded and centred its weights.
    `devices` are those that hold its weights, first the one that takes the tokens; there all that
    comes out of a pass lies, wherever a layer is.
    Gradients flow only to values of edits that ask for them; the weights are frozen."""

    name = "hooked"

    def __init__(
        self,
        bridge: Any,
        facts: ModelFacts,
        source: Source | None = None,
        processing: str = "none",
        tf32: bool = False,
    ) -> None:
        """`source` is what a bridge of plain weights was built from. `tf32`: how float32 matrices
        are multiplied (precision.py)."""
        bridge.eval()
        bridge.requires_grad_(False)
        weight = next(bridge.parameters())
        self.bridge = bridge
        self.facts = facts
        self.source = source
        self.processing = processing
        self.devices = _devices(bridge)
        self.device: torch.device = self.devices[0]
        self.dtype: torch.dtype = weight.dtype
        self.tf32 = tf32
        self._output_weights: dict[int, Tensor] = {}
        self._proven: set[Site] = set()
        self._takes_positions = (
            "position_ids" in inspect.signature(bridge.original_model.forward).parameters
        )
        self._fingerprint: str | None = None
        self.difference: float | None = None
        self.remark: str | None = None

    @in_own_precision
    def forward(
        self,
        tokens: Tensor,
        reads: Tensor | None,
        edits: Sequence[Edit] = (),
        sites: Sequence[Site] = (),
        mask: Tensor | None = None,
    ) -> Pass:
        """See Executor. Raises InterpError E600 when a hook did not fire exactly once, E601 for a
        site that cannot be edited, E602 when a derived site does not add up, E603 for a hook that
        the model lacks, E604 for prompts longer than the context."""
        if tokens.shape[1] > self.facts.shape.n_ctx:
            raise failure(
                "E604",
                f"prompts of {tokens.shape[1]} tokens are longer than the context of "
                f"{self.facts.name}, {self.facts.shape.n_ctx} tokens",
                exit_code=1,
            )
        with_gradient = torch.is_grad_enabled() and any(
            edit.value is not None and edit.value.requires_grad for edit in edits
        )
        with torch.set_grad_enabled(with_gradient):
            trace = Trace(self, tuple(tokens.shape), edits, sites)
            with ExitStack() as attached:
                self._attach(trace, attached)
                logits = self.bridge(tokens, return_type="logits", **self._masked(tokens, mask))
            logits = logits.to(self.device)
            trace.check_fired()
            if Site("logits") in sites:
                trace.captured[Site("logits")] = logits.unsqueeze(2)
            if reads is not None:
                at = moved(reads, logits.device)
                logits = logits.gather(1, at[..., None].expand(-1, -1, logits.shape[-1]))
        return Pass(logits.float(), trace.captured)

    def shows(self, site: Site) -> bool:
        """Whether TransformerLens has a site that the model has: its native models do not take the
        stream apart by head."""
        return self.source is None or site.kind not in INPUT_SITES

    def _attach(self, trace: Trace, attached: ExitStack) -> None:
        try:
            if trace.takes_inputs_apart:
                self._take_inputs_apart(attached)
            attached.enter_context(self.bridge.hooks(fwd_hooks=trace.hooks))
        except ValueError as error:  # a hook that TransformerLens keeps switched off
            raise failure(
                "E601",
                f"{self.facts.name} does not run one of these hooks",
                notes=(str(error),),
                help="take one of the language's own places, such as L0H0",
                exit_code=1,
            ) from error

    def _take_inputs_apart(self, attached: ExitStack) -> None:
        """Have the bridge give every head its own copy of the stream while a pass lasts."""
        try:
            self.bridge.set_use_split_qkv_input(True)
        except NotImplementedError as error:
            raise failure(
                "E601",
                f"the hooks of {self.facts.name} do not take a layer's input apart by head",
                notes=(str(error),),
                help="the compiled executor does: name no hook in quotes of a model of this file",
                exit_code=1,
            ) from error
        attached.callback(self.bridge.set_use_split_qkv_input, False)

    def output_weight(self, layer: int) -> Tensor:
        """W_O of a layer [head, d_head, d_model], fetched from the bridge once."""
        if layer not in self._output_weights:
            weight = self.bridge.blocks[layer].attn.W_O
            self._output_weights[layer] = weight.detach().to(self.dtype)
        return self._output_weights[layer]

    def output_bias(self, layer: int) -> Tensor | None:
        """b_O of a layer [d_model], None where the model has none."""
        bias: Tensor | None = getattr(self.bridge.blocks[layer].attn, "b_O", None)
        return bias

    def is_proven(self, site: Site) -> bool:
        return site in self._proven

    def prove(self, site: Site, derived: Tensor, actual: Tensor) -> None:
        """What should follow from a site, checked against the model's own tensor at the site's
        first use. Raises InterpError E602 where the two differ by more than rounding."""
        if self.is_proven(site):
            return
        is_exact = self.dtype in (torch.float32, torch.float64) and not self.tf32
        tolerance = 1e-4 if is_exact else 5e-2
        scale = actual.float().abs().max().clamp(min=1.0)
        difference = (derived.float() - actual.float()).abs().max() / scale
        if not difference <= tolerance and not torch.isnan(actual).any():
            raise self.underivable(site, f"largest relative difference {float(difference):.2g}")
        self._proven.add(site)

    def underivable(self, site: Site, note: str) -> InterpError:
        return failure(
            "E602",
            f"{site.kind} of layer {site.layer} of {self.facts.name} does not add up to what the "
            "model computes",
            notes=(note,),
            exit_code=1,
        )

    def require_hook(self, name: str) -> None:
        """Raises InterpError E603 where the bridge has no such hook."""
        if name in self.bridge.hook_dict:
            return
        close = nearest(name, self.bridge.hook_dict)
        raise failure(
            "E603",
            f"{self.facts.name} has no hook {name}",
            help=f'did you mean "{close}"?' if close else None,
            exit_code=1,
        )

    def fingerprint(self) -> str:
        """sha256 over configuration and every tensor: name, dtype, shape, bytes."""
        if self._fingerprint is None:
            self._fingerprint = self._digest()
        return self._fingerprint

    def _digest(self) -> str:
        precision = Precision(self.dtype, self.tf32)
        run = {"processing": self.processing, "dtype": precision.name}
        if self.source is not None:
            return digest(run | asdict(self.source.config), self.source.tensors)
        config = self.bridge.original_model.config.to_dict()
        for name in ("_name_or_path", "transformers_version", "dtype"):
            config.pop(name, None)
        return digest(run | config, self.bridge.state_dict())

    def _masked(self, tokens: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        """Positions are counted by index, masked tokens included; the bridge would skip them."""
        if mask is None:
            return {}
        arguments = {"attention_mask": mask.long()}
        if self._takes_positions:
            positions = torch.arange(tokens.shape[1], device=tokens.device)
            arguments["position_ids"] = positions.expand(tokens.shape[0], -1)
        return arguments


def _devices(bridge: Any) -> tuple[torch.device, ...]:
    """Where the weights lie; first the embedding's, which a spread model's configuration names."""
    found = dict.fromkeys(weight.device for weight in bridge.parameters())
    if len(found) > 1:
        found = {torch.device(bridge.cfg.device): None} | found
    return tuple(found)
