"""From lark's parse tree to the language's own tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

import lark

from interp_dsl.language import literals, tree
from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.language.keywords import CLAUSES, RESERVED
from interp_dsl.language.source import Source, Span

#: Trees nested deeper than this are refused, so that whoever walks one may recurse.
MAX_DEPTH = 100

Parsed: TypeAlias = lark.Tree[lark.Token]


class Refused(Exception):
    """A statement that the grammar takes and the language does not."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


def build(source: Source, parsed: Parsed) -> tree.Statement:
    """The statement that a parse tree says; raises `Refused`."""
    return _Builder(source).statement(parsed)


class _Builder:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.depth = 0
        self.expressions: dict[str, Callable[[Parsed, Span], tree.Expr]] = {
            "name": self._name,
            "clause_word": self._name,
            "number": self._number,
            "string": self._string,
            "list": self._list,
            "set": self._set,
            "range": self._range,
            "call": self._call,
            "attribute": self._attribute,
            "index": self._index,
            "unary": self._unary,
            "binary": self._binary,
            "endpoints": self._binary,
            "not_in": self._not_in,
            "within": self._within,
            "phrase": self._phrase,
        }

    # ---- statements

    def statement(self, parsed: Parsed) -> tree.Statement:
        span = self._span(parsed)
        match parsed.data:
            case "import":
                return self._import(parsed, span)
            case "sweep":
                name, values = self._declared(parsed), self.expr(_tree(parsed, 3))
                return tree.Sweep(name=name, values=values, span=span)
            case "show":
                form = self._named(_token(parsed, 3))
                return tree.Show(value=self.expr(_tree(parsed, 1)), form=form, span=span)
            case "expect":
                return tree.Expect(test=self.expr(_tree(parsed, 1)), span=span)
            case "step":
                value = self._sentence(parsed)
                name = self._declared(parsed)
                return tree.Declaration(keyword="step", name=name, value=value, span=span)
            case _:
                return self._declaration(parsed, span)

    def _import(self, parsed: Parsed, span: Span) -> tree.Import:
        path = self.expr(_tree(parsed, 1))
        assert isinstance(path, tree.String)
        alias = _token(parsed, 3) if len(parsed.children) > 2 else None
        if alias is not None:
            self._free(alias)
        return tree.Import(path=path, alias=self._named(alias) if alias else None, span=span)

    def _declaration(self, parsed: Parsed, span: Span) -> tree.Declaration:
        return tree.Declaration(
            keyword=str(_token(parsed, 0)),
            name=self._declared(parsed),
            value=self.expr(_tree(parsed, 2)),
            body=self._body(_tree(parsed, 3)) if len(parsed.children) > 3 else None,
            span=span,
        )

    def _declared(self, parsed: Parsed) -> tree.Name:
        name = _token(parsed, 1)
        self._free(name)
        return self._named(name)

    def _free(self, name: lark.Token) -> None:
        if name in RESERVED:
            raise Refused(reserved_name(str(name), self._token_span(name)))

    def _sentence(self, parsed: Parsed) -> tree.Phrase:
        verb, objects = _tree(parsed, 2), _tree(parsed, 3)
        return tree.Phrase(
            verb=self._named(_token(verb, 0)),
            objects=tuple(self.expr(child) for child in _trees(objects)),
            clauses=tuple(self._clause(child) for child in _trees(parsed)[2:]),
            span=Span(self.source, self._span(verb).start, self._span(parsed).end),
        )

    # ---- dataset bodies

    def _body(self, parsed: Parsed) -> tree.Body:
        entries = tuple(self._entry(child) for child in _trees(parsed))
        return tree.Body(entries=entries, span=self._span(parsed))

    def _entry(self, parsed: Parsed) -> tree.Field | tree.Binding | tree.Condition:
        span = self._span(parsed)
        word, *_ = parsed.children
        values = tuple(self.expr(child) for child in _trees(parsed))
        if parsed.data == "where":
            return _restriction(values, span)
        name_span = self._token_span(cast(lark.Token, word))
        return tree.Field(name=str(word), values=values, name_span=name_span, span=span)

    # ---- phrases

    def _phrase(self, parsed: Parsed, span: Span) -> tree.Expr:
        value, *clauses = _trees(parsed)
        return tree.Phrase(
            verb=None,
            objects=(self.expr(value),),
            clauses=tuple(self._clause(clause) for clause in clauses),
            span=span,
        )

    def _clause(self, parsed: Parsed) -> tree.Clause:
        word = _token(parsed, 0)
        children = _trees(parsed)
        return tree.Clause(
            word=str(word),
            values=tuple(self.expr(child) for child in children if child.data != "named"),
            named=tuple(self._argument(child) for child in children if child.data == "named"),
            word_span=self._token_span(word),
            span=self._span(parsed),
        )

    # ---- expressions

    def expr(self, parsed: Parsed) -> tree.Expr:
        self.depth += 1
        span = self._span(parsed)
        if self.depth > MAX_DEPTH:
            raise Refused(too_deep(span))
        made = self.expressions[parsed.data](parsed, span)
        self.depth -= 1
        return made

    def _name(self, parsed: Parsed, span: Span) -> tree.Expr:
        return tree.Name(id=str(parsed.children[0]), span=span)

    def _number(self, parsed: Parsed, span: Span) -> tree.Expr:
        try:
            value, suffix = literals.number(str(parsed.children[0]))
        except OverflowError:
            raise Refused(
                Diagnostic(
                    "E117",
                    "this number is out of range",
                    span,
                    "numbers reach to about 1.8e308",
                )
            ) from None
        return tree.Number(value=value, suffix=suffix, span=span)

    def _string(self, parsed: Parsed, span: Span) -> tree.Expr:
        try:
            return tree.String(value=literals.string(str(parsed.children[0])), span=span)
        except literals.BadEscape as bad:
            at = Span(self.source, span.start + bad.start, span.start + bad.end)
        raise Refused(
            Diagnostic(
                "E116",
                "this escape means nothing",
                at,
                r"escapes are \n \t \r \" \\ \x41 \u0041 \U0001f600",
                help=r"write \\ for a backslash",
            )
        )

    def _list(self, parsed: Parsed, span: Span) -> tree.Expr:
        return tree.ListOf(items=self._items(parsed), span=span)

    def _set(self, parsed: Parsed, span: Span) -> tree.Expr:
        return tree.SetOf(items=self._items(parsed), span=span)

    def _items(self, parsed: Parsed) -> tuple[tree.Expr, ...]:
        return tuple(self.expr(child) for child in _trees(_tree(parsed, 0)))

    def _range(self, parsed: Parsed, span: Span) -> tree.Expr:
        start, stop, *every = (self.expr(child) for child in _trees(parsed))
        return tree.Range(start=start, stop=stop, every=every[0] if every else None, span=span)

    def _call(self, parsed: Parsed, span: Span) -> tree.Expr:
        function = self.expr(_tree(parsed, 0))
        name = _dotted(function)
        if name is None:
            raise Refused(Diagnostic("E118", "only a function's name can be called", function.span))
        arguments = self._arguments(_tree(parsed, 1))
        return tree.Call(function=name, arguments=arguments, name_span=function.span, span=span)

    def _arguments(self, parsed: Parsed) -> tuple[tree.Argument, ...]:
        return tuple(self._argument(child) for child in _trees(parsed))

    def _argument(self, parsed: Parsed) -> tree.Argument:
        span = self._span(parsed)
        if parsed.data in ("named", "argument"):
            name, value = parsed.children
            return tree.Argument(name=str(name), value=self.expr(cast(Parsed, value)), span=span)
        return tree.Argument(name=None, value=self.expr(parsed), span=span)

    def _attribute(self, parsed: Parsed, span: Span) -> tree.Expr:
        word = _token(parsed, 1)
        value = self.expr(_tree(parsed, 0))
        name_span = self._token_span(word)
        return tree.Attribute(value=value, name=str(word), name_span=name_span, span=span)

    def _index(self, parsed: Parsed, span: Span) -> tree.Expr:
        value, arguments = _trees(parsed)
        value_, arguments_ = self.expr(value), self._arguments(arguments)
        return tree.Index(value=value_, arguments=arguments_, span=span)

    def _unary(self, parsed: Parsed, span: Span) -> tree.Expr:
        return tree.Unary(op=str(_token(parsed, 0)), value=self.expr(_tree(parsed, 1)), span=span)

    def _binary(self, parsed: Parsed, span: Span) -> tree.Expr:
        left, right = (self.expr(child) for child in _trees(parsed))
        return tree.Binary(op=str(_token(parsed, 1)), left=left, right=right, span=span)

    def _not_in(self, parsed: Parsed, span: Span) -> tree.Expr:
        left, right = (self.expr(child) for child in _trees(parsed))
        return tree.Binary(op="not in", left=left, right=right, span=span)

    def _within(self, parsed: Parsed, span: Span) -> tree.Expr:
        value, tolerance, target = (self.expr(child) for child in _trees(parsed))
        return tree.Within(value=value, tolerance=tolerance, target=target, span=span)

    # ---- places

    def _span(self, parsed: Parsed) -> Span:
        # A rule that matched nothing has no place; nothing asks for one.
        meta = parsed.meta
        return Span(self.source, meta.start_pos, meta.end_pos)

    def _token_span(self, token: lark.Token) -> Span:
        start = cast(int, token.start_pos)
        return Span(self.source, start, start + len(token))

    def _named(self, token: lark.Token) -> tree.Name:
        return tree.Name(id=str(token), span=self._token_span(token))


