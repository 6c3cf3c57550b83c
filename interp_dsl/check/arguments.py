"""The arguments of a call, matched to a function's parameters and checked against their types."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from interp_dsl.check.literals import describe, is_number, is_token, literal
from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.language.suggest import suggest
from interp_dsl.language.tree import Argument, Attribute, Binary, Call, Clause, Expr, Name
from interp_dsl.verbs.signature import Function, Parameter

_TYPE_NAMES = {
    "int": "a whole number",
    "ints": "a whole number or a list of whole numbers",
    "number": "a number",
    "numbers": "a number or a list of numbers",
    "string": "a string",
    "word": "a word",
    "bool": "true or false",
    "path": "a path in quotes",
    "texts": "a string or a list of strings",
    "paths": "a path or a list of paths",
    "answers": "a string, a token's number or a list of them",
}


def arguments(call: Call, function: Function, scope: Scope) -> dict[str, Any]:
    """The checked arguments of a call by parameter name, defaults filled in. Every wrong one is
    reported before the call is rejected."""
    given = match_arguments(call, function, scope)
    values: dict[str, Any] = {}
    failed = False
    for name, argument in given.items():
        try:
            values[name] = typed(argument.value, function.parameters[name], name, scope)
        except Rejected:
            failed = True
    if failed:
        raise Rejected
    for name, parameter in function.parameters.items():
        values.setdefault(name, parameter.default)
    return values


def called(expr: Expr, known: Collection[str], what: str, scope: Scope) -> Call:
    """The call of one of the known functions, where `what` is wanted: a noun and its article."""
    without_brackets(expr, known, scope)
    if not isinstance(expr, Call):
        told = ", ".join(f"{name}()" for name in known)
        raise scope.reject("E300", f"{what} is wanted here", expr.span, help=told)
    if expr.function not in known:
        raise scope.unknown_function(expr.function, expr.name_span, what, list(known))
    return expr


def without_brackets(expr: Expr, known: Collection[str], scope: Scope) -> None:
    """Report the bare name of a function."""
    if isinstance(expr, Name) and expr.id in known and scope.find(expr.id) is None:
        raise scope.reject(
            "E300", f"`{expr.id}` is a function", expr.span, help=f"write {expr.id}()"
        )


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
            raise unknown_argument(call, name, argument, names, scope)
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


def unknown_argument(
    call: Call, name: str, argument: Argument, names: list[str], scope: Scope
) -> Rejected:
    near = suggest(name, names)
    return scope.reject(
        "E205",
        f"`{call.function}` has no argument `{name}`",
        argument.span,
        label=f"it takes {', '.join(names)}" if names else "it takes none",
        help=f"did you mean `{near}`?" if near else None,
    )


def options(clause: Clause, function: Function, scope: Scope) -> dict[str, Any]:
    """The options of a clause, which stand by name: `using thresholds=[0.1, 0.5]`."""
    if clause.values:
        given, name = clause.values[0].span, next(iter(function.parameters))
        raise scope.reject(
            "E300",
            f"`{clause.word}` takes options by name",
            given,
            label=f"they are {', '.join(function.parameters)}",
            help=f"write {clause.word} {name}={given.text}",
        )
    call = Call(
        function=function.name,
        arguments=clause.named,
        name_span=clause.word_span,
        span=clause.span,
    )
    return arguments(call, function, scope)


def positional(call: Call, scope: Scope, *named: str) -> list[Expr]:
    """The unnamed arguments of a call whose named ones are among `named`."""
    for argument in call.arguments:
        if argument.name is not None and argument.name not in named:
            raise unknown_argument(call, argument.name, argument, list(named), scope)
    return [a.value for a in call.arguments if a.name is None]


def typed(expr: Expr, parameter: Parameter, name: str, scope: Scope) -> Any:
    """The value of one argument, checked against its parameter's type, choices and least value."""
    kind = parameter.type
    if kind == "top":
        return _largest(expr, name, scope)
    if kind == "metric":
        from interp_dsl.check.metrics import metric

        return metric(expr, scope)
    if kind == "node_ranking":
        from interp_dsl.check.searches import node_ranking

        return node_ranking(expr, scope)
    if kind == "ranking":
        from interp_dsl.check.searches import ranking

        return ranking(expr, scope)
    if kind == "dictionary":
        from interp_dsl.check.dictionaries import one_dictionary

        return one_dictionary(expr, scope)
    if kind == "model":
        from interp_dsl.check.models import model

        return model(expr, scope)
    if kind == "models":
        from interp_dsl.check.models import named_models

        return named_models(expr, scope)
    if kind == "dictionaries":
        from interp_dsl.check.relations import dictionary

        return dictionary(expr, scope)
    if kind == "place":
        from interp_dsl.check.units import units

        return units(expr, scope)
    if kind == "side":
        from interp_dsl.check.sides import side

        return side(expr, scope)
    if kind == "source":
        from interp_dsl.check.sources import source

        return source(expr, scope)
    if isinstance(expr, Name) and kind in ("word", "string") and scope.find(expr.id) is None:
        value: Any = expr.id
    elif kind in ("string", "path") and _is_unquoted(expr, scope):
        raise scope.reject(
            "E300",
            f"`{name}` is a string, in double quotes",
            expr.span,
            help=f'write "{expr.span.text}"',
        )
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
    _allowed(value, parameter, name, expr, scope)
    if kind == "int":
        return int(value)
    if kind == "ints":
        return tuple(map(int, value if isinstance(value, list) else [value]))
    if kind == "numbers":
        return tuple(map(float, value if isinstance(value, list) else [value]))
    if kind in ("texts", "paths", "answers") and not isinstance(value, list):
        return [value]
    return value


