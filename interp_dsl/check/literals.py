"""Plain values: numbers, strings, words, lists, paths, and the arguments of functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.language.source import Span
from interp_dsl.language.suggest import suggest
from interp_dsl.language.tree import (
    Argument,
    Attribute,
    Call,
    Expr,
    ListOf,
    Name,
    Number,
    Range,
    String,
    Sweep,
    Unary,
)
from interp_dsl.verbs.signature import Function, Parameter

_WORDS: dict[str, Any] = {"true": True, "false": False, "none": None}

_TYPE_NAMES = {
    "int": "a whole number",
    "number": "a number",
    "string": "a string",
    "word": "a word",
    "bool": "true or false",
    "path": "a path in quotes",
    "text": "a string",
    "texts": "a string or a list of strings",
    "paths": "a path or a list of paths",
    "answers": "a string, a number or a list of them",
    "list": "a list",
    "any": "a plain value",
}


def describe(value: Any) -> str:
    """A value as a message names it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'the string "{value}"'
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return f"{value}"


def literal(expr: Expr, scope: Scope) -> Any:
    """The value of a literal expression: int, float, str, bool, None or a list of them.
    A parameter's name stands for its value. Percentages become fractions."""
    match expr:
        case Number(value=value, suffix="%"):
            return value / 100
        case Number(value=value, suffix=""):
            return value
        case String(value=value):
            return value
        case Name(id=word) if word in _WORDS:
            return _WORDS[word]
        case Name(id=name):
            return _named(name, expr.span, scope)
        case Attribute(value=Name(id="lists"), name=name):
            return _word_list(name, expr.name_span, scope)
        case Unary(op="-", value=inner):
            value = literal(inner, scope)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return -value
        case ListOf(items=items):
            return [literal(item, scope) for item in items]
        case Range():
            return numbers(expr, scope)
    raise scope.reject(
        "E300", "a plain value is wanted here", expr.span, help="write a number, a string or a list"
    )


def _named(name: str, span: Span, scope: Scope) -> Any:
    declared = scope.find(name, ("param", "let"))
    if declared is None:
        raise scope.unknown(name, span, "a value", scope.declared_as("param", "let"))
    return parameter(declared) if declared.keyword == "param" else literal(
        declared.node.value, declared.scope  # type: ignore[union-attr]
    )


def _word_list(name: str, span: Span, scope: Scope) -> list[str]:
    from interp_dsl.data.lists import lists

    known = lists()
    if name not in known:
        raise scope.unknown(name, span, "a word list", list(known))
    return list(known[name])


def parameter(declared: Any) -> Any:
    """The value of a param: the command line's, else its own; a sweep's first value."""
    return declared.evaluate(lambda: _parameter_value(declared))


def _parameter_value(declared: Any) -> Any:
    scope, node = declared.scope, declared.node
    given = scope.session.params.get(declared.id)
    if isinstance(node, Sweep):
        own: Any = literal(node.values, scope)
        if not isinstance(own, list) or not own:
            raise scope.reject(
                "E300",
                f"the values of `{declared.name}` are a list that is not empty",
                node.values.span,
                help=f"write: param {declared.name} in [1, 2, 3]",
            )
        if given is None:
            scope.session.open_sweeps.append(declared)
        kind = own[0]
    else:
        own = kind = literal(node.value, scope)
    value = own if given is None else _parse_given(declared, given, kind)
    if given is None and isinstance(node, Sweep):
        value = own[0]
    scope.session.used_params[declared.id] = value
    return value


def _parse_given(declared: Any, text: str, kind: Any) -> Any:
    """The text behind `-p name=` as a value of the kind that the declaration has."""
    from interp_dsl.language.parse import parse
    from interp_dsl.language.source import Source

    if isinstance(kind, str):
        return text
    program, problems = parse(Source(f"param given = {text}"))
    value: Any = None
    if not problems and program.statements:
        try:
            value = literal(program.statements[0].value, Scope(declared.scope.session, Path()))  # type: ignore[attr-defined]
        except Rejected:
            declared.scope.session.diagnostics.pop()
    numeric = isinstance(kind, int | float) and not isinstance(kind, bool)
    fits = type(value) is type(kind) or (
        numeric and isinstance(value, int | float) and not isinstance(value, bool)
    )
    if not fits:
        raise declared.scope.reject(
            "E305",
            f"`-p {declared.name}={text}` does not fit the parameter",
            declared.node.name.span,
            label=f"declared with {describe(kind)}",
            help=f"give it a value of the same kind, as -p {declared.name}={kind}",
        )
    return value


