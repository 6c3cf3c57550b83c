"""What runs have recorded of the features of dictionaries: which steps read whose, a row a feature,
the contexts of one, the histogram of densities."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interp_dsl.plan.algebra import Run
from interp_dsl.plan.dictionaries import Fit, Inspect
from interp_dsl.plan.tasks import Plan
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.training import dictionary_name, step_of

if TYPE_CHECKING:
    import polars as pl

TOKENS = 3
"""Tokens that a row names a feature by."""
SIDES = ("clean", "corrupt")


@dataclass(frozen=True, slots=True)
class Read:
    """A dictionary, under the name that the language gives it; the steps that have a table of its
    features' `examples` or `densities`; the data that it was last looked at on."""

    name: str
    data: str
    examples: tuple[str, ...] = ()
    densities: tuple[str, ...] = ()

    def remedy(self, method: str, feature: int | None = None) -> str:
        """The step that would record what a method of `inspect` leaves."""
        what = f"features({self.name})" if feature is None else feature_units(self.name, [feature])
        name = f"{step_of(self.name)}_{method}"
        return f"step {name} = inspect {what} by {method}() on {self.data}"


def dictionaries(plan: Plan, folder: RunFolder) -> list[Read]:
    """The dictionaries that a run fits or reads, in the order of its plan."""
    found: dict[str, Read] = {}
    for task in plan.tasks:
        if isinstance(task, Fit):
            for one in task.dictionaries:
                name = dictionary_name(task.step, one.label)
                found[name] = Read(name, data_name(task.run))
        elif isinstance(task, Inspect):
            name = dictionary_name(task.of.step, task.of.fitted[0].label)
            read = found.get(name, Read(name, ""))
            mine = (task.step,) if folder.has_table(task.step) else ()
            is_density = task.method == "density"
            found[name] = Read(
                name,
                data_name(task.run),
                read.examples + (() if is_density else mine),
                read.densities + (mine if is_density else ()),
            )
    return list(found.values())


def data_name(run: Run) -> str:
    """The data of a run as the language writes it."""
    data = run.data.removeprefix("data:")
    return f"{data}.{run.side}" if run.side in SIDES else data


def feature_units(dictionary: str, features: Iterable[int]) -> str:
    """Features as units: `sae[3, 40]`, `sae[k=32, 3]`."""
    step, _, label = dictionary.removesuffix("]").partition("[")
    return f"{step}[{', '.join([*([label] if label else []), *map(str, features)])}]"


# ---- a row a feature


def feature_rows(examples: pl.DataFrame | None, density: pl.DataFrame | None) -> pl.DataFrame:
    """`feature`, `density`, `maximum`, `mean`, `alignment`, and the `tokens` that it fires most
    strongly on; what neither table has is null. A maximum is that of the densities' data, where
    there are any."""
    import polars as pl

    from interp_dsl.runs.schema import DENSITY_COLUMNS, EXAMPLE_COLUMNS, polars_types

    seen = pl.DataFrame(schema=polars_types(EXAMPLE_COLUMNS)) if examples is None else examples
    known = pl.DataFrame(schema=polars_types(DENSITY_COLUMNS)) if density is None else density
    largest = seen.filter(pl.col("interval").is_null())
    named = largest.group_by("feature", maintain_order=True).agg(
        pl.col("activation").max().alias("seen"),
        pl.col("token").unique(maintain_order=True).head(TOKENS).alias("tokens"),
    )
    rows = known.join(named, on="feature", how="full", coalesce=True).sort("feature")
    return rows.select(
        "feature", "density", pl.coalesce("maximum", "seen"), "mean", "alignment", "tokens"
    )


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