def _trees(parsed: Parsed) -> list[Parsed]:
    return [child for child in parsed.children if isinstance(child, lark.Tree)]


def _tree(parsed: Parsed, index: int) -> Parsed:
    return cast(Parsed, parsed.children[index])


def _token(parsed: Parsed, index: int) -> lark.Token:
    return cast(lark.Token, parsed.children[index])


def _dotted(function: tree.Expr) -> str | None:
    """The name of a function: `mean`, or with its model `chat.features`."""
    if isinstance(function, tree.Name):
        return function.id
    if isinstance(function, tree.Attribute):
        owner = _dotted(function.value)
        return None if owner is None else f"{owner}.{function.name}"
    return None


def _restriction(values: tuple[tree.Expr, ...], span: Span) -> tree.Binding | tree.Condition:
    """`where A, B in L` parses as a list whose last item is `B in L`: read it as one binding."""
    *names, last = values
    if isinstance(last, tree.Binary) and last.op == "in":
        bound = [name for name in (*names, last.left) if isinstance(name, tree.Name)]
        if len(bound) == len(values):
            return tree.Binding(names=tuple(bound), choices=last.right, span=span)
    if names:
        raise Refused(
            Diagnostic(
                "E119",
                "this `where` is neither a choice nor a condition",
                span,
                help="write `where A, B in [...]` for a choice, `where A > B` for a condition",
            )
        )
    return tree.Condition(test=last, span=span)


def reserved_name(name: str, span: Span) -> Diagnostic:
    """A declaration whose name is a word of the language."""
    kind = "clause" if name in CLAUSES else "statement" if name not in ("or",) else "operator"
    return Diagnostic("E113", f"`{name}` is a {kind} word and cannot be a name", span)


def too_deep(span: Span) -> Diagnostic:
    """An expression nested beyond what anything that walks it is asked to bear."""
    return Diagnostic(
        "E115",
        "this is nested too deep",
        span,
        f"more than {MAX_DEPTH} levels",
        help="give a part of it a name with `let` or `units`, or write a set `{a, b, c}`",
    )
