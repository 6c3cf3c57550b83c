"""What a prompt's answer is: one token, a class of single tokens, or a sequence of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from interp_dsl.data.faults import fault, listed
from interp_dsl.data.tokenizer import Tokenizer
from interp_dsl.data.types import Answer

Written = str | int | Sequence[str | int]
"""An answer as data give it: its text, a token id, or several alternatives."""


def read_answer(written: Written, tokenizer: Tokenizer | None, row: int) -> Answer:
    """The tokens of an answer. One text of several tokens is a sequence; in a class every
    alternative must be one token (E440). E442 for an empty answer."""
    several = not isinstance(written, str | int)
    items: list[str | int] = list(written) if not isinstance(written, str | int) else [written]
    if not items or any(item == "" for item in items):
        raise fault(
            "E442",
            f"row {row} has an empty answer",
            help="every prompt needs an answer; leave the field out when there are none",
        )
    ids = [_ids(item, tokenizer) for item in dict.fromkeys(items)]
    long = [(item, i) for item, i in zip(dict.fromkeys(items), ids, strict=True) if len(i) > 1]
    if several and len(ids) > 1 and long and tokenizer is not None:
        raise _too_long(long, tokenizer, row)
    return Answer(tuple(dict.fromkeys(ids)))


def _ids(item: str | int, tokenizer: Tokenizer | None) -> tuple[int, ...]:
    if not isinstance(item, str):
        return (int(item),)
    if tokenizer is None:
        raise fault(
            "E401",
            f"the answer {item!r} is text, and there is no tokenizer to read it",
            help="give token ids, or a model with a tokenizer",
        )
    ids = tokenizer.continuation(item)
    if not ids:
        raise fault("E442", f"the answer {item!r} has no token", help="give a word or a token id")
    return ids


def _too_long(
    long: Sequence[tuple[str | int, tuple[int, ...]]], tokenizer: Tokenizer, row: int
) -> Exception:
    shown = [f"{item!r} = {'|'.join(map(tokenizer.token_text, ids))}" for item, ids in long]
    spaced = [
        repr(" " + item)
        for item, _ in long
        if isinstance(item, str) and len(tokenizer.continuation(" " + item)) == 1
    ]
    remedy = (
        f"with its leading space it is one token: {listed(spaced)}"
        if spaced
        else "keep alternatives of one token; a single answer may be a sequence of tokens"
    )
    return fault(
        "E440",
        f"an answer with alternatives needs each to be one token; {listed(shown, 3)}",
        f"row {row}",
        help=remedy,
    )


def read_answers(written: Sequence[Written], tokenizer: Tokenizer | None) -> tuple[Answer, ...]:
    """One answer a row. The same object, and the same text or id, is read once: classes of a
    thousand verbs are shared by thousands of rows."""
    known: dict[object, Answer] = {}
    read = []
    for row, item in enumerate(written):
        key = item if isinstance(item, str | int) else (id(item),)
        if key not in known:
            known[key] = read_answer(item, tokenizer, row)
        read.append(known[key])
    return tuple(read)


def check_apart(
    answers: tuple[Answer, ...], wrongs: tuple[Answer, ...], tokenizer: Tokenizer | None
) -> None:
    """E441 where the answer and the wrong answer of a row are the same tokens: every difference
    between them would be 0."""
    same = [
        row
        for row, (a, w) in enumerate(zip(answers, wrongs, strict=True))
        if len(a.alternatives) == len(w.alternatives) and set(a.alternatives) == set(w.alternatives)
    ]
    if not same:
        return
    first = answers[same[0]].alternatives[0]
    name = partial(_name, tokenizer)
    raise fault(
        "E441",
        f"answer and wrong answer are the same in {listed(['row ' + str(r) for r in same])}",
        f"row {same[0]}: both are {'|'.join(map(name, first))}",
        help="give a wrong answer that differs, or drop the row with `where`",
    )


def _name(tokenizer: Tokenizer | None, token: int) -> str:
    return repr(tokenizer.token_text(token)) if tokenizer else f"token {token}"
