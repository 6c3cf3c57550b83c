"""`factor LAYERS on DATA by METHOD [measure METRIC]`: what a model does, told by directions and
ranks of its layers."""

from __future__ import annotations

from interp_dsl.plan.algebra import Explicit, Literal, Metric
from interp_dsl.plan.metrics import good
from interp_dsl.plan.places import Unit
from interp_dsl.plan.tasks import Factor
from interp_dsl.verbs.factors import FACTORINGS, STREAM, Factoring
from interp_dsl.verbs.lowering import Lowering, place_of
from interp_dsl.verbs.signature import Checks, Clause, Verb
from interp_dsl.verbs.sweeps import NARROWING
from interp_dsl.verbs.values import Call, FactorTerm, Model, Side, Step, UnitSet


def _check(call: Call, checks: Checks) -> Step:
    term: FactorTerm = call.one("by")
    method, side, model = FACTORINGS[term.method], call.one("on"), checks.model_of(call)
    places: UnitSet = call.objects[0]
    step = Step(
        call.name,
        "factor",
        "scores",
        model,
        tuple(Metric(name, Literal(None)) for name in method.findings),
        units=_layers(call, checks, method, places, model),
        has_effect=False,
        lacks=("base", "effect", "normalized", "low", "high"),
        keyed=(method.keyed,),
    )
    if side.under:
        checks.error(
            "E306",
            "layers are factored in a run without interventions",
            call.spans["on"],
            help="name the side alone",
        )
    shape = model.facts.shape if model.facts else None
    if shape and not method.is_judged and (shape.parallel or shape.post_norms):
        checks.error(
            "E306",
            f"`{term.method}` does not know this model's MLPs",
            call.spans["objects"],
            label="they stand beside the attention"
            if shape.parallel
            else "a norm stands behind them",
        )
    checks.check_side(call, side, model, "on")
    _check_lengths(call, checks, side, model)
    _check_metric(call, checks, method, side, model)
    if method.is_judged and _is_language(model):
        checks.warn(
            "W43",
            "on language models the interaction basis is exploratory",
            call.spans["by"],
            label="its authors found no substantial gain over principal components there",
        )
    return step


def _is_language(model: Model) -> bool:
    """Whether it learned natural text or code, and no made-up task."""
    kind, name = model.spec["kind"], model.spec.get("name")
    return kind in ("pretrained", "checkpoint") or (kind, name) == ("bundled", "text-1l-512")


def _layers(
    call: Call, checks: Checks, method: Factoring, places: UnitSet, model: Model
) -> Explicit:
    """The places as they follow each other."""
    if not isinstance(places.units, Explicit):
        checks.error(
            "E306", "`factor` takes places that are known before the run", call.spans["objects"]
        )
        return Explicit(())
    name, found = method.function.name, places.units.units
    for unit in found:
        kinds = {target.site.kind for target in unit.targets}
        if not kinds <= set(method.of) or len(unit.targets) > 1 or unit.position != "all":
            checks.error(
                "E306",
                f"`{name}` does not factor {unit}",
                call.spans["objects"],
                label="it takes whole places of the residual stream"
                if method.is_judged
                else "it takes whole MLPs",
                help="write resid_pre | resid_mid, or {L0.resid_mid, L0.resid_post}"
                if method.is_judged
                else "write mlps, or {L0.mlp}",
            )
            return Explicit(())
    chain = tuple(sorted(set(found), key=_depth))
    if method.is_judged and len(chain) < 2:
        checks.error(
            "E306",
            f"`{name}` looks between places",
            call.spans["objects"],
            label="this is one alone",
            help="add the one behind it, or logits",
        )
    return Explicit(chain)


def _depth(unit: Unit) -> tuple[bool, int, int]:
    """Where in the stream a place lies: pre, then mid, then post of a layer; the logits last."""
    site = unit.targets[0].site
    order = STREAM.index(site.kind) if site.kind in STREAM else 0
    return (site.kind == "logits", site.layer or 0, order)


def _check_lengths(call: Call, checks: Checks, side: Side, model: Model) -> None:
    """Positions of all prompts mean the same."""
    shortest, longest = checks.lengths(side, model) or (0, 0)
    if shortest != longest:
        checks.error(
            "E692",
            f"`{side.dataset.name}` does not suit a chain of layers",
            call.spans["on"],
            label=f"its prompts have {shortest} to {longest} tokens",
            help="use prompts of one length: positions of all of them are to mean the same",
        )


def _check_metric(call: Call, checks: Checks, method: Factoring, side: Side, model: Model) -> None:
    """What ablations are judged by says what is worse."""
    metric: Metric | None = call.one("measure")
    name = method.function.name
    if method.is_judged and metric is None:
        checks.error(
            "E303",
            f"`{name}` needs `measure`",
            call.spans["by"],
            label="which metric is to be kept?",
            help="add measure accuracy(), or measure kl()",
        )
        return
    if metric is None:
        return
    if not method.is_judged:
        checks.error(
            "E304", f"`{name}` measures no metric", call.spans["measure"], help="leave it out"
        )
        return
    if good(metric.term) == 0:
        checks.error(
            "E306",
            f"`{metric.name}` cannot say what is worse",
            call.spans["measure"],
            label="is a large one better, or a small one?",
            help="measure accuracy(), kl() or logit_diff()",
        )
    measured = Step(call.name, "factor", "scores", model, (metric,))
    checks.check_metrics(call, measured, side)
    checks.check_tokens(call, measured, side)


def _lower(call: Call, step: Step, lowering: Lowering) -> None:
    term: FactorTerm = call.one("by")
    side, model = call.one("on"), step.model
    assert model is not None and isinstance(step.units, Explicit)
    run, reference = lowering.run(side, model), lowering.reference(side, model)
    metrics = call.clauses.get("measure", ())
    lowering.referred(metrics, reference)
    lowering.checks(side, model)
    lowering.add(
        Factor(
            f"factor:{step.name}",
            step.name,
            run,
            tuple(unit.targets[0] for unit in step.units.units),
            term.method,
            tuple(sorted(term.options.items())),
            metrics,
            reference,
            place=place_of(call.verb_span),
        )
    )


VERB = Verb(
    "factor",
    "Tell what layers do by directions of theirs, and by ranks.",
    Clause("units", "the layers", required=True, many=True),
    {
        "on": Clause("data", "the data: a side, or the clean side of a pair", required=True),
        "by": Clause("factoring", "the method", required=True),
        "measure": Clause("metric", "for interaction_basis: the metric that is to be kept"),
        "layers": NARROWING["layers"],
    },
    _check,
    _lower,
    "step bases = factor resid_pre | logits on sums by interaction_basis() measure accuracy()",
)
