"""What features fire on as a list that can be searched: a card a feature, its contexts in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interp_dsl.report.reading import Reading
from interp_dsl.runs.contexts import beginning, ending
from interp_dsl.runs.features import Context, contexts, dictionaries, feature_rows, n_intervals
from interp_dsl.runs.text import decimals, number, printable, share

if TYPE_CHECKING:
    import polars as pl

MOST = 200
"""Features in a page, those that fire most strongly."""
SIDE = 44
"""Characters of a context on each side of its token."""
LARGEST, LOWER = 8, 12
"""Contexts of a feature in a page: of the largest, and of its intervals."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A context as it is shown; `share` of the maximum in per cent."""

    value: str
    share: int
    where: str
    before: str
    token: str
    after: str


@dataclass(frozen=True, slots=True)
class Card:
    """A feature: its number, what is known of it, the tokens that it fires on, its contexts by
    what they are."""

    feature: int
    facts: Sequence[str]
    tokens: Sequence[str]
    groups: Sequence[tuple[str, Sequence[Shown]]]


@dataclass(frozen=True, slots=True)
class Features:
    """The features of a table of examples; `of` is their dictionary's name, empty where that is
    not known. What of the table is not shown: `left_out` features and, of those that are shown,
    `fewer` examples."""

    of: str
    cards: Sequence[Card]
    left_out: int
    fewer: int


def features(reading: Reading, step: str, examples: pl.DataFrame) -> Features:
    """The first of a step's features, with their densities where another step has recorded them."""
    import polars as pl

    of, density = _beside(reading, step)
    rows = feature_rows(examples, density)
    seen = rows.filter(pl.col("tokens").is_not_null())
    first = seen.sort("maximum", descending=True, nulls_last=True, maintain_order=True).head(MOST)
    held = examples.filter(pl.col("feature").is_in(first["feature"].implode()))
    by_feature = {int(str(k[0])): part for k, part in held.group_by("feature")}
    parts = n_intervals(examples)
    cards = [_card(row, by_feature[row["feature"]], parts) for row in first.iter_rows(named=True)]
    kept = sum(len(shown) for card in cards for _, shown in card.groups)
    return Features(of, cards, len(seen) - len(first), len(held) - kept)


def _beside(reading: Reading, step: str) -> tuple[str, pl.DataFrame | None]:
    """The dictionary that a step's examples are of, and its densities."""
    for one in dictionaries(reading.plan, reading.folder) if reading.plan else ():
        if step in one.examples:
            last = one.densities[-1:]
            return one.name, reading.folder.read_table(last[0]) if last else None
    return "", None


def _card(row: dict[str, object], examples: pl.DataFrame, intervals: int) -> Card:
    feature = int(str(row["feature"]))
    found = list(contexts(examples, feature))
    largest = [c for c in found if c.interval is None][:LARGEST]
    lower = [c for c in found if c.interval is not None][:LOWER]
    places = decimals([c.activation for c in found])
    said = f"one of each of {intervals} equal parts, from its maximum down to 0"
    groups = [("largest", largest), (said, lower)]
    tokens = row["tokens"]
    return Card(
        feature,
        list(_facts(row)),
        [_visible(str(token)) for token in tokens] if isinstance(tokens, list) else [],
        [(what, [_shown(c, places) for c in held]) for what, held in groups if held],
    )


def _facts(row: dict[str, object]) -> Iterator[str]:
    density, maximum = row["density"], row["maximum"]
    if isinstance(density, float):
        yield f"{share(density)} of tokens"
    if isinstance(maximum, float):
        yield f"maximum {number(maximum, decimals([maximum]), signed=False)}"


def _shown(context: Context, places: int) -> Shown:
    value = number(context.activation, places, signed=False)
    where = f"prompt {context.prompt}, token {context.position}"
    percent = round(100 * context.share)
    before, after = printable(context.before), printable(context.after)
    return Shown(value, percent, where, ending(before, SIDE), context.token, beginning(after, SIDE))


def _visible(token: str) -> str:
    """A token with its leading space as a dot."""
    return f"·{token[1:]}" if token.startswith(" ") else token
