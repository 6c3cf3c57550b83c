"""What is searched, by which method, and what circuits are measured by."""

from __future__ import annotations

from typing import Any

from interp_dsl.check.arguments import arguments
from interp_dsl.check.circuits import circuit_file, threshold_of, which_threshold
from interp_dsl.check.metrics import metric
from interp_dsl.check.results import Chain, metric_and_column, metric_column, step_of, unroll
from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.language.tree import Call, Expr, Name
from interp_dsl.plan.metrics import METRICS
from interp_dsl.verbs.estimates import ESTIMATES
from interp_dsl.verbs.evidence import FINDINGS
from interp_dsl.verbs.judging import MEASURES, RAW
from interp_dsl.verbs.lowering import sites
from interp_dsl.verbs.methods import SEARCHES, Method
from interp_dsl.verbs.values import FindingTerm, RankingTerm, SearchTerm, Step


def search(expr: Expr, scope: Scope) -> SearchTerm:
    """A method of search with all its options: `acdc(threshold=0.02)`."""
    if isinstance(expr, Name) and expr.id in SEARCHES and scope.find(expr.id) is None:
        raise scope.reject(
            "E300", f"`{expr.id}` is a function", expr.span, help=f"write {expr.id}(…)"
        )
    if not isinstance(expr, Call):
        known = ", ".join(f"{name}(…)" for name in SEARCHES)
        raise scope.reject("E300", "a method of search is wanted here", expr.span, help=known)
    if expr.function in ESTIMATES and scope.find(expr.function) is None:
        raise _an_estimate(expr, scope)
    if expr.function not in SEARCHES:
        known_methods = list(SEARCHES)
        raise scope.unknown_function(
            expr.function, expr.name_span, "a method of search", known_methods
        )
    method = SEARCHES[expr.function]
    given = arguments(expr, method.function, scope)
    _one_of(expr, method, given, scope)
    options = method.options({k: v for k, v in given.items() if k != "by"})
    by: RankingTerm | None = given.get("by")
    if by is not None and options["absolute"] is None:
        options["absolute"] = by.step.result == "scores"
    thresholds: tuple[float, ...] = options.get("threshold") or ()
    if len(set(thresholds)) < len(thresholds):
        raise scope.reject("E302", "a threshold stands twice in this list", expr.span)
    return SearchTerm(expr.function, options, thresholds, by)


def _an_estimate(expr: Call, scope: Scope) -> Rejected:
    """A method of `attribute` scores what a search then ranks."""
    ranked, what = (
        ("edges", "edges") if ESTIMATES[expr.function].of == "edges" else ("nodes", "heads")
    )
    return scope.reject(
        "E203",
        f"`{expr.function}` scores {what}, and searches none",
        expr.name_span,
        help=f"write step scores = attribute {what} by {expr.function}() …, "
        f"then search {what} by top_{ranked}(by=scores, n=20)",
    )


def _one_of(expr: Call, method: Method, given: dict[str, Any], scope: Scope) -> None:
    """What says how large the circuit is to be is given, and once where one excludes the other."""
    stated = [name for name in method.one_of if given[name] is not None]
    named = " or ".join(f"`{name}`" for name in method.one_of)
    if method.one_of and not stated:
        raise scope.reject(
            "E301", f"`{expr.function}` needs {named}", expr.span, label="how large is it to be?"
        )
    if method.excludes and len(stated) > 1:
        raise scope.reject("E306", f"`{expr.function}` takes {named}, not both", expr.span)


