"""Edges and circuits, and what is taken of them."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from interp_dsl.check.arguments import arguments
from interp_dsl.check.dictionaries import dictionaries
from interp_dsl.check.literals import literal
from interp_dsl.check.models import declared_model, find_model, known_model, model, which_model
from interp_dsl.check.paths import inside
from interp_dsl.check.results import step_of
from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.language.source import Span
from interp_dsl.language.tree import Attribute, Call, Expr, Index, Name
from interp_dsl.plan.algebra import Edges, OfCircuit
from interp_dsl.verbs.evidence import CIRCUIT
from interp_dsl.verbs.methods import EDGES
from interp_dsl.verbs.values import CircuitTerm, DictionaryTerm, EdgeSet, Model, Step, UnitSet

PARTS = ("heads", "nodes", "edges")


def edges(expr: Expr, scope: Scope) -> EdgeSet:
    """The edges that a search goes over: `edges`, `m.edges`, `edges(split_qkv=false)`."""
    owner, wanted = None, Edges()
    match expr:
        case Name(id="edges"):
            pass
        case Attribute(value=value, name="edges") if declared := find_model(value, scope):
            owner = declared_model(declared)
        case Call(function="edges"):
            wanted = Edges(**arguments(expr, EDGES, scope))
        case _:
            raise scope.reject(
                "E300",
                "a search goes over edges",
                expr.span,
                help="write search edges by …; to measure places one at a time, patch them",
            )
    used = known_model(scope, owner)
    if used is None:
        raise which_model(scope, expr.span, "edges")
    return EdgeSet(wanted, used)


# ---- circuits


def from_file(expr: Expr, scope: Scope) -> CircuitTerm:
    """`circuit("old.circuit.json")`: what the file holds is looked at when the run starts."""
    assert isinstance(expr, Call)
    path, digest = circuit_file(arguments(expr, CIRCUIT, scope)["path"], expr.span, scope)
    return CircuitTerm(None, path=path, sha256=digest)


def circuit_file(given: str, span: Span, scope: Scope) -> tuple[Path, str]:
    """A circuit's file, and the sha256 of what it holds."""
    path = inside(given, span, scope)
    try:
        held = path.read_bytes()
    except OSError as error:
        raise scope.reject(
            "E430", f"{path} cannot be read", span, label=error.strerror or ""
        ) from None
    return path, sha256(held).hexdigest()


def subject(expr: Expr, scope: Scope) -> Model | CircuitTerm | DictionaryTerm:
    """What `evaluate` looks at: a model, a step's circuit or circuits, a file's, or a fit's
    dictionaries."""
    declared = scope.lookup(expr, "let")
    if declared is not None:
        from interp_dsl.check.lets import let_as

        found: CircuitTerm = let_as(declared, "circuit", "a circuit", expr.span, scope)
        return found
    if isinstance(expr, Call) and expr.function == CIRCUIT.name:
        return from_file(expr, scope)
    root = expr.value if isinstance(expr, Index) else expr
    if scope.lookup(root, "step") is None:
        return model(expr, scope)
    step = step_of(root, scope, "a circuit or a dictionary")
    if step.result == "dictionary":
        return dictionaries(expr, step, scope)
    step = circuit_step(root, scope)
    chosen = threshold_of(expr, step, scope)
    return CircuitTerm(step, step.thresholds if chosen is None else (chosen,))


def circuit_step(expr: Expr, scope: Scope) -> Step:
    """The step behind a name, which finds a circuit."""
    step = step_of(expr, scope, "a circuit")
    if step.result != "circuit":
        raise scope.reject(
            "E300",
            f"`{step.name}` is no circuit",
            expr.span,
            label=f"a step of `{step.verb}`",
            help="a circuit is what a step of `search` finds",
        )
    return step


def part(expr: Attribute, scope: Scope) -> UnitSet | None:
    """`circuit.heads`, `circuit[threshold=0.02].edges`; None where no step stands in front."""
    root = expr.value.value if isinstance(expr.value, Index) else expr.value
    if scope.lookup(root, "let") and expr.name in PARTS:
        raise scope.reject(
            "E306",
            f"`{root.span.text}` is no step, whose circuit has parts",
            expr.span,
            label="a circuit of a file can be evaluated, and not yet taken apart",
        )
    if scope.lookup(expr) or scope.lookup(root, "step") is None:
        return None
    step = circuit_step(root, scope)
    if expr.name not in PARTS:
        raise scope.unlisted("E208", expr.name, expr.name_span, "a part of a circuit", [*PARTS])
    chosen = threshold_of(expr.value, step, scope)
    if chosen is None and step.thresholds:
        raise which_threshold(expr.value, step, f".{expr.name}", scope)
    several = chosen if step.thresholds else None
    return UnitSet(OfCircuit(step.name, expr.name, several), step.model)


def which_threshold(expr: Expr, step: Step, part: str, scope: Scope) -> Rejected:
    """Report a step of several circuits where one is wanted."""
    example = f"{step.name}[threshold={step.thresholds[0]:g}]"
    return scope.reject(
        "E310",
        f"`{step.name}` finds a circuit for each of {len(step.thresholds)} thresholds",
        expr.span,
        label="which of them?",
        help=f"name it: {example}{part}",
    )


def threshold_of(expr: Expr, step: Step, scope: Scope) -> float | None:
    """The threshold that the brackets name."""
    if not isinstance(expr, Index):
        return None
    if len(expr.arguments) != 1 or expr.arguments[0].name != "threshold":
        raise scope.reject(
            "E310",
            "the brackets of a circuit name its threshold",
            expr.span,
            help=f"write {step.name}[threshold={(step.thresholds or (0.02,))[0]:g}]",
        )
    value = literal(expr.arguments[0].value, scope)
    known = step.thresholds
    if value not in known:
        raise scope.reject(
            "E311",
            f"`{step.name}` has no circuit for this threshold",
            expr.arguments[0].span,
            label=f"it has {', '.join(f'{t:g}' for t in known)}"
            if known
            else "it has one threshold: write its name alone",
        )
    return float(value)
