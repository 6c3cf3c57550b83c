"""What `patch` and `ablate` share: one intervention, one unit at a time, and its measure."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.plan.algebra import Metric
from interp_dsl.plan.places import HEAD_SITES, telling
from interp_dsl.plan.tasks import Sweep
from interp_dsl.verbs import edges
from interp_dsl.verbs.lowering import Lowering, place_of, sites
from interp_dsl.verbs.signature import Checks, Clause
from interp_dsl.verbs.values import Call, Change, Context, Side, SourceTerm, Step, UnitSet

NARROWING = {
    "at": Clause("positions", "at which positions; all at once when left out", many=True),
    "layers": Clause("int", "only units of these layers", many=True),
    "where": Clause("units", "only units whose scores pass a test", many=True),
}
MEASURING = {
    "measure": Clause("metric", "the metrics; without it the step is an intervention", many=True),
    "under": Clause("context", "interventions that hold throughout, one run each", many=True),
    "along": Clause("vector", "change only the component in the span of these", many=True),
    "using": Clause("travel", "of edges: through what else their effect goes, what is frozen"),
}


ERROR_SOURCES = ("zero", "side", "resample", "mean")
FEATURE_SOURCES = (*ERROR_SOURCES, "constant", "times")


def check(call: Call, checks: Checks, source_word: str, into_word: str) -> Step:
    """The step of a sweep, its parts tested against each other."""
    units: UnitSet = call.objects[0]
    into: Side | None = call.one(into_word)
    metrics: tuple[Metric, ...] = call.clauses.get("measure", ())
    model = checks.model_of(call)
    along = call.clauses.get("along", ())
    source: SourceTerm = call.one(source_word)
    if source.kind == "times":
        source = replace(source, side=into)
    change = Change(replace(units, model=model), source, along)
    if any(site.kind == "edge" for site in checks.sites(units.units)):
        return edges.check(call, checks, change, source_word, into_word)
    check_places(call, checks, change, source_word)
    if metrics and into is None:
        checks.error(
            "E303",
            f"`{call.verb}` with `measure` needs `{into_word}`",
            call.verb_span,
            label="on which side is it measured?",
            help=f"add {into_word} DATASET.clean",
        )
    if into is not None and not metrics and source.kind != "times":
        checks.error(
            "E303",
            f"`{call.verb}` with `{into_word}` needs `measure`",
            call.verb_span,
            label="what is measured there? Without it nothing is run",
            help=f"add measure logit_diff(), or leave `{into_word}` out of an intervention",
        )
    if not metrics and "under" in call.clauses:
        checks.error(
            "E306",
            "an intervention holds under no other",
            call.spans["under"],
            label="this step has no `measure`",
            help=f"join them where they are used: under together(…, {call.name})",
        )
    checks.check_change(call, change, source_word, into_word)
    step = Step(
        call.name,
        call.verb,
        "scores" if metrics else "intervention",
        model,
        metrics,
        units.units,
        change,
        contexts=tuple(c.name for c in call.clauses.get("under", ())),
        n_rows=checks.count(units.units, model, into),
    )
    if metrics and into is not None:
        checks.check_contexts(call, model, into, into_word)
        checks.check_metrics(call, step, into)
    return step


def check_places(call: Call, checks: Checks, change: Change, word: str) -> None:
    """The places can be changed, and by what stands at `word`."""
    if "using" in call.clauses:
        checks.error(
            "E306",
            "`using` says how the effect of edges travels, and these are places",
            call.spans["using"],
            help="name edges: {L0H1, L1H2} -> logits",
        )
    sites = checks.sites(change.units.units)
    kinds = {s.kind for s in sites}
    if any((s.hook or "").endswith("attn.hook_pattern") for s in sites):
        checks.error(
            "E306",
            "a layer's patterns cannot be changed as one tensor",
            call.spans["objects"],
            label="it has heads before positions",
            help="name the heads' patterns: L1H0.pattern, patterns layers 1",
        )
    if change.source.kind == "blocked" and kinds - {"pattern"}:
        checks.error(
            "E306",
            "only attention patterns can be blocked",
            call.spans[word],
            label="takes entries out before the softmax",
            help="name patterns: ablate patterns at S2 -> END with blocked",
        )
    check_features(call, checks, kinds, change, word)
    if change.source.kind == "times" and kinds - {"feature"}:
        checks.error(
            "E306",
            "`x` counts in a feature's largest activation, and this is no feature",
            call.spans[word],
            help="write a number alone",
        )
    if "logits" in kinds:
        checks.error(
            "E306",
            "the logits cannot be changed",
            call.spans["objects"],
            label="nothing comes after them",
        )
    if change.along and kinds & {"pattern", "neuron", "feature", "error"}:
        checks.error(
            "E306",
            "`along` needs places that hold vectors",
            call.spans["along"],
            help=f"use a residual stream or one of {', '.join(HEAD_SITES[:4])}",
        )


def check_features(call: Call, checks: Checks, kinds: set[str], change: Change, word: str) -> None:
    """Features, and the errors of dictionaries, are set to what they can be set to."""
    kind = change.source.kind
    if "feature" in kinds and kind not in FEATURE_SOURCES:
        checks.error(
            "E306",
            "a feature is set to zero, a number, what it is in another run, or its mean",
            call.spans[word],
        )
    elif "error" in kinds and kind not in ERROR_SOURCES:
        checks.error(
            "E306",
            "an error is set to zero, what it is in another run, or its mean",
            call.spans[word],
            label="it is a vector, with no scale of its own",
        )


def lower(call: Call, step: Step, lowering: Lowering, into_word: str) -> None:
    """Tasks: the forward passes it needs, then the sweep."""
    if step.result != "scores" or step.model is None or step.change is None:
        return
    if any(site.kind == "edge" for site in sites(step.change.units.units, lowering.steps)):
        return edges.lower(call, step, lowering, into_word)
    into: Side = call.one(into_word)
    contexts: tuple[Context, ...] = call.clauses.get("under", ())
    model, source = step.model, step.change.source
    intervention = lowering.intervention(step.change, model, into)
    other = (
        lowering.run(source.side, model)
        if source.kind == "side" and source.side is not None and source.side != into
        else None
    )
    reference = lowering.reference(into, model)
    own = telling(sites(step.change.units.units, lowering.steps))
    variants = lowering.variants(step, contexts, into, other, reference, own)
    if other is not None:
        lowering.measured(other, step.metrics, reference)
    lowering.checks(into, model)
    lowering.add(
        Sweep(
            f"sweep:{step.name}",
            step.name,
            variants,
            intervention,
            step.metrics,
            reference,
            place=place_of(call.verb_span),
        )
    )
