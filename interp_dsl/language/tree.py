"""The syntax tree: frozen nodes, each with its span. Spans take no part in equality."""

from __future__ import annotations

from dataclasses import dataclass, field

from interp_dsl.language.source import Source, Span


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    span: Span = field(repr=False, compare=False)


# ---- expressions


@dataclass(frozen=True, kw_only=True, slots=True)
class Name(Node):
    """A bare word: a declared name, a family, a place such as `L9H6`, `true`, `false`, `all`."""

    id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Number(Node):
    """`value` has its suffix applied for k, M, B; `suffix` keeps `%` and `x` (50% has value 50)."""

    value: int | float
    suffix: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class String(Node):
    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ListOf(Node):
    """`[a, b]`"""

    items: tuple[Expr, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SetOf(Node):
    """`{a, b}`"""

    items: tuple[Expr, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Range(Node):
    """`start..stop every step`, both ends in."""

    start: Expr
    stop: Expr
    every: Expr | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument(Node):
    """One argument of a call or index; `name` is None when positional."""

    name: str | None
    value: Expr


@dataclass(frozen=True, kw_only=True, slots=True)
class Call(Node):
    """`function(arguments)`; `name_span` covers the function's name alone."""

    function: str
    arguments: tuple[Argument, ...]
    name_span: Span = field(repr=False, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribute(Node):
    """`value.name`"""

    value: Expr
    name: str
    name_span: Span = field(repr=False, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hook(Node):
    """`model."blocks.1.attn.hook_z"`"""

    model: Expr
    name: String


@dataclass(frozen=True, kw_only=True, slots=True)
class Index(Node):
    """`value[arguments]`, as `who[L9H6 at END, k=64]`; a positional argument may be a phrase."""

    value: Expr
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unary(Node):
    """`-x` or `not x`"""

    op: str
    value: Expr


@dataclass(frozen=True, kw_only=True, slots=True)
class Binary(Node):
    """`op` is one of: or and | & -> + - * / == != < <= > >= in `not in`."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, kw_only=True, slots=True)
class Within(Node):
    """`value within tolerance of target`"""

    value: Expr
    tolerance: Expr
    target: Expr


@dataclass(frozen=True, kw_only=True, slots=True)
class Clause(Node):
    """`word value, value`; `word` is from with on of at along by under measure until using as where
    layers keep into to. Inside brackets a clause has one value. `named` holds options such as
    `until tokens=50M`."""

    word: str
    values: tuple[Expr, ...]
    named: tuple[Argument, ...] = ()
    word_span: Span = field(repr=False, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Phrase(Node):
    """Objects with clauses, as `heads layers 7..11 at END`; `verb` is set in steps alone.
    An expression without verb and clauses is never wrapped in a Phrase."""

    verb: Name | None
    objects: tuple[Expr, ...]
    clauses: tuple[Clause, ...]


Expr = (
    Name
    | Number
    | String
    | ListOf
    | SetOf
    | Range
    | Call
    | Attribute
    | Hook
    | Index
    | Unary
    | Binary
    | Within
    | Phrase
)


# ---- dataset bodies


@dataclass(frozen=True, kw_only=True, slots=True)
class Field(Node):
    """`name value, value` in a body: `clean "…", "…"`, `answer " {A}"`."""

    name: str
    values: tuple[Expr, ...]
    name_span: Span = field(repr=False, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Binding(Node):
    """`where A, B in choices` in a body: distinct choices of one list for every name."""

    names: tuple[Name, ...]
    choices: Expr


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition(Node):
    """`where Z > Y` in a body."""

    test: Expr


@dataclass(frozen=True, kw_only=True, slots=True)
class Body(Node):
    entries: tuple[Field | Binding | Condition, ...]


# ---- statements


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement(Node):
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class Import(Statement):
    path: String
    alias: Name | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration(Statement):
    """`keyword name = value`; keyword is param, model, metric, units, let, step or dataset.
    `body` belongs to a dataset alone; a step's value is a Phrase with a verb."""

    keyword: str
    name: Name
    value: Expr
    body: Body | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep(Statement):
    """`param name in [values]`"""

    name: Name
    values: Expr


@dataclass(frozen=True, kw_only=True, slots=True)
class Show(Statement):
    value: Expr
    form: Name


@dataclass(frozen=True, kw_only=True, slots=True)
class Expect(Statement):
    test: Expr


@dataclass(frozen=True, slots=True)
class Comment:
    """A `#` comment; `own_line` tells one that stands alone from one behind code."""

    text: str
    span: Span = field(repr=False, compare=False)
    own_line: bool


@dataclass(frozen=True, slots=True)
class Program:
    """A parsed file: the statements that parsed (broken ones are diagnostics) and all comments."""

    source: Source = field(repr=False, compare=False)
    statements: tuple[Statement, ...]
    comments: tuple[Comment, ...] = ()