def _largest(expr: Expr, name: str, scope: Scope) -> int:
    """How many of the largest `top(20)` names."""
    value: Any = None
    if isinstance(expr, Call) and expr.function == "top" and len(expr.arguments) == 1:
        value = literal(expr.arguments[0].value, scope)
    if not (is_number(value) and value == value // 1 and value >= 1):
        raise scope.reject(
            "E300",
            f"`{name}` says how many of the largest",
            expr.span,
            help=f"write {name}=top(20)",
        )
    return int(value)


def _is_unquoted(expr: Expr, scope: Scope) -> bool:
    """Whether this looks like a name with signs in it, as `EleutherAI/pythia-70m` or `a.csv`."""
    first = expr
    while isinstance(first, Binary | Attribute):
        first = first.left if isinstance(first, Binary) else first.value
    if first is expr or not isinstance(first, Name) or " " in expr.span.text:
        return False
    return scope.find(first.id) is None and first.id not in (*scope.aliases, "lists")


def _allowed(value: Any, parameter: Parameter, name: str, expr: Expr, scope: Scope) -> None:
    if parameter.choices and value not in parameter.choices:
        near = suggest(str(value), list(parameter.choices))
        said = f"`{value}`" if isinstance(value, str) else describe(value)
        raise scope.reject(
            "E302",
            f"`{name}` cannot be {said}",
            expr.span,
            label=f"one of {', '.join(parameter.choices)}",
            help=f"did you mean `{near}`?" if near else None,
        )
    numbers = value if isinstance(value, list) else [value]
    about = parameter.doc or None
    if (least := parameter.least) is not None and min(numbers) < least:
        raise scope.reject(
            "E302",
            f"`{name}` is at least {least}",
            expr.span,
            label=about,
            help=f"write {name}={least} or more",
        )
    if (most := parameter.most) is not None and max(numbers) > most:
        raise scope.reject(
            "E302",
            f"`{name}` is at most {most:,}",
            expr.span,
            label=about,
            help=f"write {name}={most} or less",
        )


def _fits(value: Any, kind: str) -> bool:
    match kind:
        case "int":
            return isinstance(value, int | float) and is_number(value) and value == value // 1
        case "number":
            return is_number(value)
        case "ints":
            items = value if isinstance(value, list) else [value]
            return bool(items) and all(is_number(v) and v == v // 1 for v in items)
        case "numbers":
            items = value if isinstance(value, list) else [value]
            return bool(items) and all(map(is_number, items))
        case "bool":
            return isinstance(value, bool)
        case "texts" | "paths":
            items = value if isinstance(value, list) else [value]
            return all(isinstance(v, str) for v in items)
        case "answers":
            return _is_answer(value)
        case _:
            return isinstance(value, str)


def _is_answer(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_is_answer, value))
    return isinstance(value, str) or is_token(value)


def _count(n: int, noun: str) -> str:
    return f"no {noun}" if n == 0 else f"{n} {noun}{'' if n == 1 else 's'}"