def ranking(expr: Expr, scope: Scope) -> RankingTerm:
    """What ranks edges: `scores`, `scores.gap.effect`, `circuit`, `curve[threshold=0.1]`."""
    root, index, chain = unroll(expr, scope)
    step = step_of(root, scope, "a step that ranks edges")
    if step.result == "circuit" and not chain:
        chosen = threshold_of(expr, step, scope)
        if chosen is None and step.thresholds:
            raise which_threshold(expr, step, "", scope)
        return RankingTerm(step, threshold=chosen if step.thresholds else None)
    places = {site.kind for site in sites(step.units, scope.session.steps)} if step.units else set()
    scores_edges = places == {"edge"} or (step.units is None and step.searched is not None)
    if step.result != "scores" or step.findings or index or not scores_edges:
        raise scope.reject(
            "E300",
            f"`{step.name}` ranks no edges",
            expr.span,
            label=f"a step of `{step.verb}`",
            help="name a step that scores edges, or a search",
        )
    return _scored(step, chain, "edges", expr, scope)


def node_ranking(expr: Expr, scope: Scope) -> RankingTerm:
    """What ranks nodes: `quick`, `quick.gap.effect`, the scores of places."""
    root, index, chain = unroll(expr, scope)
    step = step_of(root, scope, "a step that ranks nodes")
    kinds = {site.kind for site in sites(step.units, scope.session.steps)} if step.units else set()
    is_plain = step.result == "scores" and not (step.findings or step.curves or index)
    if not is_plain or not kinds or "edge" in kinds:
        raise scope.reject(
            "E300",
            f"`{step.name}` ranks no nodes",
            expr.span,
            label=f"a step of `{step.verb}`",
            help="name a step that scores places: attribute features(sae) by atp() …",
        )
    return _scored(step, chain, "nodes", expr, scope)


def _scored(step: Step, chain: Chain, what: str, expr: Expr, scope: Scope) -> RankingTerm:
    """The column that ranks, of a step's scores."""
    if len(step.contexts) > 1:
        raise scope.reject(
            "E310",
            f"`{step.name}` ranks {what} once under each intervention",
            expr.span,
            help="rank by a step under one intervention",
        )
    if not chain:
        return RankingTerm(step, *metric_column(step, None, expr.span, scope))
    return RankingTerm(step, *metric_and_column(step, chain, expr.span, scope))


def finding(expr: Expr, scope: Scope, subject: str | None = None) -> FindingTerm:
    """What `evaluate` measures: a metric, a function of a circuit, or of a dictionary; `subject` is
    the kind of what it measures, where that is clear."""
    if isinstance(expr, Name) and expr.id in (*FINDINGS, *MEASURES) and scope.find(expr.id) is None:
        raise scope.reject(
            "E300", f"`{expr.id}` is a function", expr.span, help=f"write {expr.id}()"
        )
    if isinstance(expr, Call) and expr.function in MEASURES:
        given = arguments(expr, MEASURES[expr.function], scope)
        return FindingTerm(expr.function, None, expr.function, tuple(sorted(given.items())))
    if not isinstance(expr, Call) or expr.function in METRICS:
        found = metric(expr, scope)
        return FindingTerm(found.name, found)
    if expr.function not in FINDINGS:
        raise _unmeasured(expr, subject, scope)
    function = FINDINGS[expr.function].function
    given = arguments(expr, function, scope)
    of = given.pop("metric", None)
    for name in [n for n, p in function.parameters.items() if p.type == "path"]:
        path, given[f"{name}_sha256"] = circuit_file(given[name], expr.span, scope)
        given[name] = str(path)
    return FindingTerm(expr.function, of, expr.function, tuple(sorted(given.items())))


def _unmeasured(expr: Call, subject: str | None, scope: Scope) -> Rejected:
    """Report a measure that there is not; those of a dictionary are few enough to be named."""
    name, span = expr.function, expr.name_span
    if subject != "dictionary":
        known = [*METRICS] if subject == "model" else [*METRICS, *FINDINGS, *MEASURES]
        return scope.unknown_function(name, span, "a metric", known)
    measures = f"what is measured of a dictionary: {', '.join(MEASURES)}"
    beside = next((measure for measure, rows in RAW.items() if name in rows), None)
    if beside is None:
        return scope.unknown_function(name, span, "a measure", [*MEASURES], label=measures)
    instead = f"write {beside}(), which has `{name}` beside it"
    return scope.reject("E203", f"there is no measure `{name}`", span, label=measures, help=instead)
