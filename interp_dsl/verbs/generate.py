"""`generate N from PROMPTS under INTERVENTIONS`: texts continued, plain and steered.

Steering adds a vector to activations (Turner et al. 2023, arXiv 2308.10248; Panickssery et al.
2023, arXiv 2312.06681) or sets features of a dictionary (Templeton et al. 2024). Beside it stands
its control: at every place a change of the same length, in a random direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from interp_dsl.plan.algebra import Literal, Metric, Placed, Units
from interp_dsl.plan.generation import PLAIN, Continuation, Generate, control
from interp_dsl.plan.places import Positions, Site, Target
from interp_dsl.plan.rewrite import parts
from interp_dsl.verbs.lowering import Lowering, place_of, sites
from interp_dsl.verbs.signature import Checks, Clause, Function, Parameter, Verb
from interp_dsl.verbs.sweeps import MEASURING
from interp_dsl.verbs.values import Call, Change, Context, Keyed, Model, Side, SourceTerm, Step

MEASURES = ("logprob", "own_logprob", "kl", "same")
COUNTED = "words"
"""A further measure, where words are counted."""
EVERYWHERE = ("zero", "constant", "times", "vector", "blocked")
"""Sources that are the same at every token, one that is yet to be written too."""
FEATURES = ("zero", "constant", "times")
"""What features can be set to throughout."""
DIRECTIONS = ("vector", "file", "random", "covariance", "components")
"""Directions that lead somewhere at every token."""
OPTIONS = Function(
    "using",
    "How tokens are chosen.",
    {
        "temperature": Parameter("number", 0, "0: the most likely token; else tokens are drawn"),
        "top_p": Parameter(
            "number", 1, "drawn from the most likely with so much of the probability"
        ),
        "seed": Parameter("int", 0, "the seed of what is drawn, tokens and controls", least=0),
        "words": Parameter("texts", (), "what is counted in the texts, as the measure words"),
        "control": Parameter("bool", True, "whether steering has its control beside it"),
    },
)


def _check(call: Call, checks: Checks) -> Step:
    count: int = call.objects[0]
    side: Side = call.one("from")
    contexts: tuple[Context, ...] = call.clauses.get("under", ())
    model = _model(call, checks, contexts)
    if count < 1:
        checks.error("E302", "generate one token at least", call.spans["objects"])
    checks.check_side(call, side, model, "from")
    checks.check_contexts(call, model, side, "from")
    for context in contexts:
        for change in context.changes:
            _check_holds(call, checks, change, "under")
    for change in side.under:
        _check_holds(call, checks, change, "from")
    _check_model(call, checks, model, side, count)
    has_control = _check_options(call, checks)
    steered = [c.name for c in contexts if any(_steers(x, checks.sites) for x in c.changes)]
    if steered and not has_control:
        checks.warn(
            "W45",
            "steering is measured without its control",
            call.spans["using"],
            label="any change of this length changes the text",
            help="leave out control=false: random(…) stands beside each intervention that steers",
        )
    names = [PLAIN, *(c.name for c in contexts)]
    names += [control(name) for name in steered if has_control]
    for name in dict.fromkeys(n for n in names if names.count(n) > 1):
        checks.error(
            "E309",
            f"two texts of this step are called `{name}`",
            call.spans["under"],
            label="the text without any intervention" if name == PLAIN else "",
            help="name the intervention otherwise" if name == PLAIN else "leave one of them out",
        )
    measures = (*MEASURES, COUNTED) if _words(call) else MEASURES
    return Step(
        call.name,
        "generate",
        "scores",
        model,
        tuple(Metric(name, Literal(0.0)) for name in measures),
        has_effect=False,
        lacks=("base", "effect", "normalized"),
        keyed=(Keyed("under", tuple(names), measures),) if len(names) > 1 else (),
    )


def _model(call: Call, checks: Checks, contexts: tuple[Context, ...]) -> Model:
    """The model of the interventions, else the only one declared."""
    named = [c.units.model for context in contexts for c in context.changes]
    return next((m for m in named if m is not None), None) or checks.only_model(call)


def _check_holds(call: Call, checks: Checks, change: Change, word: str) -> None:
    """An intervention says what stands at tokens that are yet to be written."""
    has_features = any(s.kind == "feature" for s in checks.sites(change.units.units))
    if has_features and change.source.kind not in FEATURES:
        checks.error(
            "E306",
            "while a text is written a feature holds at a number, or at so many times its largest",
            call.spans[word],
            help="write with 8, or with 5x",
        )
    if change.source.kind in ("noise", "resample"):
        checks.error(
            "E306",
            f"`{change.source.kind}` is drawn for prompts, not for texts that grow",
            call.spans[word],
            help="write zero, a number, or mean(…, per=all)",
        )
    elif _reaches(change) and not _is_everywhere(change.source):
        checks.error(
            "E306",
            "this intervention does not say what stands at tokens that are yet to be written",
            call.spans[word],
            label="it acts everywhere, and its values are of the prompts' tokens",
            help="name places of the prompt, as at last, or take values that are the same "
            "everywhere: zero, a number, a vector, mean(…, per=all)",
        )


def _reaches(change: Change) -> bool:
    """Whether an intervention acts at tokens behind the prompt."""
    units = change.units.units
    found = [target.positions for target in parts(units, Target)]
    found += [position for placed in parts(units, Placed) for position in placed.positions]
    return not found or any(map(_goes_on, found))


def _goes_on(positions: Positions) -> bool:
    match positions.kind:
        case "union":
            return any(map(_goes_on, positions.parts))
        case "minus":
            return _goes_on(positions.parts[0])
        case "entry":
            return _goes_on(positions.parts[1])
    return positions.kind in ("all", "each")


def _is_everywhere(source: SourceTerm) -> bool:
    if source.kind == "moved":
        return all(one.kind in DIRECTIONS for one in source.directions)
    return source.kind in EVERYWHERE or (source.kind == "mean" and source.per == "all")


def _check_model(call: Call, checks: Checks, model: Model, side: Side, count: int) -> None:
    """The model writes tokens, one after another, and they fit into its context."""
    if model.facts is None:
        return
    shape = model.facts.shape
    if not shape.causal:
        checks.error(
            "E306",
            f"`{model.name}` looks ahead, and writes no text",
            call.verb_span,
            help="use a causal model",
        )
    if shape.d_vocab_out != shape.d_vocab:
        checks.error(
            "E306",
            f"`{model.name}` tells {shape.d_vocab_out:,} classes, not which of its "
            f"{shape.d_vocab:,} tokens follows",
            call.verb_span,
            help="use a language model",
        )
    lengths = checks.lengths(side, model)
    longest = lengths[1] if lengths else 0
    if longest + count > shape.n_ctx:
        most = shape.n_ctx - longest
        checks.error(
            "E302",
            f"{count} tokens more do not fit into the context of `{model.name}`",
            call.spans["objects"],
            label=f"{shape.n_ctx} tokens, of which prompts take up to {longest}",
            help=f"generate {most} at most" if most > 0 else "use shorter prompts",
        )


def _check_options(call: Call, checks: Checks) -> bool:
    """How tokens are chosen makes sense; returns whether controls are wanted."""
    options = call.one("using") or OPTIONS.defaults
    wrong = None
    if options["temperature"] < 0:
        wrong = "`temperature` is 0 or more"
    elif not 0 < options["top_p"] <= 1:
        wrong = "`top_p` is more than 0, and 1 at most"
    elif options["top_p"] < 1 and not options["temperature"]:
        wrong = "`top_p` is of drawn tokens, and at temperature 0 none is drawn"
    if wrong:
        checks.error(
            "E302", wrong, call.spans["using"], help="write for example using temperature=0.8"
        )
    return bool(options["control"])


def _words(call: Call) -> tuple[str, ...]:
    words: Sequence[str] | str = (call.one("using") or OPTIONS.defaults)["words"]
    return (words,) if isinstance(words, str) else tuple(words)


def _steers(change: Change, sites_of: Callable[[Units], tuple[Site, ...]]) -> bool:
    """Whether a change has a random direction of the same length beside it."""
    is_feature = any(s.kind == "feature" for s in sites_of(change.units.units))
    return is_feature or change.source.kind == "moved"


def _lower(call: Call, step: Step, lowering: Lowering) -> None:
    assert step.model is not None
    side: Side = call.one("from")
    options = call.one("using") or OPTIONS.defaults
    plain = lowering.run(side, step.model)
    found = [Continuation(PLAIN, plain)]
    controls = []
    for context in call.clauses.get("under", ()):
        run = lowering.variant_run(side, context.changes, step.model)
        found.append(Continuation(context.name, run))
        turned = tuple(
            len(plain.under) + number
            for number, change in enumerate(context.changes)
            if _steers(change, lambda units: sites(units, lowering.steps))
        )
        if turned and options["control"]:
            controls.append(Continuation(control(context.name), run, turned))
    lowering.add(
        Generate(
            f"generate:{step.name}",
            step.name,
            (*found, *controls),
            call.objects[0],
            float(options["temperature"]),
            float(options["top_p"]),
            options["seed"],
            _words(call),
            place=place_of(call.verb_span),
        )
    )


VERB = Verb(
    "generate",
    "Continue prompts, plain and under interventions, side by side.",
    Clause("int", "how many tokens", required=True),
    {
        "from": Clause("data", "the prompts: a side, or the clean side of a pair", required=True),
        "under": MEASURING["under"],
        "using": Clause("options", "how tokens are chosen, and controls", options=OPTIONS),
    },
    _check,
    _lower,
    "step out = generate 20 from prompts under steer",
)
