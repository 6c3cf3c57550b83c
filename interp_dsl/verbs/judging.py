"""`evaluate DICTIONARY on DATA measure …`: how well a dictionary does."""

from __future__ import annotations

from interp_dsl.plan.algebra import Literal, Metric
from interp_dsl.plan.dictionaries import BY_MODEL, DictionaryOf, EvaluateDictionary, Judged
from interp_dsl.verbs.beside import check_beside
from interp_dsl.verbs.lowering import Lowering, frozen, place_of
from interp_dsl.verbs.signature import Checks, Function, Parameter
from interp_dsl.verbs.values import Call, DictionaryTerm, FindingTerm, Keyed, Model, Side, Step

_AGAINST = Parameter("word", "zero", "what stands for losing the site", ("zero", "mean"))

_REFERENCE = {"reference": Parameter("dictionary", doc="the dictionary that it is compared with")}

MEASURES: dict[str, Function] = {
    f.name: f
    for f in (
        Function("l0", "Features on for an activation."),
        Function("l1", "The sum of the features for an activation."),
        Function("mse", "The mean squared error of an element."),
        Function("fvu", "The fraction of variance unexplained."),
        Function("explained_variance", "1 - fvu."),
        Function("cosine", "The mean cosine of activation and reconstruction."),
        Function("l2_ratio", "The mean ratio of the reconstruction's length to the activation's."),
        Function("dead", "The share of features that never fire on the data."),
        Function("frac_alive", "The share of features that fire on the data."),
        Function("freq_over_1_percent", "The share of features that fire on more than 1% of it."),
        Function("freq_over_10_percent", "The share of features that fire on more than 10% of it."),
        Function(
            "ce_loss_score",
            "The part of the cross-entropy lost by ablation that the reconstruction keeps.",
            {"ablation": _AGAINST},
        ),
        Function("loss_recovered", "The same.", {"ablation": _AGAINST}),
        Function(
            "kl_div_score",
            "The part of the divergence made by ablation that the reconstruction avoids.",
            {"ablation": _AGAINST},
        ),
        Function(
            "exclusive",
            "Of a crosscoder of several models the share of the features that fire which write in "
            "one alone.",
            {
                "least": Parameter(
                    "number",
                    0.9,
                    "the relative decoder norm from which on a feature is a model's own",
                    least=0,
                    most=1,
                )
            },
        ),
        Function(
            "mmcs",
            "The mean over the reference's features of the largest cosine with one of its own.",
            _REFERENCE,
        ),
        Function(
            "universality",
            "The mean over features of the largest correlation with one of the reference's.",
            _REFERENCE,
        ),
        Function(
            "splitting",
            "The share of a smaller dictionary's features that have split into several of this.",
            {
                "reference": Parameter("dictionary", doc="the smaller dictionary"),
                "least": Parameter(
                    "number",
                    0.7,
                    "the cosine of decoders from which on a feature is part of another, as Leask "
                    "et al. 2025 have it",
                    least=0,
                    most=1,
                ),
            },
        ),
        Function(
            "sparse_probing",
            "How well a few features tell the values of a column apart, and how well activations "
            "do.",
            {
                "target": Parameter("word", doc="the column whose values are told apart"),
                "k": Parameter("ints", (1, 2, 5), "features of a probe, or a list", least=1),
                "test": Parameter(
                    "number",
                    0.2,
                    "the share of each class that probes are tried on",
                    least=0,
                    most=1,
                ),
                "seed": Parameter("int", 0, "of what is drawn", least=0),
            },
        ),
    )
}
SPLICED = ("ce_loss_score", "loss_recovered", "kl_div_score")
RAW: dict[str, tuple[str, ...]] = {
    "ce_loss_score": ("ce_loss_without_sae", "ce_loss_with_sae", "ce_loss_with_ablation"),
    "kl_div_score": ("kl_div_with_sae", "kl_div_with_ablation"),
    "splitting": ("splitting_parts", "splitting_coverage", "splitting_novel"),
}
"""The values that a score is made of, or that go with it, which have rows of their own beside
it."""
PROBED = ("sae", "llm")
"""What SAEBench's probes are of: features, and activations as they are."""


def rows_of(finding: FindingTerm) -> tuple[str, ...]:
    """The metrics that a measure has rows of; of probes those that SAEBench has names for."""
    if finding.function != "sparse_probing":
        return (finding.name, *RAW.get(finding.name, ()))
    counts = [f"_top_{k}" for k in dict.fromkeys(dict(finding.arguments)["k"])]
    return tuple(f"{of}{top}_test_accuracy" for top in (*counts, "") for of in PROBED)


