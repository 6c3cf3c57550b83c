"""Steps: a verb's objects and clauses evaluated as its signature says, then checked by the verb."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from interp_dsl.check import (
    circuits,
    crossing,
    dictionaries,
    directions,
    estimates,
    factorings,
    fits,
    lengths,
    relations,
    searches,
    sides,
    sources,
    units,
)
from interp_dsl.check.arguments import options
from interp_dsl.check.edge_sets import edge_set
from interp_dsl.check.literals import values_of, whole
from interp_dsl.check.metrics import metric
from interp_dsl.check.results import step_of
from interp_dsl.check.scope import Declared, Rejected, Scope
from interp_dsl.check.stepchecks import StepChecks
from interp_dsl.check.travel import travel
from interp_dsl.check.vectors import vector
from interp_dsl.language import tree
from interp_dsl.language.source import Span
from interp_dsl.language.suggest import suggest
from interp_dsl.language.tree import Expr, Index, Phrase
from interp_dsl.plan.algebra import Explicit
from interp_dsl.verbs import verbs
from interp_dsl.verbs.signature import Clause, Verb
from interp_dsl.verbs.values import Call, EdgeSet, Step, UnitSet

# What one verb calls so, another calls so.
_COUNTERPARTS = {"on": "into", "into": "on", "to": "into", "with": "from", "from": "with"}
_NARROWING = ("layers", "at", "where")


def declared_step(declared: Declared) -> Step:
    value: Step = declared.evaluate(lambda: _check(declared))
    return value


def _check(declared: Declared) -> Step:
    scope = declared.scope
    verb, call = evaluate_call(declared)
    before = len(scope.session.diagnostics)
    step = verb.check(call, StepChecks(scope))
    if any(d.severity == "error" for d in scope.session.diagnostics[before:]):
        raise Rejected
    scope.session.steps[step.name] = step
    scope.session.calls[step.name] = (verb, call)
    return step


def evaluate_call(declared: Declared) -> tuple[Verb, Call]:
    """The verb of a step and its evaluated parts; every wrong part is reported, then Rejected."""
    scope, phrase = declared.scope, declared.expr
    assert isinstance(phrase, Phrase) and phrase.verb is not None
    verb, verb_span = _verb(phrase, scope), phrase.verb.span
    _swapped(phrase, verb, scope)
    phrase = _with_places(_with_chosen(phrase, verb), verb)
    spans: dict[str, Span] = {}
    clauses: dict[str, tuple[Any, ...]] = {}
    narrowing: list[tree.Clause] = []
    failed = False
    for clause in phrase.clauses:
        try:
            signature = _signature(clause, verb, spans, scope)
            if clause.word in _NARROWING:
                narrowing.append(clause)
            else:
                clauses[clause.word] = _values(clause, signature, phrase, scope)
        except Rejected:
            failed = True
    failed |= _missing(verb, spans, phrase, scope)
    try:
        objects = _objects(phrase, verb, narrowing, spans, scope)
    except Rejected:
        failed = True
    if failed:
        raise Rejected
    return verb, Call(declared.id, verb.name, phrase.span, verb_span, objects, clauses, spans)


def _verb(phrase: Phrase, scope: Scope) -> Verb:
    assert phrase.verb is not None
    name, known = phrase.verb.id, verbs()
    if name in known:
        return known[name]
    near = suggest(name, list(known))
    raise scope.reject(
        "E204",
        f"there is no verb `{name}`",
        phrase.verb.span,
        label=f"the verbs: {', '.join(known)}",
        help=f"did you mean `{near}`?" if near else None,
    )


def _swapped(phrase: Phrase, verb: Verb, scope: Scope) -> None:
    """Report `evaluate DATA on MODEL` as the one mistake that it is."""
    on = next((c.values[0] for c in phrase.clauses if c.word == "on" and c.values), None)
    if verb.objects.kind != "subject" or on is None or not phrase.objects:
        return
    first: Expr = phrase.objects[0]
    if scope.lookup(on, "model") and scope.lookup(first, "dataset", "let"):
        raise scope.reject(
            "E300",
            f"`{verb.name}` takes a model, and `on` the data",
            first.span,
            label="this is the data",
            help=f"write {verb.name} {on.span.text} on {first.span.text}",
        )


def _with_chosen(phrase: Phrase, verb: Verb) -> Phrase:
    """`on DATA where TEST` of a verb whose `where` chooses examples, as `on (DATA where TEST)`."""
    on = next((c for c in phrase.clauses if c.word == "on" and len(c.values) == 1), None)
    chosen = tuple(c for c in phrase.clauses if c.word == "where")
    where = verb.clauses.get("where")
    if where is None or where.kind != "data" or on is None or not chosen:
        return phrase
    data = Phrase(verb=None, objects=on.values, clauses=chosen, span=on.values[0].span)
    joined = replace(on, values=(data,))
    others = (c for c in phrase.clauses if c is not on and c.word != "where")
    return replace(phrase, clauses=(joined, *others))


def _with_places(phrase: Phrase, verb: Verb) -> Phrase:
    """`on PLACES layers 0..3` of a verb whose places stand there, as `on (PLACES layers 0..3)`."""
    on = next((c for c in phrase.clauses if c.word == "on"), None)
    narrowing = tuple(c for c in phrase.clauses if c.word in _NARROWING)
    places = ("units", "crossing")
    if on is None or not narrowing or verb.clauses.get("on", verb.objects).kind not in places:
        return phrase
    narrowed = Phrase(verb=None, objects=on.values, clauses=narrowing, span=on.span)
    joined = replace(on, values=(narrowed,))
    others = (c for c in phrase.clauses if c is not on and c not in narrowing)
    return replace(phrase, clauses=(joined, *others))


def _signature(clause: tree.Clause, verb: Verb, spans: dict[str, Span], scope: Scope) -> Clause:
    known = verb.clauses
    if clause.word in verb.refused:
        why, instead = verb.refused[clause.word]
        raise scope.reject("E306", why, clause.word_span, help=instead)
    if clause.word not in known:
        other = _COUNTERPARTS.get(clause.word)
        near = other if other in known else suggest(clause.word, list(known))
        raise scope.reject(
            "E210",
            f"`{verb.name}` takes no clause `{clause.word}`",
            clause.word_span,
            label=f"it takes {', '.join(known)}",
            help=f"did you mean `{near}`?" if near else None,
        )
    if clause.word in spans:
        raise scope.reject(
            "E304",
            f"`{clause.word}` is given twice",
            clause.word_span,
            help=f"give its values in one: {clause.word} …, …"
            if known[clause.word].many
            else "delete one of them",
        )
    spans[clause.word] = clause.span
    if len(clause.values) > 1 and not known[clause.word].many:
        raise scope.reject(
            "E304", f"`{clause.word}` takes one value", clause.values[1].span, label="a second one"
        )
    return known[clause.word]


def _missing(verb: Verb, spans: dict[str, Span], phrase: Phrase, scope: Scope) -> bool:
    assert phrase.verb is not None
    missing = [w for w, c in verb.clauses.items() if c.required and w not in spans]
    for word in missing:
        scope.error(
            "E303",
            f"`{verb.name}` needs `{word}`",
            phrase.verb.span,
            label=verb.clauses[word].doc,
            help=f"write for example: {_example(phrase, verb, scope)}",
        )
    return bool(missing)


def _example(phrase: Phrase, verb: Verb, scope: Scope) -> str:
    """A step of the verb, of what the phrase is of."""
    if len(phrase.objects) != 1 or not verb.examples:
        return verb.example
    (named,) = phrase.objects
    example = verb.examples.get(_kind(named, scope) or "")
    return example.format(named.span.text) if example else verb.example


def _kind(named: Expr, scope: Scope) -> str | None:
    """What an object is: model, or the kind of a step's result; None where that is not clear."""
    root = named.value if isinstance(named, Index) else named
    if scope.lookup(root, "model"):
        return "model"
    try:
        step = dictionaries.dictionary_step(root, scope)
        if step is None and scope.lookup(root, "step"):
            step = step_of(root, scope)
    except Rejected:
        return None
    return step.result if step else None


