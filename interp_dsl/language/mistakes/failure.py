"""What is known of a statement that did not parse."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import lark

from interp_dsl.language.keywords import CLAUSES, OPERATORS
from interp_dsl.language.scan import CLOSE, OPEN, Slice, Token, code
from interp_dsl.language.source import Source, Span

_PLAIN = {
    "_EQUAL": "`=`",
    "IN": "`in`",
    "AS": "`as`",
    "OF": "`of`",
    "_COMMA": "a comma",
    "_RPAR": "`)`",
    "_RSQB": "`]`",
    "_RBRACE": "`}`",
    "$END": "the end of the statement",
}
_JOINING = tuple(word for word in OPERATORS if word != "not")


@dataclass(frozen=True)
class Failure:
    """A refused statement: its tokens, and the first one (by `index`) that could not stand."""

    source: Source
    tokens: list[Token]
    index: int
    accepts: frozenset[str]

    @classmethod
    def read(cls, source: Source, piece: Slice, error: lark.UnexpectedInput) -> Failure:
        """What lark's error says, seen from the text."""
        found = list(code(source.text, piece))
        offset, accepts = piece.start + (error.pos_in_stream or 0), set[str]()
        if isinstance(error, lark.UnexpectedToken):
            accepts = error.accepts or error.expected
            if error.token.type == "$END":
                offset = found[-1].end
        elif isinstance(error, lark.UnexpectedCharacters):
            accepts = error.allowed
        index = next((i for i, token in enumerate(found) if token.end > offset), len(found))
        return cls(source, found, index, frozenset(accepts))

    @property
    def keyword(self) -> str:
        return self.tokens[0].text

    @property
    def token(self) -> Token | None:
        """The token that could not stand, None at the end of the statement."""
        return self.tokens[self.index] if self.index < len(self.tokens) else None

    def before(self, distance: int = 1) -> Token | None:
        """A token before the one that could not stand."""
        return self.tokens[self.index - distance] if self.index >= distance else None

    @cached_property
    def open(self) -> list[Token]:
        """The brackets open at the failure, outermost first."""
        stack: list[Token] = []
        for token in self.tokens[: self.index]:
            if token.text in OPEN:
                stack.append(token)
            elif token.text in CLOSE and stack:
                stack.pop()
        return stack

    @cached_property
    def never_closed(self) -> Token | None:
        """The innermost bracket open at the failure, if nothing after it closes it either."""
        stack = list(self.open)
        for token in self.tokens[self.index :]:
            if token.text in OPEN:
                stack.append(token)
            elif token.text in CLOSE:
                if not stack or stack[-1].text != CLOSE[token.text]:
                    break
                stack.pop()
        return next((token for token in reversed(self.open) if token in stack), None)

    @property
    def in_body(self) -> bool:
        """Whether the failure stands in a dataset's body, in no bracket of an entry."""
        return self.keyword == "dataset" and [token.text for token in self.open] == ["{"]

    def span(self, token: Token) -> Span:
        return Span(self.source, token.start, token.end)

    def after(self, token: Token) -> Span:
        """The place right behind a token."""
        return Span(self.source, token.end, token.end)

    @property
    def expected(self) -> str:
        """What could have stood here, in words; empty when that would be a long list."""
        words = []
        if "NUMBER" in self.accepts:
            words.append("a value")
        elif "NAME" in self.accepts:
            words.append("a field" if self.in_body else "a name")
        elif "STRING" in self.accepts:
            words.append("a string")
        if "OR" in self.accepts:
            words.append("an operator")
        if {"OR", "CLAUSE"} <= self.accepts and not self.in_body:
            words.append("a clause")
        hidden = {"AS", "OF"} if "CLAUSE" in self.accepts else set()
        hidden |= {"IN", "_EQUAL"} if "OR" in self.accepts else set()
        words += [_PLAIN[name] for name in _PLAIN if name in self.accepts - hidden]
        return alternatives(words)


def alternatives(words: list[str]) -> str:
    """`a, b or c`"""
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def starts_value(token: Token) -> bool:
    """Whether a value may begin here."""
    if token.kind == "word":
        return token.text not in CLAUSES and token.text not in (
            "or",
            "and",
            "in",
            "within",
            "every",
        )
    return token.kind in ("number", "string") or token.text in OPEN
