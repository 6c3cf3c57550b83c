"""What a pass multiplies: rows × positions through each matrix of a model, and their FLOPs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from interp_dsl.plan.algebra import Metric
from interp_dsl.plan.metrics import METRICS, calls
from interp_dsl.plan.places import Positions
from interp_dsl.plan.starts import Start
from interp_dsl.plan.tasks import ModelSize

BEGINNING = Start(0, False, 0)


@dataclass(frozen=True)
class Reads:
    """How many positions a row's logits are read at, None for all. `is_known` is False where the
    data's answers decide: they may be of several tokens."""

    count: int | None
    is_known: bool = True


EVERYWHERE = Reads(None)


def reads(metrics: Sequence[Metric], ats: Sequence[Positions | None] = ()) -> Reads:
    """Where metrics read a run's logits, and where `ats` does; the answer's where nothing does."""
    wanted = [METRICS[c.function] for m in metrics for c in calls(m.term)]
    if any("all_positions" in facts.needs for facts in wanted):
        return EVERYWHERE
    if any(facts.sequence for facts in wanted):
        return Reads(None, is_known=False)
    places = {c.at for m in metrics for c in calls(m.term)} | set(ats)
    return Reads(max(1, len(places)))


@dataclass(frozen=True)
class Work:
    """Rows × positions, summed over layers: queries, keys and values, W_O, MLP; and unembedding.
    `pairs` are rows × queries × keys."""

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

    def flops(self, model: ModelSize) -> float:
        """FLOPs of the matrix products, two a multiply-add."""
        heads = model.n_heads * model.d_head
        mlp = (3 if model.is_gated else 2) * model.d_model * model.d_mlp
        return 2.0 * (
            (self.q + self.out) * model.d_model * heads
            + self.kv * 2 * model.d_model * model.n_kv_heads * model.d_head
            + self.pairs * 2 * heads
            + self.mlp * mlp
            + self.unembed * model.d_model * model.d_vocab
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
    t = width - start.position
    left = model.n_layers - start.layer
    attends = left - start.behind_attention
    kept = t if read.count is None or not trims else min(read.count, t)
    queries = rows * (t * (attends - 1) + kept) if attends else 0
    behind = rows * (t * (left - 1) + kept)
    return Work(
        q=queries,
        kv=rows * t * attends,
        out=behind,
        mlp=behind if model.d_mlp else 0,
        unembed=rows * (t if read.count is None else read.count),
        pairs=queries * width,
    )


def remembered(model: ModelSize, rows: int, width: int) -> Work:
    """The work of the clean pass that late ones start from: all but the unembedding."""
    return passes(model, rows, width, Reads(0), trims=False)
