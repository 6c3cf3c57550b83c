"""The residual stream of a run as a chain of layers in float64 (plan/factors.py), for geometry.

Prompts have one length. The first token is left as it is where it is the model's BOS: the norm of
the stream there is far from all others'. Behind the last attention, positions that nothing reads
are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from interp_dsl.circuits.layer import Layer
from interp_dsl.circuits.prompts import Prompts
from interp_dsl.engine.metrics import Meter
from interp_dsl.engine.reads import plan_reads
from interp_dsl.engine.state import State, reference_of
from interp_dsl.geometry.interaction_basis import Stage
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.compiled.forward import Compiled
from interp_dsl.plan.algebra import Metric, Run
from interp_dsl.plan.factors import is_wide

T = TypeVar("T")
BATCH = 512
"""Examples that go through at once."""


class Chain:
    """`n` examples; `n_layers` of the model. Streams are [n, p, d_model], at the positions that are
    told of above."""

    def __init__(self, run: Run, metrics: Sequence[Metric], state: State) -> None:
        executor = state.executor(run)
        if not isinstance(executor, CompiledExecutor):
            raise _hooked(executor.facts.name, executor.remark)
        data, side = state.data[run.data], state.side(run)
        reads = plan_reads(data, side, metrics, executor.facts)
        if len(reads.variants) > 1 or len(set(side.lengths)) > 1:
            raise _uneven(data.name, len(reads.variants) > 1)
        plain = reads.variants["plain"]
        self.model = in_float64(executor.model)
        self.n_layers = executor.facts.shape.n_layers
        self.parallel = executor.facts.shape.parallel
        self.layers = [Layer(self.model, number) for number in range(self.n_layers)]
        self.first = 0 if executor.facts.bos is None else 1
        length = int(side.lengths[0])
        self.tokens = torch.from_numpy(plain.tokens[:, :length]).to(executor.device)
        self.n = len(self.tokens)
        self._reads = None if plain.reads is None else torch.from_numpy(plain.reads)
        self._mask = None if plain.mask is None else torch.from_numpy(plain.mask[:, :length])
        reference = state.kept(reference_of(run, data)).logits
        vocab = executor.facts.shape.d_vocab_out
        self._meter = Meter(reads, metrics, vocab, reference, executor.device)
        self._fixed: dict[int, Tensor] = {}

    def streams(self, depths: Sequence[int]) -> list[Tensor]:
        """The stream at depths that do not fall."""
        found: dict[int, list[Tensor]] = {at: [] for at in depths}
        fixed: dict[int, list[Tensor]] = {at: [] for at in depths}
        with torch.no_grad():
            for start in range(0, self.n, BATCH):
                rows = slice(start, min(start + BATCH, self.n))
                x = self._embedded(rows)
                for at in range(max(depths) + 1):
                    if at:
                        x = self._link(at - 1, x, rows)
                    if at in found:
                        cut = self.first if self._is_wide(at) else 0
                        found[at].append(x[:, cut:])
                        fixed[at].append(x[:, :cut])
        self._fixed = {at: torch.cat(parts) for at, parts in fixed.items()}
        return [torch.cat(found[at]) for at in depths]

    def stage(self, below: int, above: int) -> Stage:
        """From the stream at a depth of `streams` to that at a later one."""

        def run(f: Tensor, rows: slice) -> Tensor:
            x = torch.cat([self._fixed[below][rows], f], 1)
            for at in range(below, above):
                x = self._link(at, x, rows)
            return x[:, self.first :] if self._is_wide(above) else x

        return run

    def after_added(self, layer: int, stream: Tensor) -> Stage:
        """From what is added to the pre-activations of a layer's MLP [n, p, rows of W_in] to the
        logits; `stream` is the one before that MLP."""
        block, begin = self.layers[layer].block, 2 * layer + 1
        own = Layer(self.model, layer)

        def run(added: Tensor, rows: slice) -> Tensor:
            fixed = self._fixed[begin][rows]
            bias = functional.pad(added, (0, 0, fixed.shape[1], 0))
            bias = bias if block.b_in is None else block.b_in + bias
            own.block = replace(block, b_in=bias)
            x = torch.cat([fixed, stream[rows]], 1)
            x = x + own.mlp(x)
            for at in range(begin + 1, 2 * self.n_layers + 1):
                x = self._link(at, x, rows)
            return x

        return run

    def values(self, logits: Tensor) -> Tensor:
        """The metrics [metrics, m] of the first m examples, from their logits [m, r, d_vocab]."""
        examples = torch.arange(len(logits), device=logits.device)
        return self._meter.measure({"plain": logits.float()}, examples)

    def _is_wide(self, at: int) -> bool:
        return is_wide(at, self.n_layers, everywhere=self._reads is None)

    def _embedded(self, rows: slice) -> Tensor:
        weights, tokens = self.model.weights, self.tokens[rows]
        x = weights.embed[tokens]
        if weights.embed_scale is not None:
            x = x * weights.embed_scale
        return x if weights.positions is None else x + weights.positions[: tokens.shape[1]]

    def _link(self, at: int, x: Tensor, rows: slice) -> Tensor:
        """One part of the model: x at a depth -> x at the next."""
        if at == 2 * self.n_layers:
            return self.model.logits(x)
        layer = self.layers[at // 2]
        has_mlp = layer.block.w_out is not None
        if at % 2:
            return x + layer.mlp(x) if has_mlp and not self.parallel else x
        added = self._attention(layer, x, rows)
        if has_mlp and self.parallel:
            added = added + layer.mlp(x)
        return self._narrowed(x + added, rows) if at == 2 * (self.n_layers - 1) else x + added

    def _attention(self, layer: Layer, x: Tensor, rows: slice) -> Tensor:
        mask = None if self._mask is None else self._mask[rows].to(x.device)
        prompts = Prompts(self.model, x.shape[1], mask)
        q, k, v = layer.projected(layer.normed(x))
        positions = prompts.positions(narrow=False)
        q, k = layer.turned(q, "q", positions), layer.turned(k, "k", positions)
        return layer.written(layer.attend(q, k, v, prompts, narrow=False))

    def _narrowed(self, x: Tensor, rows: slice) -> Tensor:
        if self._reads is None:
            return x
        at = self._reads[rows].to(x.device)
        return x[torch.arange(len(at), device=x.device)[:, None], at]


def in_float64(model: Compiled) -> Compiled:
    """The same model in float64, norms and softmax too; attention in plain products, whose slopes
    can be taken of many outputs at once."""
    if model.device.type == "mps":
        raise InterpError(
            Diagnostic("E691", "mps has no float64", help="run on the processor: --device cpu"),
            exit_code=3,
        )
    description = replace(model.description, single_norm=False, single_softmax=False)
    found = Compiled(description, _doubled(model.weights))
    found.fuses = False
    return found


def _doubled(value: T) -> T:
    """Every tensor in it as float64."""
    found: object = value
    if isinstance(value, Tensor):
        found = value.double()
    elif isinstance(value, tuple):
        found = tuple(_doubled(item) for item in value)
    elif is_dataclass(value) and not isinstance(value, type):
        found = replace(value, **{f.name: _doubled(getattr(value, f.name)) for f in fields(value)})
    return found  # type: ignore[return-value]


def _hooked(name: str, remark: str | None) -> InterpError:
    return InterpError(
        Diagnostic(
            "E690",
            f"{name} runs by TransformerLens's hooks, and layers are factored as the compiled "
            "forward computes them",
            notes=(remark,) if remark else (),
            help="use a model of the families that run compiled; `interp doctor` lists them",
        ),
        exit_code=1,
    )


def _uneven(data: str, is_sequence: bool) -> InterpError:
    why = "its answers have several tokens" if is_sequence else "its prompts differ in length"
    return InterpError(
        Diagnostic(
            "E692",
            f"{data} does not suit a chain of layers",
            notes=(why, "positions of all prompts are to mean the same"),
            help="use prompts of one length, with answers of one token",
        ),
        exit_code=1,
    )
