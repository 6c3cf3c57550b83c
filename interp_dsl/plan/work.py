"""What a pass multiplies: rows × positions through each matrix of a model, and their FLOPs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

from interp_dsl.plan.algebra import Metric
from interp_dsl.plan.metrics import METRICS, calls, kept, reads_outputs
from interp_dsl.plan.places import Positions, Site
from interp_dsl.plan.starts import BEGINNING, Start
from interp_dsl.plan.tasks import (
    AttributeEdges,
    DataSize,
    EvaluateCircuit,
    Forward,
    ModelSize,
    Search,
    Sweep,
)


@dataclass(frozen=True)
class Reads:
    """How many positions a row's logits are read at, None for all. `is_known` is False where the
    data's answers decide: they may be of several tokens. `outputs`: how many tokens' logits, None
    for all. `kept`: the places of the stream that metrics read; a pass that `ends` is over after
    the last of them."""

    count: int | None
    is_known: bool = True
    outputs: int | None = None
    kept: tuple[Site, ...] = ()
    ends: bool = False

    def stop(self, model: ModelSize) -> int:
        """The layer at which a pass ends; the number of layers for all."""
        if not self.ends:
            return model.n_layers
        return max(s.layer + (s.kind != "resid_pre") for s in self.kept if s.layer is not None)

    def trims(self, model: ModelSize) -> bool:
        """Whether the last layer can be computed at the read positions alone."""
        last = model.n_layers - 1
        return not any(s.layer == last and s.kind != "resid_pre" for s in self.kept)

    def logits(self, model: ModelSize, positions: int) -> int:
        """How many logits a row of so many positions has."""
        count = positions if self.count is None else self.count
        return count * min(model.d_vocab, self.outputs or model.d_vocab)


EVERYWHERE = Reads(None)


def compares(metrics: Sequence[Metric]) -> bool:
    """Whether metrics read the logits of the answers' tokens alone."""
    called = [METRICS[c.function] for m in metrics for c in calls(m.term)]
    return bool(called) and all(facts.compares for facts in called)


def read_by(
    task: Forward | Sweep, data: DataSize | None, ats: Sequence[Positions | None] = ()
) -> Reads:
    """What a task, whose run is on `data`, reads of the logits; `ats` as in `reads`."""
    return answering(reads(task.metrics, ats) if task.reads_few else EVERYWHERE, task, data)


def answering(
    read: Reads,
    task: Forward | Sweep | Search | AttributeEdges | EvaluateCircuit,
    data: DataSize | None,
) -> Reads:
    """The same of the answers' tokens alone where a task unembeds no others."""
    return replace(read, outputs=data.answers if task.reads_answers and data else None)


def reads(metrics: Sequence[Metric], ats: Sequence[Positions | None] = ()) -> Reads:
    """Where metrics read a run's logits, and where `ats` does; the answer's where nothing does."""
    sites = kept(metrics)
    if not ats and not reads_outputs(metrics):
        return Reads(0, kept=sites, ends=True)
    wanted = [METRICS[c.function] for m in metrics for c in calls(m.term)]
    if any("all_positions" in facts.needs for facts in wanted):
        return replace(EVERYWHERE, kept=sites)
    if any(facts.sequence for facts in wanted):
        return Reads(None, is_known=False, kept=sites)
    places = {c.at for m in metrics for c in calls(m.term)} | set(ats)
    return Reads(max(1, len(places)), kept=sites)


@dataclass(frozen=True)
class Work:
    """Rows × positions, summed over layers: queries, keys and values, W_O, MLP. `unembed` are
    logits, `pairs` rows × queries × keys."""

    q: int = 0
    kv: int = 0
    out: int = 0
    mlp: int = 0
    unembed: int = 0
    pairs: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.q + other.q,
            self.kv + other.kv,
            self.out + other.out,
            self.mlp + other.mlp,
            self.unembed + other.unembed,
            self.pairs + other.pairs,
        )

    def times(self, rows: int) -> Work:
        return Work(*(rows * getattr(self, f.name) for f in fields(self)))

    def flops(self, model: ModelSize) -> float:
        """FLOPs of the matrix products, two a multiply-add."""
        heads = model.n_heads * model.d_head
        mlp = (3 if model.is_gated else 2) * model.d_model * model.d_mlp
        return 2.0 * (
            (self.q + self.out) * model.d_model * heads
            + self.kv * 2 * model.d_model * model.n_kv_heads * model.d_head
            + self.pairs * 2 * heads
            + self.mlp * mlp
            + self.unembed * model.d_model
        )


def passes(
    model: ModelSize,
    rows: int,
    width: int,
    read: Reads,
    start: Start = BEGINNING,
    trims: bool = True,
) -> Work:
    """The work of rows of `width` tokens from a start on. The last layer's part behind the keys
    and values is computed at the read positions alone, where it `trims`."""
    row = sum(layers(model, width, read, start, trims), Work())
    return (row + Work(unembed=read.logits(model, width - start.position))).times(rows)


def layers(model: ModelSize, width: int, read: Reads, start: Start, trims: bool) -> Iterator[Work]:
    """One row's work, layer by layer. A start that differs from the memory at few positions only
    computes these: through its layer where that is local, then as what all others attend to."""
    t, last = width - start.position, model.n_layers - 1
    few = 0 if start.is_local and start.layer == last else start.few
    trims = trims and read.trims(model)
    for layer in range(start.layer, read.stop(model)):
        reads_few = layer == last and trims and read.count is not None
        ending = min(read.count or 0, t) if reads_few else t
        mlp = ending if model.d_mlp else 0
        if few and layer == start.layer and start.is_local:
            q = 0 if start.behind_attention else few
            yield Work(q=q, out=few, mlp=few if model.d_mlp else 0, pairs=q * width)
        elif few and layer == start.layer + start.is_local:
            yield Work(few, few, ending, mlp, pairs=ending * width)
        elif layer == start.layer and start.behind_attention:
            yield Work(out=0 if start.from_mid else ending, mlp=mlp)
        else:
            yield Work(ending, t, ending, mlp, pairs=ending * width)
