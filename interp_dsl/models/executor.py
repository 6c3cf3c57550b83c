"""What the engine asks of a model: one forward pass with edits, captures and reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, device, dtype

from interp_dsl.models.edits import Edit
from interp_dsl.models.shape import ModelFacts
from interp_dsl.plan.places import Site


@dataclass(frozen=True)
class Pass:
    """logits: [B, r, d_vocab_out] at the read positions, float32; sites: canonical captures
    [B, T, index, width] after all edits (for `hook`: the raw tensor). `streams`: places at the read
    positions [B, r, d_model]; None is the residual stream behind the last block, which an executor
    may give. One that lies before where a pass was taken up has None."""

    logits: Tensor
    sites: dict[Site, Tensor]
    streams: Mapping[Site | None, Tensor | None] = field(default_factory=dict)


class Executor(Protocol):
    """A model in eval mode with frozen weights. `name` tells which executor runs: hooked or
    compiled. `difference` is the compiled forward's largest relative difference from the hooked
    one, None where the two were not compared; `remark` says why this executor was chosen, None
    where there is nothing to say; `tf32` whether it multiplies float32 in TF32."""

    name: str
    difference: float | None
    remark: str | None
    facts: ModelFacts
    device: device
    dtype: dtype
    tf32: bool

    def forward(
        self,
        tokens: Tensor,
        reads: Tensor | None,
        edits: Sequence[Edit] = (),
        sites: Sequence[Site] = (),
        mask: Tensor | None = None,
    ) -> Pass:
        """tokens [B, T]; reads [B, r] positions whose logits are wanted, None for all positions;
        mask [B, T] True for tokens that may be attended to (None: plain right padding of a causal
        model needs none). Edits at one site are made in the order given."""
        ...

    def shows(self, site: Site) -> bool:
        """Whether this executor has a site that the model has."""
        ...

    def fingerprint(self) -> str:
        """sha256 of weights and configuration."""
        ...
