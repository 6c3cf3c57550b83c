"""Datasets from templates: `template(n=256) { clean "When {A@IO} and {B@S1} went …" … }`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from interp_dsl.data.choices import Choices, Row, choose
from interp_dsl.data.conditions import conditions_of, names_in
from interp_dsl.data.faults import closest, count, fault, listed
from interp_dsl.data.marks import Part, fill, read_template, slots
from interp_dsl.data.prompts import assemble, own_side, text_side
from interp_dsl.data.tokenizer import load_tokenizer
from interp_dsl.data.types import Data
from interp_dsl.models.shape import ModelFacts

LIMIT = 10_000
"""Without n, a template of at most so many combinations makes all of them."""

Parts = tuple[Part, ...]


def build_template(name: str, spec: Mapping[str, Any], facts: ModelFacts) -> Data:
    """The dataset of a template's rows: the n-th clean template goes with the n-th corrupt one;
    columns hold the slots' values (None where a row's template lacks the slot)."""
    sides, answers = _read(spec, "clean", "corrupt"), _read(spec, "answer", "wrong")
    forms = _forms(name, sides)
    choices = Choices.of(spec.get("where") or (), conditions_of(spec))
    _check_bound([*forms, *(parts for texts in answers.values() for parts in texts)], choices)
    standing = {slot for parts in forms for slot in slots(parts)}
    asked = [s for texts in answers.values() for parts in texts for s in slots(parts)]
    needed = [s for s in asked if s in standing]
    wanted = [list(dict.fromkeys([*slots(parts), *needed])) for parts in forms]
    _check_conditions(choices, wanted, [slots(p) for texts in answers.values() for p in texts])

    def alternatives(texts: Sequence[Parts], row: Row) -> list[str]:
        return [text for parts in texts for text in _texts(choices, parts, row)]

    def has_answer(row: Row) -> bool:
        return all(alternatives(texts, row) for texts in answers.values())

    n, seed = spec.get("n"), int(spec.get("seed") or 0)
    rows = choose(choices, wanted, has_answer, None if n is None else int(n), seed, LIMIT)
    tokenizer = load_tokenizer(facts)
    paired = len(sides) == 2
    built = [
        text_side(
            key if paired else own_side(name),
            [fill(texts[form], row) for form, row in rows],
            tokenizer,
            facts,
        )
        for key, texts in sides.items()
    ]
    read = {k: [alternatives(texts, row) for _, row in rows] for k, texts in answers.items()}
    columns = [s for s in choices.names if s in standing]
    return assemble(
        name,
        built,
        read.get("answer"),
        read.get("wrong"),
        tokenizer,
        {slot: [row.get(slot) for _, row in rows] for slot in columns},
        np.array([form for form, _ in rows], dtype=np.int64),
        seed,
    )


def _read(spec: Mapping[str, Any], *keys: str) -> dict[str, list[Parts]]:
    return {key: [read_template(text) for text in spec[key]] for key in keys if spec.get(key)}


def _texts(choices: Choices, parts: Parts, row: Row) -> list[str]:
    """An answer's texts in one row: one, or one for every value of the slots that stand only
    there."""
    free = [slot for slot in slots(parts) if slot not in row]
    filled = choices.rows(free, row) if free else iter([row])
    return [fill(parts, values).text for values in filled]


def _forms(name: str, sides: Mapping[str, Sequence[Parts]]) -> list[Parts]:
    """The parts of each template, both sides together."""
    if not sides:
        raise fault("E407", f"{name} has no template", help='write clean "…"')
    lengths = {key: len(texts) for key, texts in sides.items()}
    if len(set(lengths.values())) > 1:
        raise fault(
            "E406",
            f"{name} has {count(lengths['clean'], 'clean template')} and "
            f"{count(lengths['corrupt'], 'corrupt template')}",
            help="the n-th clean template goes with the n-th corrupt one: write as many of each",
        )
    return [tuple(p for t in pair for p in t) for pair in zip(*sides.values(), strict=True)]


def _check_bound(texts: Sequence[Parts], choices: Choices) -> None:
    known = choices.names
    for slot in (s for parts in texts for s in slots(parts)):
        if slot not in known:
            raise fault(
                "E421",
                f"no `where` says what {{{slot}}} may be",
                f"the slots with values are {listed(known)}" if known else "no slot has values",
                help=closest(slot, known) or f'add `where {slot} in ["…", "…"]`',
            )
    twice = [slot for slot in known if known.count(slot) > 1]
    if twice:
        raise fault(
            "E421",
            f"two `where` lines give values to {{{twice[0]}}}",
            help="give each slot one list of values",
        )


def _check_conditions(
    choices: Choices, forms: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]
) -> None:
    """Every condition must meet all its slots in one template, or there and in one answer."""
    reach = [set(form) for form in forms]
    reach += [set(form) | set(answer) for form in forms for answer in answers]
    for test in choices.conditions:
        if not any(names_in(test) <= names for names in reach):
            raise fault(
                "E424",
                f"this condition relates {listed(sorted(names_in(test)))}, which never stand "
                "together",
                help="a condition may relate slots of one template, or of a template and its "
                "answer",
            )
