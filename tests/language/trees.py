"""Small constructors of trees; spans take no part in equality, so all share one."""

from __future__ import annotations

from interp_dsl.language import tree
from interp_dsl.language.parse import parse
from interp_dsl.language.source import Source, Span

SPAN = Span(Source(""), 0, 0)


def read(text: str) -> tree.Statement:
    """The one statement that a text holds."""
    program, problems = parse(Source(text))
    assert problems == []
    (statement,) = program.statements
    return statement


def value(text: str) -> tree.Expr:
    """An expression or phrase, as it stands behind `let x =`."""
    statement = read(f"let x = {text}")
    assert isinstance(statement, tree.Declaration)
    return statement.value


def codes(text: str) -> list[str]:
    return [problem.code for problem in parse(Source(text))[1]]


def name(word: str) -> tree.Name:
    return tree.Name(id=word, span=SPAN)


def number(amount: int | float, suffix: str = "") -> tree.Number:
    return tree.Number(value=amount, suffix=suffix, span=SPAN)


def string(text: str) -> tree.String:
    return tree.String(value=text, span=SPAN)


def listed(*items: tree.Expr) -> tree.ListOf:
    return tree.ListOf(items=items, span=SPAN)


def group(*items: tree.Expr) -> tree.SetOf:
    return tree.SetOf(items=items, span=SPAN)


def binary(left: tree.Expr, op: str, right: tree.Expr) -> tree.Binary:
    return tree.Binary(op=op, left=left, right=right, span=SPAN)


def unary(op: str, operand: tree.Expr) -> tree.Unary:
    return tree.Unary(op=op, value=operand, span=SPAN)


def span_of(start: tree.Expr, stop: tree.Expr, every: tree.Expr | None = None) -> tree.Range:
    return tree.Range(start=start, stop=stop, every=every, span=SPAN)


def attribute(owner: tree.Expr, *names: str) -> tree.Expr:
    for word in names:
        owner = tree.Attribute(value=owner, name=word, name_span=SPAN, span=SPAN)
    return owner


def dotted(text: str) -> tree.Expr:
    first, *rest = text.split(".")
    return attribute(name(first), *rest)


def hook(owner: tree.Expr, place: str) -> tree.Hook:
    return tree.Hook(model=owner, name=string(place), span=SPAN)


def call(function: str, *arguments: tree.Expr, **named: tree.Expr) -> tree.Call:
    return tree.Call(
        function=function, arguments=_arguments(arguments, named), name_span=SPAN, span=SPAN
    )


def index(owner: tree.Expr, *arguments: tree.Expr, **named: tree.Expr) -> tree.Index:
    return tree.Index(value=owner, arguments=_arguments(arguments, named), span=SPAN)


def _arguments(
    positional: tuple[tree.Expr, ...], named: dict[str, tree.Expr]
) -> tuple[tree.Argument, ...]:
    pairs = [(None, item) for item in positional] + list(named.items())
    return tuple(tree.Argument(name=key, value=item, span=SPAN) for key, item in pairs)


def clause(word: str, *values: tree.Expr, **named: tree.Expr) -> tree.Clause:
    return tree.Clause(
        word=word, values=values, named=_arguments((), named), word_span=SPAN, span=SPAN
    )


def phrase(*parts: tree.Expr | tree.Clause, verb: str | None = None) -> tree.Phrase:
    return tree.Phrase(
        verb=name(verb) if verb else None,
        objects=tuple(part for part in parts if not isinstance(part, tree.Clause)),
        clauses=tuple(part for part in parts if isinstance(part, tree.Clause)),
        span=SPAN,
    )
