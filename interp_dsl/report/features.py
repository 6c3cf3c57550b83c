"""What features fire on as a list that can be searched: a card a feature, its contexts in it."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interp_dsl.report.reading import Reading
from interp_dsl.runs.contexts import beginning, ending
from interp_dsl.runs.feature_effects import elsewhere
from interp_dsl.runs.features import (
    Context,
    Ends,
    contexts,
    dictionaries,
    ends,
    feature_rows,
    n_intervals,
    neighbours,
)
from interp_dsl.runs.text import decimals, number, printable, share

if TYPE_CHECKING:
    import polars as pl

MOST = 200
"""Features in a page, those that fire most strongly."""
SIDE = 44
"""Characters of a context on each side of its token."""
NEIGHBOURS = 12
"""Features beside one in a page."""
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
class Word:
    """A token and what a feature adds to its logit."""

    token: str
    value: str


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A feature beside one, whether it has a card of its own, and how they go together."""

    feature: int
    is_shown: bool
    facts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Card:
    """A feature: its number, what is known of it, the tokens that it fires on, its contexts by
    what they are; the tokens that it promotes and suppresses; the features beside it; what
    other steps say of it."""

    feature: int
    facts: Sequence[str]
    tokens: Sequence[str]
    groups: Sequence[tuple[str, Sequence[Shown]]]
    written: Sequence[tuple[str, Sequence[Word]]]
    beside: Sequence[Neighbour]
    told: Sequence[str]


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

    of, tables = _tables(reading, step)
    rows = feature_rows(examples, tables.get("densities"), tables)
    seen = rows.filter(pl.col("tokens").is_not_null())
    first = seen.sort("maximum", descending=True, nulls_last=True, maintain_order=True).head(MOST)
    held = examples.filter(pl.col("feature").is_in(first["feature"].implode()))
    by_feature = {int(str(k[0])): part for k, part in held.group_by("feature")}
    parts = n_intervals(examples)
    there = set(first["feature"])
    others = elsewhere(reading.plan, reading.folder, of) if reading.plan and of else None
    cards = [
        _card(
            row,
            list(_groups(by_feature[feature], feature, parts)),
            list(_written(tables.get("logits"), feature)),
            [_beside(one, there) for one in _neighbours(tables, feature)],
            list(others.of(feature)) if others else [],
        )
        for row in first.iter_rows(named=True)
        for feature in [row["feature"]]
    ]
    kept = sum(len(shown) for card in cards for _, shown in card.groups)
    return Features(of, cards, len(seen) - len(first), len(held) - kept)


def _tables(reading: Reading, step: str) -> tuple[str, Mapping[str, pl.DataFrame]]:
    """The dictionary that a step's examples are of, and the last table of each other kind that is
    of its features."""
    for one in dictionaries(reading.plan, reading.folder) if reading.plan else ():
        if step in one.examples:
            last = {what: held[-1] for what, held in one.steps.items() if held}
            del last["examples"]
            return one.name, {what: reading.folder.read_table(s) for what, s in last.items()}
    return "", {}


def _card(
    row: Mapping[str, object],
    groups: Sequence[tuple[str, Sequence[Shown]]],
    written: Sequence[tuple[str, Sequence[Word]]],
    beside: Sequence[Neighbour],
    told: Sequence[str],
) -> Card:
    tokens = row["tokens"]
    shown = [_visible(str(token)) for token in tokens] if isinstance(tokens, list) else []
    return Card(int(str(row["feature"])), list(_facts(row)), shown, groups, written, beside, told)


def _groups(
    examples: pl.DataFrame, feature: int, intervals: int
) -> Iterator[tuple[str, Sequence[Shown]]]:
    """Contexts by what they are."""
    found = list(contexts(examples, feature))
    places = decimals([c.activation for c in found])
    largest = [c for c in found if c.interval is None][:LARGEST]
    lower = [c for c in found if c.interval is not None][:LOWER]
    said = f"one of each of {intervals} equal parts, from its maximum down to 0"
    for what, held in (("largest", largest), (said, lower)):
        if held:
            yield what, [_shown(c, places) for c in held]


def _written(logits: pl.DataFrame | None, feature: int) -> Iterator[tuple[str, Sequence[Word]]]:
    """The tokens that a feature promotes, and those that it suppresses."""
    found: Ends = ([], []) if logits is None else ends(logits, feature)
    places = decimals([value for end in found for _, value in end])
    for what, end in zip(("promotes", "suppresses"), found, strict=True):
        if end:
            yield what, [Word(_visible(token), number(value, places)) for token, value in end]


def _neighbours(
    tables: Mapping[str, pl.DataFrame], feature: int
) -> Iterator[Mapping[str, float | None]]:
    rows = neighbours(tables.get("nearest"), tables.get("cofiring"), feature)
    yield from rows.head(NEIGHBOURS).iter_rows(named=True)


def _beside(row: Mapping[str, float | None], there: Container[int]) -> Neighbour:
    values = {k: row[k] for k in ("cosine", "jaccard", "pearson", "lift") if row[k] is not None}
    facts = [f"{name} {number(v, 2, signed=name != 'lift')}" for name, v in values.items()]
    feature = int(row["other"] or 0)
    return Neighbour(feature, feature in there, facts)


def _facts(row: Mapping[str, object]) -> Iterator[str]:
    density, maximum, loss = row["density"], row["maximum"], row["loss"]
    if isinstance(density, float):
        yield f"{share(density)} of tokens"
    if isinstance(maximum, float):
        yield f"maximum {number(maximum, decimals([maximum]), signed=False)}"
    if isinstance(loss, float):
        yield f"loss without it {number(loss, 4)}"


def _shown(context: Context, places: int) -> Shown:
    value = number(context.activation, places, signed=False)
    where = f"prompt {context.prompt}, token {context.position}"
    percent = round(100 * context.share)
    before, after = printable(context.before), printable(context.after)
    return Shown(value, percent, where, ending(before, SIDE), context.token, beginning(after, SIDE))


def _visible(token: str) -> str:
    """A token with its leading space as a dot."""
    return f"·{token[1:]}" if token.startswith(" ") else token
