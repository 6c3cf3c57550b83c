"""What runs have recorded of the features of dictionaries: which steps read whose, a row a feature,
the contexts of one, the histogram of densities."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from interp_dsl.plan.dictionaries import Fit, Inspect, InspectWeights
from interp_dsl.plan.tasks import Plan
from interp_dsl.plan.written import written_side
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.training import dictionary_name, step_of

if TYPE_CHECKING:
    import polars as pl

TOKENS = 3
"""Tokens that a row names a feature by."""
KINDS = {
    "examples": "examples",
    "density": "densities",
    "logits": "logits",
    "nearest": "nearest",
    "norms": "norms",
    "cofiring": "cofiring",
    "ablation": "ablation",
}
"""What each method of `inspect` leaves, as Read has it."""


@dataclass(frozen=True, slots=True)
class Read:
    """A dictionary, under the name that the language gives it; the steps that have a table of its
    features, by what is in it; the data that it was last looked at on."""

    name: str
    data: str
    examples: tuple[str, ...] = ()
    densities: tuple[str, ...] = ()
    logits: tuple[str, ...] = ()
    nearest: tuple[str, ...] = ()
    norms: tuple[str, ...] = ()
    cofiring: tuple[str, ...] = ()
    ablation: tuple[str, ...] = ()

    def remedy(self, method: str, feature: int | None = None) -> str:
        """The step that would record what a method of `inspect` leaves."""
        what = f"features({self.name})" if feature is None else feature_units(self.name, [feature])
        name = f"{step_of(self.name)}_{method}"
        on = "" if method in ("logits", "nearest", "norms") else f" on {self.data}"
        return f"step {name} = inspect {what} by {method}(){on}"

    @property
    def steps(self) -> dict[str, tuple[str, ...]]:
        """The steps by what is in their tables."""
        return {what: getattr(self, what) for what in KINDS.values()}

    @property
    def recorded(self) -> tuple[str, ...]:
        """All steps that have a table of its features."""
        return tuple(step for steps in self.steps.values() for step in steps)


def dictionaries(plan: Plan, folder: RunFolder) -> list[Read]:
    """The dictionaries that a run fits or reads, in the order of its plan."""
    found: dict[str, Read] = {}
    for task in plan.tasks:
        if isinstance(task, Fit):
            for one in task.dictionaries:
                name = dictionary_name(task.step, one.label)
                found[name] = Read(name, written_side(task.run))
        elif isinstance(task, Inspect | InspectWeights):
            name = dictionary_name(task.of.step, task.of.fitted[0].label)
            read = found.get(name, Read(name, ""))
            if isinstance(task, Inspect):
                read = replace(read, data=written_side(task.run))
            if folder.has_table(task.step):
                kind = KINDS[task.method]
                held = {kind: (*read.steps[kind], task.step)}
                read = replace(read, **held)  # type: ignore[arg-type]
            found[name] = read
    return list(found.values())


def feature_units(dictionary: str, features: Iterable[int]) -> str:
    """Features as units: `sae[3, 40]`, `sae[k=32, 3]`."""
    step, _, label = dictionary.removesuffix("]").partition("[")
    return f"{step}[{', '.join([*([label] if label else []), *map(str, features)])}]"


# ---- a row a feature


def feature_rows(
    examples: pl.DataFrame | None,
    density: pl.DataFrame | None,
    further: Mapping[str, pl.DataFrame] | None = None,
) -> pl.DataFrame:
    """`feature`, `density`, `maximum`, `mean`, `alignment`, the `tokens` that it fires most
    strongly on, those that it `promotes`, the `loss` of its ablation; what no table has is null.
    A maximum is that of the densities' data, where there are any. `further`: tables by the method
    that left them."""
    import polars as pl

    seen, known = _held(examples, "examples"), _held(density, "density")
    others = further or {}
    written, lost = (_held(others.get(how), how) for how in ("logits", "ablation"))
    largest = seen.filter(pl.col("interval").is_null())
    named = largest.group_by("feature", maintain_order=True).agg(
        pl.col("activation").max().alias("seen"),
        pl.col("token").unique(maintain_order=True).head(TOKENS).alias("tokens"),
    )
    top = written.filter(pl.col("end") == "top").sort("feature", "rank")
    promoted = top.group_by("feature", maintain_order=True).agg(
        pl.col("token").head(TOKENS).alias("promotes")
    )
    every = pl.concat([t.select("feature") for t in (known, *others.values())]).unique()
    rows = known
    for table in (named, promoted, lost.select("feature", "loss"), every):
        rows = rows.join(table, on="feature", how="full", coalesce=True)
    maximum = pl.coalesce("maximum", "seen")
    return rows.sort("feature").select(
        "feature", "density", maximum, "mean", "alignment", "tokens", "promotes", "loss"
    )


def _held(table: pl.DataFrame | None, method: str) -> pl.DataFrame:
    """A table of what a method leaves, empty where there is none."""
    import polars as pl

    from interp_dsl.runs.schema import FEATURE_TABLES, polars_types

    return pl.DataFrame(schema=polars_types(FEATURE_TABLES[method])) if table is None else table


# ---- what else is known of one


Ends = tuple[Sequence[tuple[str, float]], Sequence[tuple[str, float]]]


def ends(logits: pl.DataFrame, feature: int) -> Ends:
    """The tokens that a feature promotes most, and those that it suppresses most, with what it
    adds to their logits."""
    import polars as pl

    rows = logits.filter(pl.col("feature") == feature).sort("rank")
    top, bottom = (
        list(rows.filter(pl.col("end") == end).select("token", "logit").iter_rows())
        for end in ("top", "bottom")
    )
    return top, bottom


def neighbours(
    nearest: pl.DataFrame | None, cofiring: pl.DataFrame | None, feature: int
) -> pl.DataFrame:
    """The features beside one, those closest to it or else those that fire most with it first:
    `other`, the `cosine` of their decoders, `jaccard`, `pearson`, `lift` and `support` of where
    they fire; null where a table does not have the pair."""
    import polars as pl

    of = pl.col("feature") == feature
    close = _held(nearest, "nearest").filter(of).select("other", "cosine")
    together = _held(cofiring, "cofiring").filter(of)
    together = together.select("other", "jaccard", "pearson", "lift", "support")
    rows = close.join(together, on="other", how="full", coalesce=True)
    keys = ["cosine", "jaccard"]
    return rows.sort(keys, descending=True, nulls_last=True, maintain_order=True)


def firing_on(examples: pl.DataFrame, text: str) -> pl.Series:
    """The features with an example whose own token holds a text; capitals count where the text has
    any."""
    import polars as pl

    token = pl.col("token") if text != text.lower() else pl.col("token").str.to_lowercase()
    return examples.filter(token.str.contains(text, literal=True))["feature"].unique()


# ---- contexts


@dataclass(frozen=True, slots=True)
class Context:
    """Where a feature fires; `interval` is None among its largest activations."""

    interval: int | None
    activation: float
    share: float
    prompt: int
    position: int
    before: str
    token: str
    after: str


def contexts(examples: pl.DataFrame, feature: int) -> Iterator[Context]:
    """A feature's contexts in the order of the table: the largest, then those of its intervals."""
    import polars as pl

    names = Context.__dataclass_fields__
    for row in examples.filter(pl.col("feature") == feature).select(*names).iter_rows():
        yield Context(*row)


