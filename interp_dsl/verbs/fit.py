"""`fit ARCHITECTURE on SITES of DATA until tokens=N`: sparse dictionaries of activations."""

from __future__ import annotations

from typing import Any

from interp_dsl.models.sites import n_indices
from interp_dsl.plan.algebra import Explicit
from interp_dsl.plan.dictionaries import Fit, Fitted
from interp_dsl.plan.places import ALL, Target
from interp_dsl.verbs.dictionaries import UNTIL, WITHOUT, activation_width, said, settled, variants
from interp_dsl.verbs.lowering import Lowering, frozen, place_of
from interp_dsl.verbs.signature import Checks, Clause, Verb
from interp_dsl.verbs.sweeps import NARROWING
from interp_dsl.verbs.values import Call, FitTerm, Model, Side, Step, UnitSet


def _check(call: Call, checks: Checks) -> Step:
    term: FitTerm = call.objects[0]
    units: tuple[UnitSet, ...] = call.clauses["on"]
    side: Side = call.one("of")
    tokens: int = call.one("until")["tokens"]
    model = next((u.model for u in units if u.model), None) or checks.only_model(call)
    checks.check_side(call, side, model, "of")
    checks.check_contexts(call, model, side, "of")
    targets = _targets(call, checks, units, model)
    found = _dictionaries(call, checks, term, targets, model, tokens)
    return Step(call.name, "fit", "dictionary", model, dictionaries=found, learned_from=side)


def _targets(
    call: Call, checks: Checks, places: tuple[UnitSet, ...], model: Model
) -> tuple[Target, ...]:
    """The activations that dictionaries are of: whole sites, heads one by one, and the neurons of
    a layer together."""
    span = call.spans["on"]
    known = [u.units for u in places if isinstance(u.units, Explicit)]
    if len(known) < len(places):
        checks.error("E306", "`fit` takes places that are known before the run", span)
        return ()
    if any(u.model not in (None, model) for u in places):
        checks.error("E307", "these are places of two models", span)
        return ()
    found: dict[Target, set[int | None]] = {}
    for unit in (unit for units in known for unit in units.units):
        if len(unit.targets) > 1:
            checks.error(
                "E306",
                "a dictionary is of one place",
                span,
                help="name the places apart: each has a dictionary of its own",
            )
            return ()
        target = unit.targets[0]
        if target.site.kind in WITHOUT:
            checks.error("E306", f"no dictionary is fitted to {target.place}", span)
            return ()
        if target.positions != ALL:
            checks.error(
                "E306",
                "dictionaries are fitted to all positions",
                span,
                help="leave out `at`; BOS and padding are left out anyway",
            )
            return ()
        index = None if target.site.kind == "neuron" else target.index
        found.setdefault(Target(target.site, index), set()).add(target.index)
    for target, held in found.items():
        whole = n_indices(target.site, model.facts.shape) if model.facts else None
        if target.site.kind == "neuron" and whole is not None and len(held) < whole:
            checks.error(
                "E306",
                "a dictionary is of all neurons of a layer",
                span,
                label=f"these are {len(held):,} of {whole:,}",
                help=f"write {target.place}",
            )
    return tuple(found)


def _dictionaries(
    call: Call,
    checks: Checks,
    term: FitTerm,
    targets: tuple[Target, ...],
    model: Model,
    tokens: int,
) -> tuple[Fitted, ...]:
    span = call.spans["objects"]
    found = []
    for target in targets:
        place = _short(target, targets)
        for varying, given in variants(term.options):
            options = settled(given, tokens)
            _check_options(call, checks, term.architecture, options, tokens)
            parts = [place] if len(targets) > 1 else []
            parts += [f"{name}={said(options[name])}" for name in varying]
            held = tuple(sorted(frozen(options).items()))
            d_in = activation_width(target, model)
            found.append(Fitted(", ".join(parts), target, term.architecture, held, d_in))
    if len({d.label for d in found}) < len(found):
        checks.error("E302", "a value stands twice in a list", span)
    return tuple(found)


def _check_options(
    call: Call, checks: Checks, name: str, options: dict[str, Any], tokens: int
) -> None:
    """What no single option's bounds can say."""
    span = call.spans["objects"]
    if options.get("k", 0) > options["width"]:
        checks.error(
            "E302",
            f"`k` is {options['k']:,}, and the dictionary has {options['width']:,} features",
            span,
        )
    if options["batch"] > tokens:
        checks.error(
            "E302",
            f"{tokens:,} tokens make no batch of {options['batch']:,}",
            call.spans["until"],
            help="take more tokens, or a smaller batch",
        )
    if options["buffer"] < options["batch"]:
        checks.error(
            "E302",
            f"a buffer of {options['buffer']:,} holds no batch of {options['batch']:,}",
            span,
        )
    prefixes = options.get("prefixes")
    if prefixes is not None and (list(prefixes) != sorted(set(prefixes)) or prefixes[-1] != 1):
        checks.error("E302", "`prefixes` rise to 1", span, help="write prefixes=[0.25, 0.5, 1]")
    if options.get("resample") and options["norm"] != "unit":
        checks.error(
            "E306",
            "features are resampled where decoder norms are 1",
            span,
            help="leave out `resample`, or say norm=unit",
        )


def _short(target: Target, targets: tuple[Target, ...]) -> str:
    """A place among the others: its layer where they differ in nothing else."""
    kinds = {(t.site.kind, t.index) for t in targets}
    if len(kinds) == 1 and target.site.layer is not None:
        return f"L{target.site.layer}"
    return target.place


def _lower(call: Call, step: Step, lowering: Lowering) -> None:
    assert step.model is not None
    side: Side = call.one("of")
    first = step.dictionaries[0]
    batch, tokens = first.option("batch"), call.one("until")["tokens"]
    buffer = min(first.option("buffer"), tokens) // batch * batch
    lowering.add(
        Fit(
            f"fit:{step.name}",
            step.name,
            lowering.run(side, step.model),
            step.dictionaries,
            tokens,
            batch,
            buffer,
            width=lowering.width(side, step.model),
            place=place_of(call.verb_span),
        )
    )


VERB = Verb(
    "fit",
    "Fit sparse dictionaries to activations; several sites, widths, coefficients or seeds at once "
    "share one forward pass.",
    Clause("method", "the architecture and its options", required=True),
    {
        "on": Clause("units", "the sites, a dictionary each", required=True, many=True),
        "of": Clause("data", "the data", required=True),
        "until": Clause("options", "when to end: tokens=50M", required=True, options=UNTIL),
        **{word: NARROWING[word] for word in ("layers",)},
    },
    _check,
    _lower,
    "step sae = fit topk(width=4096, k=32) on L6.resid_pre of text until tokens=50M",
)
