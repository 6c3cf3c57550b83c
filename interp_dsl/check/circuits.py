"""Edges and circuits, and what is taken of them."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from interp_dsl.check.arguments import arguments
from interp_dsl.check.dictionaries import dictionaries, dictionary_step
from interp_dsl.check.literals import literal
from interp_dsl.check.models import (
    carry,
    declared_model,
    find_model,
    known_model,
    model,
    which_model,
)
from interp_dsl.check.paths import inside
from interp_dsl.check.results import step_of
from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.language.source import Span
from interp_dsl.language.tree import Attribute, Call, Expr, Index, Name
from interp_dsl.models.sites import missing
from interp_dsl.plan.algebra import Edges, Explicit, OfCircuit
from interp_dsl.plan.names import target_of
from interp_dsl.plan.units import part_of
from interp_dsl.verbs.evidence import CIRCUIT
from interp_dsl.verbs.methods import EDGES
from interp_dsl.verbs.node_circuits import kept
from interp_dsl.verbs.values import CircuitTerm, DictionaryTerm, EdgeSet, Model, Step, UnitSet

if TYPE_CHECKING:
    from interp_dsl.runs.circuit import Circuit

NODES = "nodes"
PARTS = ("heads", NODES, "edges")


def edges(expr: Expr, scope: Scope) -> EdgeSet:
    """All edges of a model: `edges`, `m.edges`, `edges(split_qkv=false)`."""
    owner, wanted = None, Edges()
    match expr:
        case Name(id="edges"):
            pass
        case Attribute(value=value, name="edges") if declared := find_model(value, scope):
            owner = declared_model(declared)
        case Call(function="edges"):
            wanted = Edges(**arguments(expr, EDGES, scope))
        case _:
            raise AssertionError(f"{expr.span.text} are not all edges of a model")
    used = known_model(scope, owner)
    if used is None:
        raise which_model(scope, expr.span, "edges")
    return EdgeSet(wanted, used)


# ---- circuits


def from_file(expr: Expr, scope: Scope) -> CircuitTerm:
    """`circuit("old.circuit.json")`. Whether it is of this very model the run finds out."""
    assert isinstance(expr, Call)
    path, digest = circuit_file(arguments(expr, CIRCUIT, scope)["path"], expr.span, scope)
    edges = _loaded(path, digest).table
    direct = bool((edges["source"] == edges["target"]).any())
    return CircuitTerm(None, path=path, sha256=digest, direct=direct)


def circuit_file(given: str, span: Span, scope: Scope) -> tuple[Path, str]:
    """A circuit's file, and the sha256 of what it holds."""
    path, digest = held_file(given, span, scope)
    try:
        _loaded(path, digest)
    except InterpError as problem:
        raise carry(problem, span, scope) from None
    return path, digest


def held_file(given: str, span: Span, scope: Scope) -> tuple[Path, str]:
    """A file of any kind, and the sha256 of what it holds."""
    path = inside(given, span, scope)
    try:
        held = path.read_bytes()
    except OSError as error:
        raise scope.reject(
            "E430", f"{path} cannot be read", span, label=error.strerror or ""
        ) from None
    return path, sha256(held).hexdigest()


def no_file(expr: Expr, scope: Scope) -> None:
    """Report the function that reads prompts where a circuit's is meant."""
    if isinstance(expr, Call) and expr.function == "file":
        raise scope.reject(
            "E300",
            "`file` reads prompts",
            expr.name_span,
            label="a dataset is declared by it",
            help=f'a circuit\'s file is {CIRCUIT.name}(…): {CIRCUIT.name}("found.circuit.json")',
        )


def subject(expr: Expr, scope: Scope) -> Model | CircuitTerm | DictionaryTerm:
    """What `evaluate` looks at: a model, a step's circuit or circuits, a file's, or dictionaries,
    fitted or loaded."""
    root = expr.value if isinstance(expr, Index) else expr
    leaving = dictionary_step(root, scope)
    if leaving is not None:
        return dictionaries(expr, leaving, scope)
    declared = scope.lookup(expr, "let")
    if declared is not None:
        from interp_dsl.check.lets import let_as

        found: CircuitTerm = let_as(declared, "circuit", "a circuit", expr.span, scope)
        return found
    if isinstance(expr, Call) and expr.function == CIRCUIT.name:
        return from_file(expr, scope)
    no_file(expr, scope)
    if scope.lookup(root, "step") is None:
        _no_part(expr, scope)
        return model(expr, scope)
    step = circuit_step(root, scope)
    chosen = threshold_of(expr, step, scope)
    return CircuitTerm(step, step.thresholds if chosen is None else (chosen,))