def n_intervals(examples: pl.DataFrame) -> int:
    """Into how many intervals activations were divided. A feature's largest lies in the last."""
    last = examples["interval"].max()
    return last if isinstance(last, int) else 0


# ---- densities


@dataclass(frozen=True, slots=True)
class Densities:
    """How many features have a density in each of equal bins of its logarithm to base 10, from
    `low` to `high`; `never`: features that do not fire at all."""

    low: float
    high: float
    counts: Sequence[int]
    never: int

    def edge(self, at: int) -> float:
        """The logarithm that a bin begins with."""
        return self.low + at / len(self.counts) * (self.high - self.low)

    def bin_of(self, density: float | None) -> int | None:
        """The bin of a density; None for one that is 0 or unknown."""
        if not density:
            return None
        share = (math.log10(density) - self.low) / (self.high - self.low)
        return min(len(self.counts) - 1, max(0, int(share * len(self.counts))))


def densities(values: Sequence[float | None], bins: int) -> Densities:
    """The histogram of densities between whole powers of ten."""
    logs = [math.log10(v) for v in values if v]
    low = math.floor(min(logs, default=-1.0))
    high = max(low + 1, math.ceil(max(logs, default=0.0)))
    counts = [0] * bins
    empty = Densities(low, high, counts, sum(v == 0 for v in values))
    for value in values:
        at = empty.bin_of(value)
        if at is not None:
            counts[at] += 1
    return empty
