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
from interp_dsl.plan.algebra import Expression

Row = dict[str, Any]
LISTABLE = 100_000
"""Up to so many combinations they are all listed before some are drawn."""
COUNTABLE = 2_000_000
"""Up to so many they are listed when the conditions refuse nearly every draw."""


@dataclass(frozen=True)
class Binding:
    """One `where … in …`: its names take values that differ from each other, unless repeating."""

    names: tuple[str, ...]
    values: tuple[Any, ...]
    repeating: bool


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
        wanted = [s for s in self.names if s in set(slots)]
        known = set(row) | set(wanted)
        tests = [t for t in self.conditions if names_in(t) <= known]

        def extend(at: int) -> Iterator[Row]:
            if at == len(wanted):
                yield dict(row)
                return
            for value in self._binding(wanted[at]).values:
                if self._allowed(wanted[at], value, row):
                    row[wanted[at]] = value
                    if _hold(tests, wanted[at], row):
                        yield from extend(at + 1)
                    del row[wanted[at]]

        return extend(0)

    def most(self, slots: Sequence[str]) -> int:
        """How many rows the slots have when no condition takes any away."""
        total = 1
        for binding in self.bindings:
            own, size = len(set(binding.names) & set(slots)), len(binding.values)
            total *= size**own if binding.repeating else perm(size, own)
        return total

    def draw(self, slots: Sequence[str], rng: np.random.Generator) -> Row | None:
        """A row at random, None when a condition refuses it."""
        row: Row = {}
        for binding in self.bindings:
            own = [name for name in binding.names if name in slots]
            if own and (binding.repeating or len(own) <= len(binding.values)):
                picks = rng.choice(len(binding.values), size=len(own), replace=binding.repeating)
                row |= {name: binding.values[i] for name, i in zip(own, picks, strict=True)}
        tests = [t for t in self.conditions if names_in(t) <= set(row)]
        return row if all(holds(t, row) for t in tests) else None

    def _binding(self, slot: str) -> Binding:
        return next(b for b in self.bindings if slot in b.names)

    def _allowed(self, slot: str, value: Any, row: Row) -> bool:
        binding = self._binding(slot)
        return binding.repeating or all(row.get(other, _UNSET) != value for other in binding.names)


_UNSET = object()


def _hold(tests: Sequence[Expression], latest: str, row: Row) -> bool:
    ready = (t for t in tests if latest in names_in(t) and names_in(t) <= row.keys())
    return all(holds(t, row) for t in ready)


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
    weights /= weights.sum()
    rows: dict[tuple[Any, ...], tuple[int, Row]] = {}
    for _ in range(200 * n + 10_000):
        if len(rows) == n:
            break
        form = int(rng.choice(len(forms), p=weights))
        row = choices.draw(forms[form], rng)
        if row is not None and has_answer(row):
            rows.setdefault((form, *row.values()), (form, row))
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
