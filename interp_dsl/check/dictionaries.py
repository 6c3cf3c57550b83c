"""Dictionaries by name: `sae`, `sae[L8]`, `sae[L8, k=32]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from interp_dsl.check.literals import is_whole, literal
from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.language.source import Span
from interp_dsl.language.tree import Argument, Call, Expr, Index, ListOf, Number, Range
from interp_dsl.plan.algebra import Explicit
from interp_dsl.plan.dictionaries import Fitted
from interp_dsl.plan.places import Site, Target, Unit
from interp_dsl.verbs.dictionaries import said
from interp_dsl.verbs.values import DictionaryTerm, FeaturesTerm, Step, UnitSet


def dictionaries(expr: Expr, step: Step, scope: Scope) -> DictionaryTerm:
    """All dictionaries of a step, or those that the brackets name."""
    if not isinstance(expr, Index):
        return DictionaryTerm(step, step.dictionaries)
    return DictionaryTerm(step, chosen(expr, step, scope))


def chosen(index: Index, step: Step, scope: Scope) -> tuple[Fitted, ...]:
    """The dictionaries of which all that the brackets say is true."""
    parts = [_part(argument, scope) for argument in index.arguments]
    found = [d for d in step.dictionaries if set(parts) <= {*d.label.split(", ")}]
    if not found:
        raise scope.reject(
            "E311",
            f"`{step.name}` has no dictionary [{', '.join(parts)}]",
            index.span,
            label=f"it has {_listed(step)}" if step.dictionaries[0].label else "it has one",
            help=f"write {step.name}[{_closest(parts, step)}]"
            if step.dictionaries[0].label
            else f"write {step.name} alone",
        )
    return tuple(found)


def _closest(parts: list[str], step: Step) -> str:
    """The label that has most of these parts."""
    labels = [d.label for d in step.dictionaries]
    return max(labels, key=lambda label: len(set(parts) & {*label.split(", ")}))


def one_of(index: Index | None, step: Step, span: Span, scope: Scope, numbers: str = "") -> Fitted:
    """The one dictionary that the brackets name, beside the `numbers` of features."""
    found = step.dictionaries if index is None else chosen(index, step, scope)
    if len(found) > 1:
        raise which(step, span, scope, numbers)
    return found[0]


def which(step: Step, span: Span, scope: Scope, numbers: str = "") -> Rejected:
    return scope.reject(
        "E310",
        f"`{step.name}` has {len(step.dictionaries)} dictionaries",
        span,
        label="which of them?",
        help=f"name it: {step.name}[{step.dictionaries[0].label}{numbers}]",
    )


def one_dictionary(expr: Expr, scope: Scope) -> DictionaryTerm:
    """`sae`, or one of several: `sae[k=32]`."""
    step, index = _fit(expr, scope)
    return DictionaryTerm(step, (one_of(index, step, expr.span, scope),))


FEATURES = "features"
ERRORS = "errors"


def features(expr: Expr, scope: Scope) -> FeaturesTerm:
    """`features(sae)`, `features(sae[k=32])`, or some by number: `sae[12]`, `sae[L8, 0..9]`."""
    if isinstance(expr, Call) and expr.function == FEATURES:
        if len(expr.arguments) != 1 or expr.arguments[0].name is not None:
            raise scope.reject("E301", "features of what?", expr.span, help="write features(sae)")
        step, index = _fit(expr.arguments[0].value, scope)
        return FeaturesTerm(step, one_of(index, step, expr.span, scope))
    if not isinstance(expr, Index):
        raise scope.reject(
            "E300",
            "features of a dictionary are wanted here",
            expr.span,
            help="write features(sae), or sae[12]",
        )
    step, _ = _fit(expr, scope)
    counted = [(a, _numbers(a, scope)) for a in expr.arguments]
    others = tuple(a for a, numbers in counted if numbers is None)
    numbers = tuple(n for _, held in counted for n in held or ())
    if not numbers:
        raise scope.reject(
            "E300", "which features?", expr.span, help=f"write features({expr.span.text})"
        )
    index = replace(expr, arguments=others) if others else None
    told = "".join(f", {a.span.text}" for a, held in counted if held is not None)
    found = one_of(index, step, expr.span, scope, told)
    wrong = [n for n in numbers if not 0 <= n < found.option("width")]
    if wrong:
        raise scope.reject(
            "E311",
            f"`{step.name}` has no feature {wrong[0]}",
            expr.span,
            label=f"it has features 0..{found.option('width') - 1}",
        )
    return FeaturesTerm(step, found, numbers)


def feature_units(expr: Expr, scope: Scope) -> UnitSet:
    """Features as units, each a place of its own; or what a dictionary leaves unexplained."""
    if isinstance(expr, Call) and expr.function == ERRORS:
        return _errors(expr, scope)
    term = features(expr, scope)
    _of_one_model(term.fitted, term.step.name, expr.span, scope)
    site = term.fitted.features(term.step.name)
    numbers = range(term.fitted.option("width")) if term.numbers is None else term.numbers
    return UnitSet(Explicit(tuple(Unit((Target(site, n),)) for n in numbers)), term.step.model)


def only_plain(fitted: tuple[Fitted, ...], name: str, span: Span, scope: Scope) -> None:
    """Refuse transcoders and crosscoders, whose features are at more places than one."""
    if not all(one.is_plain for one in fitted):
        what = "transcoder" if fitted[0].onto else "crosscoder"
        raise scope.reject(
            "E306",
            f"features of a {what} are not related",
            span,
            label=f"`{name}` is of {fitted[0].place}",
            help="look at them: inspect features(…); or splice it in: evaluate … measure "
            "ce_loss_score()",
        )


def _of_one_model(fitted: Fitted, name: str, span: Span, scope: Scope) -> None:
    """Refuse crosscoders between models, of which a step runs one."""
    if len(fitted.models) > 1:
        raise scope.reject(
            "E306",
            "features of a crosscoder between models are no units",
            span,
            label=f"`{name}` is of {fitted.place}",
            help="look at them: inspect features(…); or splice it in: evaluate … measure "
            "ce_loss_score()",
        )


def check_live(found: tuple[Site, ...], why: str, span: Span, scope: Scope) -> None:
    """Refuse features that must be read as a pass goes and cannot be."""
    far = next((site for site in found if site.feature and not site.can_be_read_live), None)
    if far is None:
        return
    read, rebuilt = (Target(ps[0].tensor, ps[0].part).place for ps in (far.read, far.rebuilt))
    where = "at several places" if far.others else f"at {read} and write at {rebuilt}"
    raise scope.reject(
        "E306",
        f"features of `{far.feature}` cannot be read as a pass goes",
        span,
        label=f"{why}; they are read {where}",
        help="change them alone, in a patch or ablate of their own; those of one place, or of one "
        "MLP as on L0.mlp_in to L0.mlp, can be read as a pass goes",
    )


def check_order(made: Sequence[tuple[Site, ...]], span: Span, scope: Scope) -> None:
    """Refuse a transcoder's error that is changed after its features, by sites of one intervention
    after another: what these have added to what is rebuilt would be lost with it."""
    seen: set[str | None] = set()
    for found in made:
        for site in found:
            if site.kind == "error" and site.onto is not None and site.feature in seen:
                raise scope.reject(
                    "E306",
                    f"errors({site.feature}) are changed after features of `{site.feature}`",
                    span,
                    label="what the features add to what is rebuilt is part of its error by then",
                    help="name the error first: under together(ERRORS, FEATURES), or change both "
                    "in one intervention",
                )
        seen |= {site.feature for site in found if site.kind == "feature"}


def _errors(expr: Call, scope: Scope) -> UnitSet:
    """`errors(sae)`, `errors(sae[k=32])`: one place."""
    if len(expr.arguments) != 1 or expr.arguments[0].name is not None:
        raise scope.reject("E301", "errors of what?", expr.span, help="write errors(sae)")
    step, index = _fit(expr.arguments[0].value, scope)
    fitted = one_of(index, step, expr.span, scope)
    _of_one_model(fitted, step.name, expr.span, scope)
    return UnitSet(Explicit((Unit((Target(fitted.errors(step.name)),)),)), step.model)


def holds_dictionaries(expr: Expr, scope: Scope) -> bool:
    """Whether this names a step that fits dictionaries, or a dictionary that is loaded."""
    return dictionary_step(expr, scope) is not None


def dictionary_step(expr: Expr, scope: Scope) -> Step | None:
    """The step behind a name that leaves dictionaries, fitted or loaded; None for all else."""
    from interp_dsl.check.lets import let_kinds
    from interp_dsl.check.results import step_of

    declared = scope.lookup(expr, "let")
    if declared is not None:
        loaded: Step | None = let_kinds(declared).get("dictionary")
        return loaded
    if scope.lookup(expr, "step") is None:
        return None
    step = step_of(expr, scope)
    return step if step.result == "dictionary" else None


def _fit(expr: Expr, scope: Scope) -> tuple[Step, Index | None]:
    """The step that leaves a dictionary, and the brackets behind its name."""
    from interp_dsl.check.results import step_of

    index = expr if isinstance(expr, Index) else None
    root = expr.value if isinstance(expr, Index) else expr
    step = dictionary_step(root, scope)
    if step is None:
        step = step_of(root, scope, "a dictionary")
        raise scope.reject(
            "E300", f"`{step.name}` has no features", expr.span, label=f"a step of `{step.verb}`"
        )
    return step, index


def _numbers(argument: Argument, scope: Scope) -> list[int] | None:
    """The numbers of features that an argument names; None where it names a dictionary."""
    if argument.name is not None or not isinstance(argument.value, Number | Range | ListOf):
        return None
    value = literal(argument.value, scope)
    values = value if isinstance(value, list) else [value]
    if not all(map(is_whole, values)):
        raise scope.reject("E302", "a feature's number is a whole number", argument.span)
    return values


def _part(argument: Argument, scope: Scope) -> str:
    if argument.name is None:
        return " ".join(argument.value.span.text.split())
    return f"{argument.name}={said(literal(argument.value, scope))}"


def _listed(step: Step) -> str:
    labels = [d.label for d in step.dictionaries]
    more = f" and {len(labels) - 6} more" if len(labels) > 6 else ""
    return "; ".join(labels[:6]) + more
