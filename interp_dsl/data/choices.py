"""The rows of a template: which values its slots take. Enumerated, or drawn without repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import perm
from typing import Any

import numpy as np

from interp_dsl.data.conditions import holds, names_in
from interp_dsl.data.faults import fault
from interp_dsl.data.types import Ints
from interp_dsl.plan.algebra import Expression

Row = dict[str, Any]
LISTABLE = 100_000
"""Up to so many combinations they are all listed before some are drawn."""
COUNTABLE = 2_000_000
"""Up to so many they are listed when the conditions refuse nearly every draw."""
BATCH = 512
"""Rows drawn at once."""


@dataclass(frozen=True)
class Binding:
    """One `where … in …`: its names take values that differ from each other, unless repeating."""

    names: tuple[str, ...]
    values: tuple[Any, ...]
    repeating: bool

    def picks(self, slots: int, rng: np.random.Generator, size: int) -> Ints:
        """Places in `values` for so many slots, [size, slots]."""
        places = len(self.values)
        if self.repeating:
            return rng.integers(places, size=(size, slots))
        return rng.permuted(np.tile(np.arange(places), (size, 1)), axis=1)[:, :slots]


@dataclass(frozen=True)
class Choices:
    """All that the `where` lines say."""

    bindings: tuple[Binding, ...]
    conditions: tuple[Expression, ...]

    @classmethod
    def of(cls, where: Sequence[Mapping[str, Any]], conditions: Sequence[Expression]) -> Choices:
        bindings = tuple(
            Binding(
                tuple(w["names"]),
                tuple(dict.fromkeys(w["values"])),
                bool(w.get("repeating", False)),
            )
            for w in where
        )
        return cls(bindings, tuple(conditions))

    @property
    def names(self) -> list[str]:
        return [name for binding in self.bindings for name in binding.names]

    def rows(self, slots: Sequence[str], given: Row | None = None) -> Iterator[Row]:
        """Every allowed row of the slots, beside the values already given. Conditions hold that
        read no other slot."""
        row = dict(given or {})
        steps = []
        known = set(row)
        for slot in (s for s in self.names if s in set(slots)):
            known.add(slot)
            tests = [t for t in self.conditions if slot in names_in(t) <= known]
            steps.append((slot, self._binding(slot), tests))

        def extend(at: int) -> Iterator[Row]:
            if at == len(steps):
                yield dict(row)
                return
            slot, binding, tests = steps[at]
            taken = set() if binding.repeating else {row[s] for s in binding.names if s in row}
            for value in binding.values:
                if value not in taken:
                    row[slot] = value
                    if all(holds(t, row) for t in tests):
                        yield from extend(at + 1)
                    del row[slot]

        return extend(0)

    def most(self, slots: Sequence[str]) -> int:
        """How many rows the slots have when no condition takes any away."""
        total = 1
        for binding in self.bindings:
            own, size = len(set(binding.names) & set(slots)), len(binding.values)
            total *= size**own if binding.repeating else perm(size, own)
        return total

    def draws(self, slots: Sequence[str], rng: np.random.Generator, size: int) -> list[Row]:
        """The allowed ones among `size` rows at random."""
        columns: dict[str, list[Any]] = {}
        for binding in self.bindings:
            own = [name for name in binding.names if name in slots]
            picks = binding.picks(len(own), rng, size)
            for name, column in zip(own, picks.T, strict=True):
                columns[name] = [binding.values[i] for i in column]
        tests = [t for t in self.conditions if names_in(t) <= columns.keys()]
        values = zip(*columns.values(), strict=True)
        rows = (dict(zip(columns, row, strict=True)) for row in values)
        return [row for row in rows if all(holds(t, row) for t in tests)]

    def _binding(self, slot: str) -> Binding:
        return next(b for b in self.bindings if slot in b.names)


def choose(
    choices: Choices,
    forms: Sequence[Sequence[str]],
    has_answer: Callable[[Row], bool],
    n: int | None,
    seed: int,
    limit: int,
) -> list[tuple[int, Row]]:
    """n rows as (template, slot values), all different; every one when n is None (E422 when those
    are more than `limit`). `forms` are the slots of each template; `has_answer(row)` is false
    where no value fits an answer's slot. E423 when there are fewer than n."""
    most = sum(choices.most(slots) for slots in forms)
    if n is not None and most > LISTABLE:
        drawn = _drawn(choices, forms, has_answer, n, seed)
        if len(drawn) == n:
            return drawn
        if most > COUNTABLE:
            raise _too_rare(len(drawn), n)
    every = (
        (form, row)
        for form, slots in enumerate(forms)
        for row in choices.rows(slots)
        if has_answer(row)
    )
    if n is None:
        rows = list(islice(every, limit + 1))
        if len(rows) > limit:
            raise _too_many(limit)
        if not rows:
            raise _too_few(0, 1)
        return rows
    rows = list(every)
    if len(rows) < n:
        raise _too_few(len(rows), n)
    order = np.random.default_rng(seed).permutation(len(rows))[:n]
    return [rows[i] for i in order]


def _drawn(
    choices: Choices,
    forms: Sequence[Sequence[str]],
    has_answer: Callable[[Row], bool],
    n: int,
    seed: int,
) -> list[tuple[int, Row]]:
    """n different rows at random, or fewer where the conditions refuse too many."""
    rng = np.random.default_rng(seed)
    weights = np.array([choices.most(slots) for slots in forms], dtype=np.float64)
    rows: dict[tuple[Any, ...], tuple[int, Row]] = {}
    for _ in range(20 + 200 * n // BATCH):
        shares = rng.multinomial(BATCH, weights / weights.sum())
        batch = [
            (form, row)
            for form, share in enumerate(shares)
            for row in choices.draws(forms[form], rng, int(share))
        ]
        for at in rng.permutation(len(batch)):
            form, row = batch[at]
            if len(rows) < n and has_answer(row):
                rows.setdefault((form, *row.values()), (form, row))
        if len(rows) == n:
            break
    return list(rows.values())


def _too_rare(found: int, n: int) -> Exception:
    return fault(
        "E423",
        f"the conditions of this template refuse nearly every draw: {found:,} rows were found, "
        f"and n is {n:,}",
        help="loosen the conditions, or give lists of fewer values",
    )


def _too_many(limit: int) -> Exception:
    return fault(
        "E422",
        f"this template has more than {limit:,} combinations, and n is not given",
        help="say how many to draw: template(n=256, seed=0)",
    )


def _too_few(found: int, n: int) -> Exception:
    return fault(
        "E423",
        f"this template has {found:,} combinations that its `where` allows, and n is {n:,}",
        help=f"take n={found}, or more values" if found else "loosen the conditions",
    )
