"""`patch` and `ablate` of edges and paths: the direct effect of one place on another.

Along the edge the receiver reads what the source says; its other inputs are those of the measured
run, and everything behind it is recomputed, patterns and norms included (path patching,
Goldowsky-Dill et al. 2023, arXiv 2304.05969). Of several edges at once, a later receiver also reads
what an earlier one has changed. On a path of several, each node between is computed from the run
but for the edge that leads to it, and only the next receiver of the path reads what it gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from interp_dsl.language.source import Span
from interp_dsl.plan.algebra import (
    Combined,
    Edges,
    Explicit,
    Filtered,
    Grouped,
    Intervention,
    OfCircuit,
    Placed,
    Top,
    Travel,
    Units,
)
from interp_dsl.plan.names import hops, is_direct
from interp_dsl.plan.places import Unit
from interp_dsl.plan.tasks import Sweep
from interp_dsl.plan.units import depends
from interp_dsl.verbs.lowering import Lowering, place_of
from interp_dsl.verbs.search import check_source
from interp_dsl.verbs.signature import Checks
from interp_dsl.verbs.values import Call, Change, Side, Step

HELD = ("head", "z", "mlp_out")
"""Sites at which interventions hold in the edges' passes."""


def check(call: Call, checks: Checks, change: Change, source_word: str, into_word: str) -> Step:
    """The step of a sweep over edges."""
    model = checks.model_of(call)
    into: Side | None = call.one(into_word)
    units, metrics = change.units.units, call.clauses.get("measure", ())
    _check_units(call, checks, change)
    step = Step(
        call.name,
        call.verb,
        "scores",
        model,
        metrics,
        units,
        change,
        contexts=tuple(c.name for c in call.clauses.get("under", ())),
        n_rows=checks.count(units, model, into),
    )
    if not metrics or into is None:
        checks.error(
            "E303",
            f"`{call.verb}` of edges needs `{into_word}` and `measure`",
            call.verb_span,
            label="a change of edges is measured where it is made, and holds under no other step",
            help=f"add {into_word} DATASET.clean measure logit_diff()",
        )
        return step
    held = [c for context in call.clauses.get("under", ()) for c in context.changes]
    _check_held(checks, held, call.spans.get("under"))
    for side, word in ((into, into_word), (change.source.side, source_word)):
        _check_held(checks, side.under if side else (), call.spans[word])
    check_source(call, checks, model, (change.source, source_word), (into, into_word))
    checks.check_contexts(call, model, into, into_word)
    checks.check_change(call, replace(change, of_edges=True), source_word, into_word)
    checks.check_metrics(call, step, into)
    checks.check_tokens(call, step, into)
    return step


def _check_units(call: Call, checks: Checks, change: Change) -> None:
    model, found = checks.model_of(call), checks.sites(change.units.units)
    if any(site.kind != "edge" for site in found):
        checks.error(
            "E306",
            "edges and places are changed in steps of their own",
            call.spans["objects"],
            label="this names both",
        )
        return
    direct = next((s.edge for s in found if s.edge and is_direct(s.edge)), None)
    searched = [checks.step(name).searched for name in depends(change.units.units)]
    if direct or any(s is not None and s.direct for s in searched):
        checks.error(
            "E306",
            "a direct edge cannot be changed by itself",
            call.spans["objects"],
            label=direct or "the circuit was searched with direct=true",
            help="change what the head reads: L1H0.k_input",
        )
    _check_paths(call, checks, change.units.units)
    if model.spec["kind"] == "python":
        checks.error(
            "E306",
            "a model made by Python code has no edges to change",
            call.spans["objects"],
            label="its inner workings are not known",
            help="name a model by its weights: checkpoint(…), weights(…)",
        )


def _check_held(checks: Checks, changes: Sequence[Change], span: Span | None) -> None:
    """What holds throughout is told to the edges' passes by what heads and MLPs write."""
    kinds = {site.kind for change in changes for site in checks.sites(change.units.units)}
    if span is not None and kinds - {*HELD}:
        checks.error(
            "E306",
            "edges are changed under interventions on heads and MLPs alone",
            span,
            label=f"this changes {', '.join(sorted(kinds - {*HELD}))}",
            help="name heads, their .z, or mlps: step cut = ablate {L0H1} with zero",
        )


def _check_paths(call: Call, checks: Checks, units: Units) -> None:
    """Paths that are changed at once make no other, and what holds still carries none."""
    from interp_dsl.models.routes import stray, strays  # numpy

    if not isinstance(units, Explicit):
        return
    for unit in units.units:
        extra = stray(unit)
        if extra is not None:
            problem = strays(unit, extra)
            checks.error(
                problem.code,
                problem.message,
                call.spans["objects"],
                label=problem.notes[0],
                help=problem.help,
            )
            return
    travel: Travel | None = call.one("using")
    if travel is not None and "patterns" in travel.freeze and all(map(_is_attended, units.units)):
        checks.error(
            "E306",
            "where patterns are frozen, what queries and keys read changes nothing",
            call.spans["using"],
            help="name what values read, .v, or leave the patterns free",
        )


def _is_attended(unit: Unit) -> bool:
    """Whether all of a unit's paths lead through a query or a key."""
    paths = (hops(str(target.site.edge)) for target in unit.targets)
    return all(any(hop.endswith((".q", ".k")) for hop in path) for path in paths)


def lower(call: Call, step: Step, lowering: Lowering, into_word: str) -> None:
    """Tasks: the plain runs, then the sweep, which runs its source itself."""
    assert step.model is not None and step.change is not None
    into: Side = call.one(into_word)
    model, term, units = step.model, step.change.source, step.change.units.units
    lowering.require(depends(units))
    source = lowering.source(term, model, None)
    along = tuple(lowering.vector(v, model) for v in step.change.along)
    reference = lowering.reference(into, model)
    is_other = term.kind == "side" and term.side is not None and term.side != into
    other = lowering.run(term.side, model) if is_other and term.side else None
    contexts = call.clauses.get("under", ())
    variants = lowering.variants(step, contexts, into, other, reference)
    if other is not None:
        lowering.measured(other, step.metrics, reference)
    lowering.checks(into, model)
    lowering.add(
        Sweep(
            f"sweep:{step.name}",
            step.name,
            variants,
            Intervention(units, source, along),
            step.metrics,
            reference,
            edges=Edges(split_embed=any(_splits_embed(units, lowering.steps))),
            travel=call.one("using"),
            place=place_of(call.verb_span),
        )
    )


def _splits_embed(units: Units, steps: Mapping[str, Step]) -> Iterator[bool]:
    """Whether units tell the embeddings of tokens and of positions apart."""
    match units:
        case Explicit(units=items):
            names = (t.site.edge or "" for unit in items for t in unit.targets)
            yield any(name.startswith("pos_embed ") for name in names)
        case Combined(left=left, right=right):
            yield from _splits_embed(left, steps)
            yield from _splits_embed(right, steps)
        case OfCircuit(step=step):
            searched = steps[step].searched
            yield searched is not None and searched.edges.split_embed
        case Top(step=step):
            ranked = steps[step].units
            yield from () if ranked is None else _splits_embed(ranked, steps)
        case Filtered(units=inner) | Grouped(units=inner) | Placed(units=inner):
            yield from _splits_embed(inner, steps)
