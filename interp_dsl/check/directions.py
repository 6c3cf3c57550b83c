"""Directions, and paths between two ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from interp_dsl.check.arguments import arguments, called, without_brackets
from interp_dsl.check.circuits import held_file
from interp_dsl.check.scope import Scope
from interp_dsl.check.vectors import vector
from interp_dsl.language.tree import Call, Expr, Name
from interp_dsl.plan.algebra import FileVector
from interp_dsl.verbs.directions import DIRECTIONS, PATHS, WHICH
from interp_dsl.verbs.values import DirectionTerm


def direction(expr: Expr, scope: Scope) -> DirectionTerm:
    """A direction: `covariance(n=8)`, or a vector."""
    if not isinstance(expr, Call) or expr.function == "mean":
        without_brackets(expr, DIRECTIONS, scope)
        return DirectionTerm(_name(expr), "vector", vector=vector(expr, scope))
    if expr.function not in DIRECTIONS:
        known = list(DIRECTIONS)
        raise scope.unknown_function(expr.function, expr.name_span, "a direction", known)
    given = arguments(expr, DIRECTIONS[expr.function], scope)
    if expr.function == "vector":
        return DirectionTerm(given["name"], "file", file=_of_file(given, expr, scope))
    if "dictionary" in given:
        return _of_dictionary(given, expr, scope)
    return DirectionTerm(
        expr.function,
        expr.function,
        given.get("n", 1),
        given.get("seed", 0),
        given.get("of"),
        given.get("source"),
        metric=given.get("metric"),
    )


def _of_dictionary(given: dict[str, Any], expr: Call, scope: Scope) -> DirectionTerm:
    """What a dictionary makes of an activation, or its features' directions."""
    dictionary, name = given["dictionary"], expr.function
    if name != "decoder":
        which = "error_kept" if given.get("norm") == "kept" else name
        n, seed = given.get("n", 1), given.get("seed", 0)
        return DirectionTerm(which, "rebuilt", n, seed, which=which, dictionary=dictionary)
    asked = [which for which in WHICH if given[which] is not None]
    if len(asked) > 1:
        raise scope.reject(
            "E304",
            "a decoder's directions are of one kind of features",
            expr.span,
            label=f"this says {' and '.join(asked)}",
            help="write decoder(…) once for each",
        )
    which = asked[0] if asked else "random"
    n, seed = given[which] or 1, given["seed"]
    return DirectionTerm(f"decoder_{which}", "decoder", n, seed, which=which, dictionary=dictionary)


def _of_file(given: dict[str, Any], expr: Call, scope: Scope) -> FileVector:
    """A tensor of one axis in a file."""
    found, sha256 = held_file(given["path"], expr.span, scope)
    name = given["name"]
    shapes = _shapes(found)
    if shapes is None:
        raise scope.reject("E430", f"{found} is no safetensors file", expr.span)
    if name not in shapes:
        raise scope.unlisted(
            "E200", name, expr.span, "a tensor", list(shapes), label="in this file"
        )
    if len(shapes[name]) != 1:
        told = " × ".join(map(str, shapes[name]))
        raise scope.reject(
            "E306", f"`{name}` is no vector", expr.span, label=f"it has the shape {told}"
        )
    return FileVector(str(found), sha256, name, shapes[name][0])


def _shapes(path: Path) -> dict[str, list[int]] | None:
    """The shapes of a safetensors file's tensors; None where it is none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as held:
            return {name: held.get_slice(name).get_shape() for name in held.keys()}  # noqa: SIM118
    except SafetensorError:
        return None


def path(expr: Expr, scope: Scope) -> DirectionTerm:
    """A path between two ends: `line()`, `arc()`."""
    call = called(expr, PATHS, "a path", scope)
    arguments(call, PATHS[call.function], scope)
    return DirectionTerm(call.function, call.function)


def _name(expr: Expr) -> str:
    return expr.id if isinstance(expr, Name) else " ".join(expr.span.text.split())
