"""The compiled executor: the same results as the hooked one, from a forward pass of our own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.compiled.forward import Compiled, Walk
from interp_dsl.models.compiled.memory import PARTS, Memory, Start
from interp_dsl.models.compiled.taps import Place, Taps, flat
from interp_dsl.models.edits import Edit
from interp_dsl.models.errors import failure
from interp_dsl.models.executor import Pass
from interp_dsl.models.precision import in_own_precision
from interp_dsl.models.shape import ModelFacts
from interp_dsl.plan.places import Site
from interp_dsl.plan.starts import BEHIND_ATTENTION


class CompiledExecutor:
    """Runs the families that compiled/families.py describes, and models of plain weights.

    `difference` is the largest relative difference from the hooked executor that was measured on
    a probe, None when it was not compared; `remark` is what the user should be told of the choice
    of executor, None when there is nothing to tell."""

    name = "compiled"

    def __init__(
        self,
        model: Compiled,
        facts: ModelFacts,
        fingerprint: str,
        tf32: bool = False,
    ) -> None:
        self.model = model
        self.facts = facts
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype
        self.tf32 = tf32
        self.difference: float | None = None
        self.remark: str | None = None
        self._fingerprint = fingerprint

    @property
    def work(self) -> Counter[str]:
        """Rows × positions multiplied since the start, summed over layers: q, kv, out (W_O), mlp,
        unembed."""
        return self.model.work

    @in_own_precision
    def forward(
        self,
        tokens: Tensor,
        reads: Tensor | None,
        edits: Sequence[Edit] = (),
        sites: Sequence[Site] = (),
        mask: Tensor | None = None,
    ) -> Pass:
        """See Executor. With reads of no position, [B, 0], it ends after the last of `sites`.
        Raises InterpError E601 for an edit of the logits, E604 for prompts longer than the
        context, E606 for a place that only the hooked executor has."""
        self._check_length(tokens)
        taps = Taps(self.facts, edits, sites)
        with torch.set_grad_enabled(_with_gradient(edits)):
            walk = self._walk(taps, tokens.shape[1], mask, reads)
            x = walk.through(walk.embedded(tokens), 0)
            return self._pass(walk, x, reads)

    @in_own_precision
    def remember(
        self, tokens: Tensor, mask: Tensor | None = None, parts: Collection[str] = PARTS
    ) -> Memory:
        """One clean pass over tokens [n, T], kept for `resume`. `parts`: resid_pre, keys (keys and
        values), z."""
        self._check_length(tokens)
        if mask is not None:
            mask = mask.bool()
        shape, length = self.facts.shape, tokens.shape[1]
        memory = Memory.blank(shape, tokens, mask, parts, self.dtype)
        none = torch.zeros(len(tokens), 0, dtype=torch.long, device=tokens.device)
        with torch.no_grad():
            walk = Walk(self.model, Taps(self.facts, (), ()), length, mask, none, record=memory)
            walk.through(walk.embedded(tokens), 0)
        return memory

    @in_own_precision
    def resume(
        self,
        memory: Memory,
        rows: Tensor,
        layer: int,
        edits: Sequence[Edit] = (),
        reads: Tensor | None = None,
        position: int = 0,
        sites: Sequence[Site] = (),
    ) -> Pass:
        """What `forward` gives for the examples `rows` [R] of a memory under edits that act in
        `layer` or later and at `position` or later: what comes before is taken from the memory.

        Edits count rows 0..R-1 and positions from the start of the prompt, reads [R, r] too; None
        reads all positions from `position` on, and so do `sites`. Where all that acts in `layer`
        lies at z or behind it, the layer's attention is taken from the memory as well. Raises
        InterpError E607 where the memory does not suffice."""
        taps = Taps(self.facts, edits, sites)
        places = taps.edited() | taps.wanted()
        self._check_start(memory, layer, places)
        if position:
            self._check_position(memory, position, edits, reads)
        here = {kind for kind, at in places if at == layer}
        start = Start(
            memory, rows, layer, position, memory.z is not None and here <= BEHIND_ATTENTION
        )
        mask = None if memory.mask is None else memory.mask.index_select(0, rows)
        with torch.set_grad_enabled(_with_gradient(edits)):
            walk = self._walk(taps, memory.length, mask, reads, start)
            x = walk.through(start.after("resid_pre", layer), layer)
            return self._pass(walk, x, reads)

    def fingerprint(self) -> str:
        """sha256 of weights and configuration, the hooked executor's."""
        return self._fingerprint

    def _walk(
        self,
        taps: Taps,
        length: int,
        mask: Tensor | None,
        reads: Tensor | None,
        start: Start | None = None,
    ) -> Walk:
        wants_all = ("logits", None) in taps.wanted()
        mask = None if mask is None else mask.bool()
        return Walk(self.model, taps, length, mask, None if wants_all else reads, start)

    def _pass(self, walk: Walk, x: Tensor, reads: Tensor | None) -> Pass:
        logits = walk.logits(x)
        captured = walk.taps.captured
        if walk.taps.wants("logits", None):
            logits = walk.taps.at("logits", None, logits, "flat")
            if reads is not None:
                slots = reads - walk.taps.window.start
                logits = logits.gather(1, slots[..., None].expand(-1, -1, logits.shape[-1]))
        return Pass(logits.float(), captured)

    def _check_start(self, memory: Memory, layer: int, places: Collection[Place]) -> None:
        if not 0 <= layer < self.facts.shape.n_layers:
            raise _cannot(f"there is no layer {layer}")
        if memory.resid_pre is None:
            raise _cannot("the memory holds no resid_pre")
        for kind, at in places:
            if kind != "logits" and (at is None or at < layer):
                raise _cannot(f"{kind} lies before layer {layer}")

    def _check_position(
        self, memory: Memory, position: int, edits: Sequence[Edit], reads: Tensor | None
    ) -> None:
        if memory.keys is None:
            raise _cannot("the memory holds no keys")
        if not self.facts.shape.causal:
            raise _cannot("a bidirectional model has no earlier positions")
        entries = [flat(edit).positions for edit in edits]
        entries += [] if reads is None else [reads]
        if any(bool((at < position).any()) for at in entries):
            raise _cannot(f"an edit or a read lies before position {position}")

    def _check_length(self, tokens: Tensor) -> None:
        n_ctx = self.facts.shape.n_ctx
        if tokens.shape[1] > n_ctx:
            raise failure(
                "E604",
                f"prompts of {tokens.shape[1]} tokens are longer than the context of "
                f"{self.facts.name}, {n_ctx} tokens",
                exit_code=1,
            )


def _with_gradient(edits: Sequence[Edit]) -> bool:
    return torch.is_grad_enabled() and any(
        edit.value is not None and edit.value.requires_grad for edit in edits
    )


def _cannot(reason: str) -> InterpError:
    return failure("E607", "a pass cannot be taken up there", notes=(reason,), exit_code=1)
