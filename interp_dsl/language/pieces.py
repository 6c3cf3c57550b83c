"""A statement's tokens as the formatter sees them: spaces between, and where a line may break."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from interp_dsl.language import tree
from interp_dsl.language.keywords import STATEMENTS
from interp_dsl.language.scan import CLOSE, OPEN, Token

_BREAK_BEFORE = ("|", "&", "and", "or", "+", "-")


@dataclass(frozen=True, slots=True)
class Piece:
    """A token of the formatted text. A line may break before it where `level` is not None: 0 at a
    clause, else one more than the brackets around it."""

    text: str
    space: bool
    level: int | None = None
    comment: tree.Comment | None = None


@dataclass(frozen=True)
class Landmarks:
    """Offsets of what the tokens alone do not tell."""

    clauses: frozenset[int]
    openers: frozenset[int]
    signs: frozenset[int]

    @classmethod
    def of(cls, statement: tree.Node) -> Landmarks:
        """`openers` begin something that needs a space behind; `signs` are unary minuses."""
        clauses, openers, signs = set[int](), set[int](), set[int]()
        for node in walk(statement):
            match node:
                case tree.Clause():
                    openers.add(node.word_span.start)
                case tree.Field():
                    openers.add(node.name_span.start)
                case tree.Binding() | tree.Condition():
                    openers.add(node.span.start)
                case tree.Unary():
                    signs.add(node.span.start)
                case tree.Phrase(verb=tree.Name()):
                    openers.add(node.span.start)
        value = getattr(statement, "value", None)
        if isinstance(value, tree.Phrase):
            clauses = {clause.word_span.start for clause in value.clauses}
        return cls(frozenset(clauses), frozenset(openers), frozenset(signs))


def walk(node: tree.Node) -> Iterator[tree.Node]:
    """A node and all nodes within it."""
    yield node
    for field in fields(node):
        value = getattr(node, field.name)
        for child in value if isinstance(value, tuple) else (value,):
            if isinstance(child, tree.Node):
                yield from walk(child)


def pieces(
    tokens: Sequence[Token], marks: Landmarks, comments: Mapping[int, tree.Comment]
) -> Iterator[Piece]:
    """The tokens with the space before each, and the places where a line may break."""
    depth = 0
    last: Token | None = None
    for token, following in _with_following(tokens):
        if token.kind == "comment":
            comment = comments[token.start]
            yield Piece(comment.text, True, comment=comment)
            continue
        if token.text == "," and following is not None and following.text in CLOSE:
            continue
        depth -= token.text in CLOSE
        space = last is None or _spaced(last, token, marks)
        yield Piece(token.text, space, _level(last, token, depth, marks))
        depth += token.text in OPEN
        last = token


def _with_following(tokens: Sequence[Token]) -> Iterator[tuple[Token, Token | None]]:
    """Each token with the next that is no comment."""
    following: Token | None = None
    pairs: list[tuple[Token, Token | None]] = []
    for token in reversed(tokens):
        pairs.append((token, following))
        if token.kind != "comment":
            following = token
    return reversed(pairs)


def _level(last: Token | None, token: Token, depth: int, marks: Landmarks) -> int | None:
    if token.start in marks.clauses:
        return 0
    if last is None or token.text in STATEMENTS:
        return None
    joins = token.text in _BREAK_BEFORE and token.start not in marks.signs
    return depth + 1 if last.text == "," or joins else None


def _spaced(last: Token, token: Token, marks: Landmarks) -> bool:
    if token.kind == "mark" and token.text in (",", ")", "]", "}", ".", "..", "="):
        return False
    if last.kind == "mark" and last.text in ("(", "[", "{", ".", "..", "="):
        return False
    if last.start in marks.signs and last.text == "-":
        return False
    if token.text in ("(", "["):
        return not last.is_value_end or last.start in marks.openers
    return True