def check(call: Call, checks: Checks, term: DictionaryTerm) -> Step:
    """The checked step of judged dictionaries."""
    model = term.step.model
    assert model is not None
    side: Side = call.one("on")
    for word in ("under", "with"):
        if word in call.clauses:
            checks.error(
                "E306",
                f"a dictionary is judged without `{word}`",
                call.spans[word],
                help="evaluate on (DATA under …)" if word == "under" else None,
            )
    models = (model, *term.step.beside)
    for one in models:
        checks.check_side(call, side, one, "on")
    if term.step.beside:
        check_beside(call, checks, side, models, "on")
    else:
        checks.check_contexts(call, model, side, "on")
    if term.step.learned_from is not None:
        warn_of_same(
            call,
            checks,
            (side, term.step.learned_from),
            model,
            "the dictionary is judged on data that it was fitted to",
            "fit",
            "fit one part and judge on another",
            0.8,
        )
    names: list[str] = []
    by_model: list[str] = []
    for finding in call.clauses["measure"]:
        if finding.function not in MEASURES:
            checks.error(
                "E306",
                f"`{finding.name}` is not measured of a dictionary",
                call.spans["measure"],
                label=f"what is: {', '.join(MEASURES)}",
                help=f"what the model loses with it spliced in: {'(), '.join(SPLICED)}()",
            )
            continue
        _check_reference(call, checks, term, finding)
        if finding.function == "exclusive" and not term.step.beside:
            checks.error(
                "E306",
                f"`{term.step.name}` is of one model, whose features all are",
                call.spans["measure"],
                label="exclusive() is measured of a crosscoder of several models",
            )
        if finding.function == "sparse_probing":
            target = dict(finding.arguments)["target"]
            checks.check_labels(call, side, model, target, "measure")
        names += rows_of(finding)
        by_model += rows_of(finding) if finding.function in BY_MODEL else ()
    for name in dict.fromkeys(n for n in names if names.count(n) > 1):
        checks.error(
            "E309",
            f"`{name}` is measured twice",
            call.spans["measure"],
            help="measure one of them in a step of its own",
        )
    return Step(
        call.name,
        "evaluate",
        "scores",
        model,
        tuple(Metric(name, Literal(0.0)) for name in names),
        has_effect=False,
        lacks=("base", "effect", "normalized"),
        dictionaries=term.fitted if len(term.fitted) > 1 else (),
        n_rows=1,
        keyed=(Keyed("model", tuple(m.name for m in models), tuple(by_model)),)
        if term.step.beside
        else (),
    )


def _check_reference(
    call: Call, checks: Checks, term: DictionaryTerm, finding: FindingTerm
) -> None:
    """Directions are compared within one space, features on the tokens of one model."""
    reference: DictionaryTerm | None = dict(finding.arguments).get("reference")
    if reference is None:
        return
    (other,) = reference.fitted
    widths = {d.d_rebuilt for d in (*term.fitted, other)} - {None}
    if finding.function in ("mmcs", "splitting") and len(widths) > 1:
        checks.error(
            "E306",
            f"`{reference.step.name}` is of activations {other.d_rebuilt:,} wide",
            call.spans["measure"],
            label="there are no cosines between them and those of "
            f"`{term.step.name}`, {term.fitted[0].d_rebuilt:,} wide",
        )
    ours, theirs = ((s.model, *s.beside) for s in (term.step, reference.step))
    if finding.function != "mmcs" and ours != theirs:
        checks.error(
            "E307",
            f"`{reference.step.name}` is of another model than `{term.step.name}`",
            call.spans["measure"],
            label=f"{finding.function} is measured on the activations of one",
        )


def warn_of_same(
    call: Call,
    checks: Checks,
    sides: tuple[Side, Side],
    model: Model,
    message: str,
    source: str,
    advice: str,
    share: float = 0.5,
) -> None:
    """What is found suits the prompts that it was found on: science calls for others. `sides`: the
    one that it is measured on, and the one that it was found on, a `share` of which is enough."""
    side, learned = sides
    found = checks.shared(side, learned, model)
    is_same = side.dataset is learned.dataset and side.side == learned.side
    if (found is None and is_same) or (found is not None and found[0]):
        n, all_of_them = found or (0, 0)
        told = f"{n} of {all_of_them} prompts" if found else f"the very data of its {source}"
        checks.warn(
            "W41",
            message,
            call.spans["on"],
            label=told,
            help=(
                "these stand among both; take two parts of one dataset"
                if found and n < all_of_them
                else advice
            )
            + _two_parts(learned, checks.n_prompts(learned, model), share),
        )


def _two_parts(learned: Side, n: int | None, share: float) -> str:
    """How to keep what is judged on apart."""
    name, at = learned.dataset.name, "…" if n is None else f"{int(share * n)}"
    return f": {name} where index < {at}, {name} where index >= {at}"


def _judged(finding: FindingTerm, lowering: Lowering) -> Judged:
    given = dict(finding.arguments)
    term: DictionaryTerm | None = given.pop("reference", None)
    reference = None
    if term is not None:
        lowering.require([term.step.name])
        reference = DictionaryOf(term.step.name, term.fitted)
    arguments = tuple(sorted(frozen(given).items()))
    return Judged(finding.name, str(finding.function), arguments, reference)


def lower(call: Call, step: Step, lowering: Lowering, term: DictionaryTerm) -> None:
    assert step.model is not None
    lowering.require([term.step.name])
    measures = tuple(_judged(f, lowering) for f in call.clauses["measure"])
    lowering.add(
        EvaluateDictionary(
            f"evaluate:{step.name}",
            step.name,
            lowering.run(call.one("on"), step.model),
            DictionaryOf(term.step.name, term.fitted),
            measures,
            any(m.function in SPLICED for m in measures),
            lowering.width(call.one("on"), step.model),
            place=place_of(call.verb_span),
            beside=tuple(lowering.run(call.one("on"), m) for m in term.step.beside),
        )
    )
