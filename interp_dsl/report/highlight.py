"""An experiment's text as lines of coloured pieces, by the language's own lexer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from interp_dsl.language.keywords import CLAUSES, OPERATORS, STATEMENTS
from interp_dsl.language.scan import Token, code, cut, tokens
from interp_dsl.language.source import Source

_PLACE = re.compile(r"L\d+(H\d+)?")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of one line; `kind` is statement, clause, operator, call, place, number, string,
    comment, or empty for all else."""

    kind: str
    text: str


def highlighted(text: str) -> list[list[Piece]]:
    """The pieces of every line; joined they are the text, tabs as spaces."""
    lines: list[list[Piece]] = [[]]
    for piece in _pieces(text.expandtabs(4).replace("\r\n", "\n").removesuffix("\n")):
        for i, part in enumerate(piece.text.split("\n")):
            if i:
                lines.append([])
            if part:
                lines[-1].append(Piece(piece.kind, part))
    return lines


def statement(text: str, step: str) -> str | None:
    """The statement of a step as it is written; None where another file holds it."""
    for part in cut(Source(text)).slices:
        words = list(code(text, part))
        if [token.text for token in words[:2]] == ["step", step]:
            return text[words[0].start : words[-1].end]
    return None


def _pieces(text: str) -> Iterator[Piece]:
    found = list(tokens(text))
    place = 0
    for token, following in pairwise([*found, None]):
        assert token is not None
        if place < token.start:
            yield Piece("", text[place : token.start])
        yield Piece(_kind(token, following), token.text)
        place = token.end
    if place < len(text):
        yield Piece("", text[place:])


def _kind(token: Token, following: Token | None) -> str:
    if token.kind != "word":
        return token.kind if token.kind in ("number", "string", "comment") else ""
    for kind, words in (("statement", STATEMENTS), ("clause", CLAUSES), ("operator", OPERATORS)):
        if token.text in words:
            return kind
    if following is not None and following.text == "(" and following.start == token.end:
        return "call"
    return "place" if _PLACE.fullmatch(token.text) else ""
