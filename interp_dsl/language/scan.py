"""Reading text without parsing it: where statements open, comments, strings, loose tokens."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from interp_dsl.language.keywords import CLAUSES, DECLARATIONS, OPERATORS, STATEMENTS
from interp_dsl.language.source import Source, Span
from interp_dsl.language.tree import Comment

_TRIPLE = r'"""(?:[^\\]|\\[\s\S])*?"""'
_SINGLE = r'"(?!"")(?:[^"\\\r\n]|\\[^\r\n])*"'
_NAMED = "|".join(word for word in DECLARATIONS if word != "param")
_LANDMARKS = rf"""
    (?P<string> {_TRIPLE} | {_SINGLE} )
  | (?P<unclosed> "[^\r\n]* )
  | (?P<comment> \#[^\n]* )
  | ^ \ufeff? [ \t]* (?P<opening>
        (?:{_NAMED}) (?= [ \t]+ [A-Za-z_]\w* [ \t]* = )
      | param        (?= [ \t]+ [A-Za-z_]\w* [ \t]* (?: = | in\b ) )
      | import       (?= [ \t]* " )
      | (?:show|expect) \b (?! [ \t]* =(?!=) )
    )
"""


def _patterns(pattern: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The pattern, and the one to go on with behind triple quotes without end: no later
    ones have one either, and to look for it every time would cost the square of the file."""
    flags = re.VERBOSE | re.MULTILINE
    return re.compile(pattern, flags), re.compile(pattern.replace(f"{_TRIPLE} |", ""), flags)


_LANDMARK, _LANDMARK_UNCLOSED = _patterns(_LANDMARKS)


@dataclass(frozen=True, slots=True)
class Slice:
    """Characters `start` to `end` that hold one statement, and the strings in it without end."""

    start: int
    end: int
    unclosed: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Cut:
    """A file cut into statements; the first slice is what stands before the first opening."""

    slices: tuple[Slice, ...]
    comments: tuple[Comment, ...]


def cut(source: Source) -> Cut:
    """Cut a file at the lines that open a statement, whatever brackets are open there."""
    starts: list[int] = [1 if source.text.startswith("\ufeff") else 0]
    comments: list[Comment] = []
    unclosed: list[Span] = []
    pattern, position = _LANDMARK, 0
    while found := pattern.search(source.text, position):
        position = found.end()
        match found.lastgroup:
            case "opening":
                starts.append(found.start("opening"))
            case "comment":
                comments.append(_comment(source, found.start(), found.end()))
            case "unclosed":
                unclosed.append(Span(source, found.start(), found.end()))
                if found[0].startswith('"""'):
                    pattern = _LANDMARK_UNCLOSED
    whole = Slice(starts[0], len(source.text), tuple(unclosed))
    return Cut(_divide(whole, starts), tuple(comments))


def _divide(whole: Slice, starts: list[int]) -> tuple[Slice, ...]:
    ends = [*starts[1:], whole.end]
    places = [span.start for span in whole.unclosed]
    return tuple(
        Slice(a, b, whole.unclosed[bisect_left(places, a) : bisect_left(places, b)])
        for a, b in zip(starts, ends, strict=True)
    )


def _comment(source: Source, start: int, end: int) -> Comment:
    line_start = source.text.rfind("\n", 0, start) + 1
    own_line = not source.text[line_start:start].strip(" \t\f\r\ufeff")
    text = source.text[start:end].rstrip()
    return Comment(text, Span(source, start, start + len(text)), own_line)


# ---- loose tokens

OPEN = {"(": ")", "[": "]", "{": "}"}
CLOSE = {closing: opening for opening, closing in OPEN.items()}


@dataclass(frozen=True, slots=True)
class Token:
    """A token as the eye reads it. `kind` is word, number, string, comment, mark or odd."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def is_value_end(self) -> bool:
        """Whether a value may end here, so that what follows is an operator or a new thing."""
        if self.kind == "word":
            return self.text not in OPERATORS
        return self.kind in ("number", "string") or self.text in (")", "]", "}")


_TOKENS = rf"""
    (?P<string> {_TRIPLE} | {_SINGLE} )
  | (?P<unclosed> "[^\r\n]* )
  | (?P<comment> \#[^\n]* )
  | (?P<number> [0-9](?: [eE][+-][0-9] | \.[0-9] | \w )* (?: %\w* )? )
  | (?P<word> [^\W\d]\w* )
  | (?P<mark> -> | \.\. | == | != | <= | >= | [-+*/<>=|&.,()\[\]{{}}] )
  | (?P<odd> [^ \t\r\n\f] )
"""
_TOKEN, _TOKEN_UNCLOSED = _patterns(_TOKENS)


def tokens(text: str, start: int = 0, end: int | None = None) -> Iterator[Token]:
    """The tokens of a stretch of text, comments among them; any text has some."""
    pattern = _TOKEN
    position, stop = start, len(text) if end is None else end
    while found := pattern.search(text, position, stop):
        position = found.end()
        kind = found.lastgroup or "odd"
        if kind == "unclosed":
            kind = "string"
            if found[0].startswith('"""'):
                pattern = _TOKEN_UNCLOSED
        yield Token(kind, found[0], found.start(), position)


def openings(text: str, piece: Slice) -> tuple[Slice, ...]:
    """Cut a slice that does not parse at lines that seem to open a statement of their own."""
    found = list(code(text, piece))
    starts = [piece.start]
    depth = 0
    for i, token in enumerate(found):
        first = i > 0 and "\n" in text[found[i - 1].end : token.start]
        if first and token.kind == "word" and _seems_to_open(found[i : i + 3], depth):
            starts.append(token.start)
            depth = 0
        depth += (token.text in OPEN) - (token.text in CLOSE)
    return _divide(piece, starts)


def _seems_to_open(line: list[Token], depth: int) -> bool:
    word, *rest = line
    if word.text in CLAUSES or word.text in OPERATORS or not rest:
        return False
    if rest[0].text == "=":
        return depth <= 0
    if word.text in STATEMENTS and rest[0].kind != "mark":
        return True
    return rest[0].kind == "word" and [token.text for token in rest[1:]] == ["="]


def code(text: str, piece: Slice) -> Iterator[Token]:
    """The tokens of a slice without its comments."""
    return (token for token in tokens(text, piece.start, piece.end) if token.kind != "comment")


def deepest(text: str, piece: Slice, limit: int) -> int | None:
    """Where a slice opens more brackets within each other than `limit`, None where it does not."""
    if sum(text.count(bracket, piece.start, piece.end) for bracket in OPEN) <= limit:
        return None
    depth = 0
    for token in code(text, piece):
        depth += (token.text in OPEN) - (token.text in CLOSE)
        if depth > limit:
            return token.start
    return None
