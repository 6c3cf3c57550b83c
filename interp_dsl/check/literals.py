"""Plain values: numbers, strings, words, lists, ranges, parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from interp_dsl.check.scope import Declared, Scope
from interp_dsl.check.trial import attempt
from interp_dsl.language.source import Source, Span
from interp_dsl.language.tree import (
    Attribute,
    Clause,
    Declaration,
    Expr,
    ListOf,
    Name,
    Number,
    Range,
    String,
    Sweep,
    Unary,
)

WORDS: dict[str, Any] = {"true": True, "false": False, "none": None}
LONGEST_RANGE = 100_000


def describe(value: Any) -> str:
    """A value as a message names it."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, str):
        return f'the string "{value}"'
    if isinstance(value, list):
        return f"a list of {len(value)}"
    digits = str(value)
    return f"the number {digits if len(digits) <= 24 else f'{digits[:20]}…'}"


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_token(value: Any) -> bool:
    """Whether a value may be a token's number; whether a vocabulary has it is seen later."""
    return is_whole(value) and 0 <= value < 2**31


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
        case Name(id=word) if word in WORDS:
            return WORDS[word]
        case Attribute(value=Name(id="lists"), name=name):
            return _word_list(name, expr.name_span, scope)
        case Name() | Attribute():
            return _named(expr, scope)
        case Unary(op="-", value=inner):
            value = literal(inner, scope)
            if is_number(value):
                return -value
        case ListOf(items=items):
            return [literal(item, scope) for item in items]
        case Range():
            return numbers(expr, scope)
    raise scope.reject(
        "E300", "a plain value is wanted here", expr.span, help="write a number, a string or a list"
    )


def number(expr: Expr, scope: Scope) -> float:
    """A literal that must be a number."""
    value = literal(expr, scope)
    if not is_number(value):
        raise scope.reject(
            "E300", "a number is wanted here", expr.span, label=f"this is {describe(value)}"
        )
    try:
        return float(value)
    except OverflowError:
        raise scope.reject("E302", "this number is too large", expr.span) from None


def whole(expr: Expr, scope: Scope) -> int:
    """A literal that must be a whole number."""
    value = literal(expr, scope)
    if not is_whole(value):
        raise scope.reject(
            "E300", "a whole number is wanted here", expr.span, label=f"this is {describe(value)}"
        )
    return int(value)


def _named(expr: Name | Attribute, scope: Scope) -> Any:
    declared = scope.lookup(expr, "param", "let")
    if declared is None:
        raise scope.unknown(expr, "a value", scope.declared_as("param", "let"))
    if declared.keyword == "param":
        return parameter(declared)
    from interp_dsl.check.lets import let_as

    return let_as(declared, "literal", "a plain value", expr.span, scope)


def _word_list(name: str, span: Span, scope: Scope) -> list[str]:
    from interp_dsl.data.lists import lists

    known = lists()
    if name not in known:
        raise scope.unlisted("E200", name, span, "a word list", list(known))
    return list(known[name])


def numbers(expr: Range, scope: Scope) -> list[int | float]:
    """`a..b every n` as a list, both ends in."""
    ends = [expr.start, expr.stop, *([expr.every] if expr.every else [])]
    start, stop, *every = (literal(end, scope) for end in ends)
    step = every[0] if every else 1
    for end, value in zip(ends, (start, stop, step), strict=False):
        if not is_number(value):
            raise scope.reject(
                "E300", "a range runs over numbers", end.span, label=f"this is {describe(value)}"
            )
    if step <= 0:
        raise scope.reject("E302", "a range runs upwards", ends[-1].span, help="write every 1")
    if stop < start:
        raise scope.reject(
            "E302",
            f"this range is empty: {start} is more than {stop}",
            expr.span,
            help=f"did you mean {stop}..{start}?",
        )
    try:
        count = int((stop - start) / step + 1e-9) + 1
    except OverflowError:
        count = LONGEST_RANGE + 1
    if count > LONGEST_RANGE:
        raise scope.reject(
            "E302",
            f"this range has more than {LONGEST_RANGE:,} values",
            expr.span,
            help="take larger steps: 0..1_000_000 every 1000",
        )
    return [start + i * step for i in range(count)]


def only(clause: Clause, scope: Scope) -> Expr:
    """The one value of a clause that takes one."""
    found = values_of(clause, scope)
    if len(found) > 1:
        raise scope.reject(
            "E304", f"`{clause.word}` takes one value", found[1].span, label="a second one"
        )
    return found[0]


def values_of(clause: Clause, scope: Scope) -> tuple[Expr, ...]:
    """The values of a clause, which has no options."""
    if clause.named:
        option = clause.named[0]
        raise scope.reject(
            "E205",
            f"`{clause.word}` has no option `{option.name}`",
            option.span,
            label="not known here",
        )
    return clause.values


# ---- parameters


def parameter(declared: Declared) -> Any:
    """The value of a param: the command line's, else its own; a sweep's first value."""
    return declared.evaluate(lambda: _parameter_value(declared))


def _parameter_value(declared: Declared) -> Any:
    session = declared.scope.session
    own = literal(declared.expr, declared.scope)
    given = session.params.get(declared.id)
    if isinstance(declared.node, Sweep):
        value = _swept(declared, own, given)
    else:
        value = own if given is None else _given(declared, given, own)
    session.used_params[declared.id] = value
    return value


def _swept(declared: Declared, values: Any, given: str | None) -> Any:
    """A sweep's first value, or the one of them that `-p` fixes it to."""
    scope = declared.scope
    if not isinstance(values, list) or not values:
        raise scope.reject(
            "E300",
            f"the values of `{declared.name}` are a list that is not empty",
            declared.expr.span,
            help=f"write: param {declared.name} in [1, 2, 3]",
        )
    if given is not None:
        return _given(declared, given, values[0])
    scope.session.open_sweeps.append(declared)
    return values[0]


def _given(declared: Declared, text: str, own: Any) -> Any:
    """The text behind `-p name=` as a value of the kind that the declaration has."""
    if isinstance(own, str):
        return text
    value = _parsed(text, declared.scope)
    if is_number(value) and is_number(own) and (isinstance(own, float) or is_whole(value)):
        return value
    if value is not None and type(value) is type(own) and not is_number(own):
        return value
    raise declared.scope.reject(
        "E305",
        f"`-p {declared.name}={text}` does not fit the parameter",
        declared.node.name.span,
        label=f"declared with {describe(own)}",
        help=f"give it {_KINDS[type(own)]}",
    )


_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list, as in [1, 2]",
    type(None): "another value in the file: none takes no other",
}


def _parsed(text: str, scope: Scope) -> Any:
    """The plain value that a text on the command line stands for, None when it is none."""
    from interp_dsl.language.parse import parse

    program, problems = parse(Source(f"param given = {text}"))
    statements = program.statements
    if problems or len(statements) != 1 or not isinstance(statements[0], Declaration):
        return None
    apart = replace(scope, names={}, aliases={})
    expr = statements[0].value
    return attempt(lambda: literal(expr, apart), apart).value