def _objects(
    phrase: Phrase, verb: Verb, narrowing: list[tree.Clause], spans: dict[str, Span], scope: Scope
) -> tuple[Any, ...]:
    assert phrase.verb is not None
    if not phrase.objects:
        raise scope.reject(
            "E303",
            f"`{verb.name}` of what?",
            phrase.verb.span,
            label=verb.objects.doc,
            help=f"write for example: {verb.example}",
        )
    spans["objects"] = phrase.objects[0].span.to(phrase.objects[-1].span)
    if len(phrase.objects) > 1 and not verb.objects.many:
        raise scope.reject(
            "E304", f"`{verb.name}` takes one object", phrase.objects[1].span, label="a second one"
        )
    evaluate = _SETS.get(verb.objects.kind)
    if evaluate is None:
        return tuple(_EVALUATORS[verb.objects.kind](o, scope) for o in phrase.objects)
    found = evaluate(phrase.objects, narrowing, spans["objects"], scope)
    if Explicit(()) in (getattr(found, "units", None), getattr(found, "among", None)):
        raise scope.reject(
            "E302",
            "no place is left in this set",
            spans["objects"],
            help="`&` keeps what both sides name, `-` takes away what the right one names",
        )
    return (found,)


def _places(
    objects: Sequence[Expr], narrowing: Sequence[tree.Clause], span: Span, scope: Scope
) -> UnitSet:
    joined = Phrase(span=span, verb=None, objects=tuple(objects), clauses=tuple(narrowing))
    return units.units(joined, scope)


def _values(
    clause: tree.Clause, signature: Clause, phrase: Phrase, scope: Scope
) -> tuple[Any, ...]:
    """The values of a clause; all of them are looked at before the first wrong one stops it."""
    if signature.kind == "travel":
        return (travel(clause, scope),)
    if signature.options is not None:
        return (options(clause, signature.options, scope),)
    values, failed = [], False
    evaluate = _EVALUATORS.get(signature.kind)
    if signature.kind == "finding":
        subject = _kind(phrase.objects[0], scope) if phrase.objects else None
        evaluate = partial(searches.finding, subject=subject)
    assert evaluate is not None, signature.kind
    for expr in values_of(clause, scope):
        try:
            values.append(evaluate(expr, scope))
        except Rejected:
            failed = True
    if failed:
        raise Rejected
    return tuple(values)


_SETS: dict[str, Callable[..., UnitSet | EdgeSet]] = {
    "units": _places,
    "places": edge_set,
}
"""How objects that are a set of units together are evaluated, with the clauses that narrow them."""

_EVALUATORS: dict[str, Callable[[Expr, Scope], Any]] = {
    "units": units.units,
    "crossing": crossing.crossing,
    "side": sides.side,
    "data": sides.either,
    "source": sources.source,
    "end": sources.end,
    "metric": metric,
    "context": sources.context,
    "vector": vector,
    "int": whole,
    "subject": circuits.subject,
    "search": searches.search,
    "estimate": estimates.estimate,
    "factoring": factorings.factoring,
    "direction": directions.direction,
    "path": directions.path,
    "length": lengths.lengths,
    "share": lengths.shares,
    "dictionary": relations.dictionary,
    "relation": relations.relation,
    "method": fits.method,
    "features": dictionaries.features,
    "reading": fits.reading,
}
