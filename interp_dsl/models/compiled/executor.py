"""The compiled executor: the same results as the hooked one, from a forward pass of our own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models import points
from interp_dsl.models.compiled.forward import Compiled, Rooms
from interp_dsl.models.compiled.memory import Growth, Memory, Start
from interp_dsl.models.compiled.taps import Place, Taps, hooked
from interp_dsl.models.compiled.walk import Walk
from interp_dsl.models.edits import Edit, entries, moved
from interp_dsl.models.errors import failure
from interp_dsl.models.executor import Pass
from interp_dsl.models.precision import in_own_precision
from interp_dsl.models.shape import ModelFacts
from interp_dsl.plan.places import Site
from interp_dsl.plan.starts import BEHIND_ATTENTION, BEHIND_KEYS, BESIDE_ATTENTION, PARTS


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
        """Rows × positions multiplied since the start, summed over layers: q, kv, out (W_O), mlp;
        unembed, logits; and pairs, rows × queries × keys."""
        return self.model.work

    @in_own_precision
    def forward(
        self,
        tokens: Tensor,
        reads: Tensor | None,
        edits: Sequence[Edit] = (),
        sites: Sequence[Site] = (),
        mask: Tensor | None = None,
        record: tuple[Memory, slice] | None = None,
        outputs: Tensor | None = None,
    ) -> Pass:
        """See Executor. With reads of no position, [B, 0], it ends after the last of `sites`.
        `outputs` [u]: the tokens whose logits are wanted, [B, r, u] in their order; None for all.
        `record`: a memory, and which of its examples these are, to keep what `resume` starts from.
        Raises InterpError E601 for an edit of the logits, E604 for prompts longer than the
        context, E606 for a place that only the hooked executor has."""
        self._check_length(tokens)
        taps = Taps(self.facts, edits, sites)
        with torch.set_grad_enabled(_with_gradient(edits)):
            walk = self._walk(taps, tokens.shape[1], mask, reads, record=record)
            x = walk.through(walk.embedded(tokens), 0)
            return self._pass(walk, x, reads, outputs)

    def blank(
        self, tokens: Tensor, mask: Tensor | None = None, parts: Collection[str] = PARTS
    ) -> Memory:
        """Room for what a pass over tokens [n, T] leaves. `parts`: those of PARTS, of
        which `keys` are keys and values."""
        self._check_length(tokens)
        mask = None if mask is None else mask.bool()
        return Memory.blank(self.facts.shape, tokens, mask, parts, self.dtype)

    @in_own_precision
    def remember(
        self,
        tokens: Tensor,
        mask: Tensor | None = None,
        parts: Collection[str] = PARTS,
        edits: Callable[[int, int], Sequence[Edit]] | None = None,
        rows: int | None = None,
    ) -> Memory:
        """One pass over tokens [n, T], kept for `resume`. `edits(start, stop)` are those of
        examples start to stop, counted from 0; `rows` is how many examples go through at once."""
        memory = self.blank(tokens, mask, parts)
        size = rows or len(tokens)
        with torch.no_grad():
            for first in range(0, len(tokens), size):
                part = slice(first, min(first + size, len(tokens)))
                changes = edits(part.start, part.stop) if edits else ()
                none = torch.zeros(part.stop - part.start, 0, dtype=torch.long)
                seen = None if mask is None else mask[part]
                self.forward(tokens[part], none, changes, (), seen, (memory, part))
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
        context: Sequence[Edit] = (),
        changed: Tensor | None = None,
        outputs: Tensor | None = None,
        rooms: Rooms | None = None,
        from_mid: bool = False,
    ) -> Pass:
        """What `forward` gives for the examples `rows` [R] of a memory under edits that act in
        `layer` or later and at `position` or later: what comes before is taken from the memory.

        Edits count rows 0..R-1 and positions from the start of the prompt, reads [R, r] too; None
        reads all positions from `position` on, and so do `sites`. Where all that acts in `layer`
        lies at z or behind it, the layer's attention is taken from the memory as well. `context`
        are edits that the memory was made under: those that lie before the start are in it, the
        others are made again, before `edits`. `changed` [R, c]: all `edits` are of `layer`, and at
        these positions; the layer then computes these alone. In one of `rooms` the logits stand
        until the next pass that is given them. `from_mid`: all edits of the layer are of what
        stands BESIDE_ATTENTION, which is computed for heads that are changed alone; there is no
        context and no site of the layer. Raises InterpError E607 where the memory does not
        suffice."""
        taps = Taps(self.facts, edits, sites)
        places = taps.edited() | taps.wanted()
        self._check_start(memory, layer, places)
        here = {kind for kind, at in places if at == layer}
        from_z = memory.z is not None and here <= BEHIND_ATTENTION
        is_local = here <= BEHIND_KEYS
        is_last = layer == self.facts.shape.n_layers - 1
        if sites or (is_local and is_last) or memory.queries is None or memory.keys is None:
            changed = None
        if position:
            self._check_position(memory, position, edits, reads)
        kept = [edit for edit in context if not _is_before(edit, layer, from_z)]
        taps = Taps(self.facts, [*kept, *edits], sites) if kept else taps
        if from_mid:
            self._check_mid(memory, here, [*context, *sites])
        start = Start(memory, rows, layer, position, from_z, from_mid, changed, is_local)
        mask = memory.mask
        mask = None if mask is None else mask.index_select(0, moved(rows, mask.device))
        with torch.set_grad_enabled(_with_gradient(edits)):
            walk = self._walk(taps, memory.length, mask, reads, start)
            x = walk.through(walk.taken_up(), layer)
            return self._pass(walk, x, reads, outputs, rooms)

    def room(self, n: int, length: int, mask: Tensor | None = None) -> Memory:
        """An empty memory of keys and values for `grow`: n texts of at most `length` tokens."""
        tokens = torch.zeros(n, length, dtype=torch.long, device=self.device)
        memory = self.blank(tokens, mask, ("keys",))
        assert memory.keys is not None and memory.values is not None
        memory.keys.zero_()  # what no token has written yet is hidden, and must be finite
        memory.values.zero_()
        return memory

    @in_own_precision
    def grow(
        self,
        memory: Memory,
        tokens: Tensor,
        positions: Tensor,
        edits: Sequence[Edit] = (),
        columns: Tensor | None = None,
    ) -> Pass:
        """The logits of tokens [B, t] at positions [B, t], which come behind those that the memory
        holds; their keys and values join it. Logits are [B, r, d_vocab_out], of the `columns`
        [B, r] of the tokens, None for all. Positions and columns are in the processor's memory;
        edits count positions from the start of the text, and those elsewhere are left out. What is
        written behind a text's end stands until its next tokens are. For causal models."""
        if not self.facts.shape.causal:
            raise _cannot("a bidirectional model has no earlier positions")
        taps = Taps(self.facts, edits, ())
        with torch.no_grad():
            growth = Growth(memory, positions)
            walk = Walk(self.model, taps, memory.length, memory.mask, None, growth=growth)
            x = walk.through(walk.embedded(tokens), 0)
            if columns is not None:
                x = entries(x, torch.arange(len(x))[:, None], columns)
            return Pass(self.model.logits(x).float(), {}, {None: x})

    def shows(self, site: Site) -> bool:
        """See Executor."""
        return True

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
        record: tuple[Memory, slice] | None = None,
    ) -> Walk:
        wants_all = ("logits", None) in taps.wanted()
        mask = None if mask is None else mask.bool()
        reads = None if wants_all or reads is None else reads.cpu()
        return Walk(self.model, taps, length, mask, reads, start, record)

    def _pass(
        self,
        walk: Walk,
        x: Tensor,
        reads: Tensor | None,
        outputs: Tensor | None,
        rooms: Rooms | None = None,
    ) -> Pass:
        x = walk.read(x)
        logits = self.model.logits(x, outputs, rooms if walk.in_place else None)
        captured = walk.taps.captured
        if walk.taps.wants("logits", None):
            logits = walk.taps.at("logits", None, logits, "flat")
            if reads is not None:
                slots = moved(reads - walk.taps.window.start, self.device)
                logits = logits.gather(1, slots[..., None].expand(-1, -1, logits.shape[-1]))
        return Pass(logits.float(), captured, {None: x})

    def _check_start(self, memory: Memory, layer: int, places: Collection[Place]) -> None:
        if not 0 <= layer < self.facts.shape.n_layers:
            raise _cannot(f"there is no layer {layer}")
        if memory.resid_pre is None:
            raise _cannot("the memory holds no resid_pre")
        for kind, at in places:
            if kind != "logits" and (at is None or at < layer):
                raise _cannot(f"{kind} lies before layer {layer}")

    def _check_mid(self, memory: Memory, here: set[str], other: Sequence[object]) -> None:
        shape = self.facts.shape
        if memory.resid_mid is None or memory.z is None:
            raise _cannot("the memory holds no resid_mid, or no z")
        if shape.parallel or shape.post_norms or other or not here <= BESIDE_ATTENTION:
            raise _cannot("more than single heads' changes is added to what attention writes")

    def _check_position(
        self, memory: Memory, position: int, edits: Sequence[Edit], reads: Tensor | None
    ) -> None:
        if memory.keys is None:
            raise _cannot("the memory holds no keys")
        if not self.facts.shape.causal:
            raise _cannot("a bidirectional model has no earlier positions")
        early = [(edit.positions < position) & edit.valid for edit in edits]
        early += [] if reads is None else [reads < position]
        if any(bool(is_early.any()) for is_early in early):
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


def _is_before(edit: Edit, layer: int, from_z: bool) -> bool:
    """Is an edit in the memory of a pass that starts in `layer`, behind its attention or not?"""
    site = points.as_named(edit.site)
    place = hooked(site) if site.kind == "hook" else (site.kind, site.layer)
    assert place is not None, "the memory was made under it"
    kind, at = place
    if at is None or at < layer:
        return True
    before = {*points.POINTS} - BEHIND_ATTENTION | {"z"} if from_z else {"resid_pre"}
    return at == layer and kind in before


def _with_gradient(edits: Sequence[Edit]) -> bool:
    return torch.is_grad_enabled() and any(
        edit.value is not None and edit.value.requires_grad for edit in edits
    )


def _cannot(reason: str) -> InterpError:
    return failure("E607", "a pass cannot be taken up there", notes=(reason,), exit_code=1)