def _no_part(expr: Expr, scope: Scope) -> None:
    """Report a part of a circuit where the circuit itself is meant."""
    whole = expr.value if isinstance(expr, Attribute) and expr.name in PARTS else None
    root = whole.value if isinstance(whole, Index) else whole
    if whole is not None and root is not None and scope.lookup(root, "step") is not None:
        raise scope.reject(
            "E300",
            f"`{expr.span.text}` is a part of a circuit, and a circuit is wanted here",
            expr.span,
            help=f"write {whole.span.text}",
        )


def circuit_step(expr: Expr, scope: Scope) -> Step:
    """The step behind a name, which finds a circuit."""
    step = step_of(expr, scope, "a circuit")
    if step.result != "circuit" and step.verb != "search":
        raise scope.reject(
            "E300",
            f"`{step.name}` is no circuit",
            expr.span,
            label=f"a step of `{step.verb}`",
            help="a circuit is what a step of `search` finds",
        )
    return step


def part(expr: Attribute, scope: Scope) -> UnitSet | None:
    """`circuit.heads`, `circuit[threshold=0.02].edges`, of a step or a file; None where neither
    stands in front."""
    root = expr.value.value if isinstance(expr.value, Index) else expr.value
    no_file(expr.value, scope)
    held = file_of(expr.value, scope)
    if held is not None:
        return _part_of_file(held, expr, scope)
    if scope.lookup(expr) or scope.lookup(root, "step") is None:
        return None
    step = circuit_step(root, scope)
    known = [NODES] if step.result == "scores" else [*PARTS]
    if expr.name not in known:
        raise scope.unlisted("E208", expr.name, expr.name_span, "a part of a circuit", known)
    if step.result == "scores":
        return UnitSet(kept(step), step.model)
    chosen = threshold_of(expr.value, step, scope)
    if chosen is None and step.thresholds:
        raise which_threshold(expr.value, step, f".{expr.name}", scope)
    several = chosen if step.thresholds else None
    graphs = (step.searched.edges,) if step.searched and expr.name == "edges" else ()
    return UnitSet(OfCircuit(step.name, expr.name, several), step.model, graphs=graphs)


def file_of(expr: Expr, scope: Scope) -> CircuitTerm | None:
    """The circuit of a file that stands here, itself or by its name; None for anything else."""
    if isinstance(expr, Call) and expr.function == CIRCUIT.name:
        return from_file(expr, scope)
    declared = scope.lookup(expr, "let")
    if declared is None:
        return None
    from interp_dsl.check.lets import let_kinds

    found: CircuitTerm | None = let_kinds(declared).get("circuit")
    return found


def _part_of_file(held: CircuitTerm, expr: Attribute, scope: Scope) -> UnitSet:
    """Edges, heads or nodes of a file's circuit, as places of the model of this text."""
    used = known_model(scope, None)
    if used is None:
        raise which_model(scope, expr.span, f"{expr.value.span.text}.{expr.name}")
    if expr.name not in PARTS:
        raise scope.unlisted("E208", expr.name, expr.name_span, "a part of a circuit", [*PARTS])
    assert held.path is not None
    circuit = _loaded(held.path, held.sha256)
    shape = used.facts.shape if used.facts else None
    for name in circuit.nodes:
        wrong = missing(target_of(name), shape) if shape else None
        if wrong:
            raise scope.reject(
                "E201", f"this model has no {name}", expr.span, label=f"{used.name}: {wrong}"
            )
    rows = list(circuit.table.iter_rows(named=True))
    told = circuit.method.options
    split_qkv = told.get("split_qkv", all(row["channel"] != "attn" for row in rows))
    split_embed = told.get("split_embed", any(row["source"] == "pos_embed" for row in rows))
    graphs = (Edges(bool(split_qkv), bool(split_embed)),) if expr.name == "edges" else ()
    return UnitSet(Explicit(tuple(part_of(expr.name, rows))), used, graphs=graphs)


@cache
def _loaded(path: Path, sha256: str) -> Circuit:
    """The circuit of a file that holds this."""
    from interp_dsl.runs.circuit import Circuit

    return Circuit.load(path)


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
