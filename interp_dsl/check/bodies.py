"""The body of a dataset: its fields, the choices of its slots, its conditions."""

from __future__ import annotations

from typing import Any

from interp_dsl.check.literals import describe, is_token, literal
from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.language.source import Span
from interp_dsl.language.suggest import suggest
from interp_dsl.language.tree import Binding, Body, Call, Condition, Expr, Field

_FIELDS = ("clean", "corrupt", "answer", "wrong")
_KINDS = ("prompts", "template", "file")


def body_of(body: Body, kind: str, given: dict[str, Any], scope: Scope) -> dict[str, Any]:
    """The fields, choices and conditions of a body as plain data. Every wrong entry is reported.
    `given` are the arguments, which a field may not repeat."""
    if kind not in _KINDS:
        raise scope.reject("E306", f"`{kind}` takes no body", body.span, help="delete the braces")
    spec: dict[str, Any] = {}
    slots = frozenset(n.id for e in body.entries if isinstance(e, Binding) for n in e.names)
    failed = False
    for entry in body.entries:
        try:
            _entry(entry, kind, spec, given, slots, scope)
        except Rejected:
            failed = True
    if failed:
        raise Rejected
    if kind == "template" and "clean" not in spec:
        raise scope.reject("E301", "a template needs `clean`", body.span, label="no clean prompt")
    return spec


def _entry(
    entry: Field | Binding | Condition,
    kind: str,
    spec: dict[str, Any],
    given: dict[str, Any],
    slots: frozenset[str],
    scope: Scope,
) -> None:
    if isinstance(entry, Field):
        spec[entry.name] = _field(entry, kind, {**given, **spec}, scope)
        return
    if kind == "prompts":
        raise scope.reject(
            "E306",
            "prompts written out have no slots",
            entry.span,
            help="use template { … } for slots; filter prompts by `let some = … where …`",
        )
    if isinstance(entry, Binding):
        spec.setdefault("where", []).append(_binding(entry, scope))
        return
    from interp_dsl.check.expressions import row_test

    spec.setdefault("conditions", []).append(row_test(entry.test, scope, slots))


def _field(entry: Field, kind: str, known: dict[str, Any], scope: Scope) -> Any:
    """The texts of a field; of a `file`, the name of its column."""
    if entry.name not in _FIELDS:
        near = suggest(entry.name, list(_FIELDS))
        raise scope.reject(
            "E205",
            f"a dataset's body has no field `{entry.name}`",
            entry.name_span,
            label=f"one of {', '.join(_FIELDS)} or where",
            help=f"did you mean `{near}`?" if near else None,
        )
    if entry.name in known:
        raise scope.reject("E304", f"`{entry.name}` is given twice", entry.name_span)
    if kind == "file" and len(entry.values) > 1:
        raise scope.reject("E304", f"`{entry.name}` names one column", entry.values[1].span)
    if entry.name in ("answer", "wrong") and kind == "prompts":
        return [_answer(value, scope) for value in entry.values]
    texts = [text for value in entry.values for text in _texts(value, False, scope)]
    return texts[0] if kind == "file" else texts


def _answer(expr: Expr, scope: Scope) -> Any:
    """The answer of one prompt, or the list that is its class."""
    found = _texts(expr, True, scope)
    return found if isinstance(literal(expr, scope), list) else found[0]


def _texts(expr: Expr, or_token: bool, scope: Scope) -> list[Any]:
    value = literal(expr, scope)
    items = value if isinstance(value, list) else [value]
    for item in items:
        if not (isinstance(item, str) or (or_token and is_token(item))):
            raise scope.reject(
                "E300",
                "a string is wanted here" + (", or a token's number" if or_token else ""),
                expr.span,
                label=f"this is {describe(item)}",
                help="a list is the class of one prompt; commas part the prompts"
                if or_token and isinstance(item, list)
                else None,
            )
    if not items:
        raise scope.reject("E302", "this list is empty", expr.span)
    return items


def _binding(entry: Binding, scope: Scope) -> dict[str, Any]:
    """`where A, B in choices`, `where A in repeating(choices)`."""
    choices, repeating = entry.choices, False
    if isinstance(choices, Call):
        if choices.function != "repeating" or len(choices.arguments) != 1:
            raise scope.unknown_function(
                choices.function, choices.name_span, "a function of choices", ["repeating"]
            )
        choices, repeating = choices.arguments[0].value, True
    values = literal(choices, scope)
    if not isinstance(values, list) or not values or any(isinstance(v, list) for v in values):
        raise scope.reject(
            "E300",
            "the choices of a slot are a list that is not empty",
            choices.span,
            help='write ["a", "b"], a range such as 2..98, or a word list such as lists.names',
        )
    names = [n.id for n in entry.names]
    if not repeating:
        _enough(len(names), len(set(map(str, values))), choices.span, scope)
    return {"names": names, "values": values, "repeating": repeating}


def _enough(wanted: int, found: int, span: Span, scope: Scope) -> None:
    if found < wanted:
        raise scope.reject(
            "E302",
            f"{wanted} distinct choices are wanted from {found}",
            span,
            help="add choices, or allow the same twice: repeating([…])",
        )