def numbers(expr: Range, scope: Scope) -> list[int | float]:
    """`a..b every n` as a list, both ends in."""
    start, stop = literal(expr.start, scope), literal(expr.stop, scope)
    step = literal(expr.every, scope) if expr.every else 1
    if not all(isinstance(v, int | float) for v in (start, stop, step)) or step <= 0:
        raise scope.reject("E302", "a range runs over numbers, upwards", expr.span)
    if stop < start:
        raise scope.reject(
            "E302",
            f"this range is empty: {start} is more than {stop}",
            expr.span,
            help=f"did you mean {stop}..{start}?",
        )
    count = int((stop - start) / step + 1e-9) + 1
    if count > 100_000:
        raise scope.reject("E302", f"this range has {count:,} values", expr.span)
    return [start + i * step for i in range(count)]


def typed(expr: Expr, parameter: Parameter, name: str, scope: Scope) -> Any:
    """The value of one argument, checked against its parameter's type and choices."""
    kind = parameter.type
    if isinstance(expr, Name) and kind in ("word", "string") and scope.find(expr.id) is None:
        value: Any = expr.id
    else:
        value = literal(expr, scope)
    if value is None and parameter.default is None:
        return None
    if not _fits(value, kind):
        raise scope.reject(
            "E300",
            f"`{name}` is {_TYPE_NAMES[kind]}",
            expr.span,
            label=f"this is {describe(value)}",
        )
    if parameter.choices and value not in parameter.choices:
        near = suggest(str(value), list(parameter.choices))
        raise scope.reject(
            "E302",
            f"`{name}` cannot be {describe(value)}",
            expr.span,
            label=f"one of {', '.join(parameter.choices)}",
            help=f"did you mean `{near}`?" if near else None,
        )
    if kind == "int":
        return int(value)
    if kind in ("texts", "paths") and isinstance(value, str):
        return [value]
    return value


def _fits(value: Any, kind: str) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case "int":
            return is_number and float(value).is_integer()
        case "number":
            return is_number
        case "string" | "word" | "path" | "text":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "texts" | "paths":
            items = value if isinstance(value, list) else [value]
            return all(isinstance(v, str) for v in items)
        case "list":
            return isinstance(value, list)
    return True


def arguments(call: Call, function: Function, scope: Scope) -> dict[str, Any]:
    """The checked arguments of a call by parameter name, defaults filled in."""
    given = match_arguments(call, function, scope)
    values = {
        name: typed(argument.value, function.parameters[name], name, scope)
        for name, argument in given.items()
    }
    for name, parameter in function.parameters.items():
        if name not in values:
            values[name] = parameter.default
    return values


def match_arguments(call: Call, function: Function, scope: Scope) -> dict[str, Argument]:
    """Arguments matched to parameters; reports unknown, doubled, surplus and missing ones."""
    names = list(function.parameters)
    given: dict[str, Argument] = {}
    for position, argument in enumerate(call.arguments):
        name = argument.name or (names[position] if position < len(names) else None)
        if name is None:
            raise scope.reject(
                "E304",
                f"`{call.function}` takes {_count(len(names), 'argument')}",
                argument.span,
                label="one too many",
            )
        if name not in function.parameters:
            near = suggest(name, names)
            raise scope.reject(
                "E205",
                f"`{call.function}` has no argument `{name}`",
                argument.span,
                label=f"it takes {', '.join(names)}" if names else "it takes none",
                help=f"did you mean `{near}`?" if near else None,
            )
        if name in given:
            raise scope.reject("E304", f"`{name}` is given twice", argument.span)
        given[name] = argument
    for name, parameter in function.parameters.items():
        if parameter.is_required and name not in given:
            raise scope.reject(
                "E301",
                f"`{call.function}` needs `{name}`",
                call.span,
                label=parameter.doc or f"`{name}` is missing",
            )
    return given


def _count(n: int, noun: str) -> str:
    return f"no {noun}" if n == 0 else f"{n} {noun}{'' if n == 1 else 's'}"
