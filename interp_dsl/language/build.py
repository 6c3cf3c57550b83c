"""From lark's parse tree to the language's own tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import lark

from interp_dsl.language import literals, tree
from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.language.keywords import RESERVED
from interp_dsl.language.mistakes import refusals
from interp_dsl.language.parsed import (
    Parsed,
    end_of,
    start_of,
    subtree,
    subtrees,
    token_at,
)
from interp_dsl.language.source import Source, Span

#: Trees nested deeper than this are refused, so that whoever walks one may recurse.
MAX_DEPTH = 100


class Refused(Exception):
    """A statement that the grammar takes and the language does not."""

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        super().__init__("; ".join(d.message for d in diagnostics))
        self.diagnostics = diagnostics


def build(source: Source, start: int, parsed: Parsed) -> tree.Statement:
    """The statement of a slice that begins at `start`; raises `Refused`."""
    builder = _Builder(source, start)
    statement = builder.statement(parsed)
    if builder.problems:
        raise Refused(builder.problems)
    return statement


class _Builder:
    def __init__(self, source: Source, start: int) -> None:
        self.source = source
        self.start = start
        self.problems: list[Diagnostic] = []
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
            "hook": self._hook,
            "index": self._index,
            "unary": self._unary,
            "binary": self._binary,
            "endpoints": self._binary,
            "not_in": self._binary,
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
                name, values = self._declared(parsed), self.expr(subtree(parsed, 3))
                return tree.Sweep(name=name, values=values, span=span)
            case "show":
                form = self._named(token_at(parsed, 3))
                return tree.Show(value=self.expr(subtree(parsed, 1)), form=form, span=span)
            case "expect":
                return tree.Expect(test=self.expr(subtree(parsed, 1)), span=span)
            case "step":
                value = self._sentence(parsed)
                name = self._declared(parsed)
                return tree.Declaration(keyword="step", name=name, value=value, span=span)
            case _:
                return self._declaration(parsed, span)

    def _import(self, parsed: Parsed, span: Span) -> tree.Import:
        path = self.expr(subtree(parsed, 1))
        assert isinstance(path, tree.String)
        alias = token_at(parsed, 3) if len(parsed.children) > 2 else None
        if alias is not None:
            self._free(alias)
        return tree.Import(path=path, alias=self._named(alias) if alias else None, span=span)

    def _declaration(self, parsed: Parsed, span: Span) -> tree.Declaration:
        return tree.Declaration(
            keyword=str(token_at(parsed, 0)),
            name=self._declared(parsed),
            value=self.expr(subtree(parsed, 2)),
            body=self._body(subtree(parsed, 3)) if len(parsed.children) > 3 else None,
            span=span,
        )

    def _declared(self, parsed: Parsed) -> tree.Name:
        name = token_at(parsed, 1)
        self._free(name)
        return self._named(name)

    def _free(self, name: lark.Token) -> None:
        if name in RESERVED:
            self.problems.append(refusals.reserved_name(str(name), self._token_span(name)))

    def _sentence(self, parsed: Parsed) -> tree.Phrase:
        verb, objects = subtree(parsed, 2), subtree(parsed, 3)
        word = self._named(token_at(verb, 0))
        if word.id in RESERVED:
            name = str(token_at(parsed, 1))
            self.problems.append(refusals.missing_verb(name, word.span))
        return tree.Phrase(
            verb=word,
            objects=tuple(self.expr(child) for child in subtrees(objects)),
            clauses=tuple(self._clause(child) for child in subtrees(parsed)[2:]),
            span=Span(self.source, word.span.start, self._span(parsed).end),
        )

    # ---- dataset bodies

    def _body(self, parsed: Parsed) -> tree.Body:
        entries = tuple(self._entry(child) for child in subtrees(parsed))
        return tree.Body(entries=entries, span=self._span(parsed))

    def _entry(self, parsed: Parsed) -> tree.Field | tree.Binding | tree.Condition:
        span = self._span(parsed)
        word, *_ = parsed.children
        values = tuple(self.expr(child) for child in subtrees(parsed))
        if parsed.data == "where":
            return self._restriction(values, span)
        name_span = self._token_span(cast(lark.Token, word))
        if word in ("show", "expect", "import"):
            self.problems.append(refusals.reserved_name(str(word), name_span))
        return tree.Field(name=str(word), values=values, name_span=name_span, span=span)

    def _restriction(
        self, values: tuple[tree.Expr, ...], span: Span
    ) -> tree.Binding | tree.Condition:
        """`where A, B in L` parses as a list whose last item is `B in L`: it is one binding."""
        *names, last = values
        if isinstance(last, tree.Binary) and last.op == "in":
            bound = [name for name in (*names, last.left) if isinstance(name, tree.Name)]
            if len(bound) == len(values):
                return tree.Binding(names=tuple(bound), choices=last.right, span=span)
        if names:
            self.problems.append(refusals.odd_restriction(span))
        return tree.Condition(test=last, span=span)

    # ---- phrases

    def _phrase(self, parsed: Parsed, span: Span) -> tree.Expr:
        value, *clauses = subtrees(parsed)
        return tree.Phrase(
            verb=None,
            objects=(self.expr(value),),
            clauses=tuple(self._clause(clause) for clause in clauses),
            span=span,
        )

    def _clause(self, parsed: Parsed) -> tree.Clause:
        word = token_at(parsed, 0)
        children = subtrees(parsed)
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
        while parsed.data == "bracketed":
            parsed = subtree(parsed, 1)
        span = self._span(parsed)
        if self.depth > MAX_DEPTH:
            raise Refused([refusals.too_deep(span, MAX_DEPTH)])
        made = self.expressions[parsed.data](parsed, span)
        self.depth -= 1
        return made

    def _name(self, parsed: Parsed, span: Span) -> tree.Expr:
        return tree.Name(id=str(parsed.children[0]), span=span)

    def _number(self, parsed: Parsed, span: Span) -> tree.Expr:
        try:
            value, suffix = literals.number(span.text)
        except OverflowError:
            self.problems.append(refusals.huge_number(span))
            value, suffix = 0, ""
        return tree.Number(value=value, suffix=suffix, span=span)

    def _string(self, parsed: Parsed, span: Span) -> tree.Expr:
        value, bad = literals.string(span.text)
        for start, end in bad:
            place = Span(self.source, span.start + start, span.start + end)
            self.problems.append(refusals.bad_escape(place))
        return tree.String(value=value, span=span)

    def _list(self, parsed: Parsed, span: Span) -> tree.Expr:
        return tree.ListOf(items=self._items(parsed), span=span)

    def _set(self, parsed: Parsed, span: Span) -> tree.Expr:
        return tree.SetOf(items=self._items(parsed), span=span)

    def _items(self, parsed: Parsed) -> tuple[tree.Expr, ...]:
        return tuple(self.expr(child) for child in subtrees(subtree(parsed, 1)))

    def _range(self, parsed: Parsed, span: Span) -> tree.Expr:
        start, stop, *every = (self.expr(child) for child in subtrees(parsed))
        return tree.Range(start=start, stop=stop, every=every[0] if every else None, span=span)

    def _call(self, parsed: Parsed, span: Span) -> tree.Expr:
        function = self.expr(subtree(parsed, 0))
        name = _dotted(function)
        if name is None:
            self.problems.append(refusals.not_a_function(function.span))
            name = ""
        arguments = self._arguments(subtree(parsed, 2))
        return tree.Call(function=name, arguments=arguments, name_span=function.span, span=span)

    def _arguments(self, parsed: Parsed) -> tuple[tree.Argument, ...]:
        return tuple(self._argument(child) for child in subtrees(parsed))

    def _argument(self, parsed: Parsed) -> tree.Argument:
        span = self._span(parsed)
        if parsed.data in ("named", "argument"):
            name, value = parsed.children
            return tree.Argument(name=str(name), value=self.expr(cast(Parsed, value)), span=span)
        return tree.Argument(name=None, value=self.expr(parsed), span=span)

    def _attribute(self, parsed: Parsed, span: Span) -> tree.Expr:
        word = cast(lark.Token, parsed.children[-1])
        value = self.expr(subtree(parsed, 0))
        name_span = self._token_span(word)
        return tree.Attribute(value=value, name=str(word), name_span=name_span, span=span)

    def _hook(self, parsed: Parsed, span: Span) -> tree.Expr:
        owner, name = (self.expr(child) for child in subtrees(parsed))
        assert isinstance(name, tree.String)
        return tree.Hook(model=owner, name=name, span=span)

    def _index(self, parsed: Parsed, span: Span) -> tree.Expr:
        value, arguments = subtrees(parsed)
        value_, arguments_ = self.expr(value), self._arguments(arguments)
        return tree.Index(value=value_, arguments=arguments_, span=span)

    def _unary(self, parsed: Parsed, span: Span) -> tree.Expr:
        return tree.Unary(
            op=str(token_at(parsed, 0)), value=self.expr(subtree(parsed, 1)), span=span
        )

    def _binary(self, parsed: Parsed, span: Span) -> tree.Expr:
        left, right = (self.expr(child) for child in subtrees(parsed))
        op = " ".join(child for child in parsed.children if isinstance(child, lark.Token))
        return tree.Binary(op=op, left=left, right=right, span=span)

    def _within(self, parsed: Parsed, span: Span) -> tree.Expr:
        value, tolerance, target = (self.expr(child) for child in subtrees(parsed))
        return tree.Within(value=value, tolerance=tolerance, target=target, span=span)

    # ---- places

    def _span(self, parsed: Parsed) -> Span:
        return Span(self.source, self.start + start_of(parsed), self.start + end_of(parsed))

    def _token_span(self, token: lark.Token) -> Span:
        start = self.start + cast(int, token.start_pos)
        return Span(self.source, start, start + len(token))

    def _named(self, token: lark.Token) -> tree.Name:
        return tree.Name(id=str(token), span=self._token_span(token))


def _dotted(function: tree.Expr) -> str | None:
    """The name of a function: `mean`, or with its model `chat.features`."""
    if isinstance(function, tree.Name):
        return function.id
    if isinstance(function, tree.Attribute):
        owner = _dotted(function.value)
        return None if owner is None else f"{owner}.{function.name}"
    return None
