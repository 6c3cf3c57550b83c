"""`fit ARCHITECTURE on SITES of DATA until tokens=N`: sparse dictionaries of activations; with `to
SITES` transcoders, on `together(SITES)` a crosscoder, of one model or of several."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from interp_dsl.plan.dictionaries import Fit, Fitted
from interp_dsl.plan.places import Site, Target
from interp_dsl.verbs.beside import check_beside
from interp_dsl.verbs.dictionaries import (
    FEW_STEPS,
    UNTIL,
    activation_width,
    said,
    settled,
    variants,
)
from interp_dsl.verbs.fit_places import Between, between, model_of, models_of
from interp_dsl.verbs.lowering import Lowering, frozen, place_of
from interp_dsl.verbs.signature import Checks, Clause, Verb
from interp_dsl.verbs.sweeps import NARROWING
from interp_dsl.verbs.values import Call, FitTerm, Model, Side, Step, UnitSet


def _check(call: Call, checks: Checks) -> Step:
    term: FitTerm = call.objects[0]
    units: tuple[UnitSet, ...] = call.clauses["on"]
    side: Side = call.one("of")
    tokens: int = call.one("until")["tokens"]
    models = models_of(units, model_of(units) or checks.only_model(call))
    model, *others = models
    for one in models:
        checks.check_side(call, side, one, "of")
    if others:
        check_beside(call, checks, side, models, "of")
    else:
        checks.check_contexts(call, model, side, "of")
    ends = between(call, checks, model)
    _check_prompts(call, checks, term, side, model)
    _warn_of_few_steps(call, checks, term, tokens)
    found = _dictionaries(call, checks, term, ends, models, tokens)
    return Step(
        call.name,
        "fit",
        "dictionary",
        model,
        dictionaries=found,
        learned_from=side,
        beside=tuple(others),
    )


def _dictionaries(
    call: Call,
    checks: Checks,
    term: FitTerm,
    ends: tuple[Between, ...],
    models: tuple[Model, ...],
    tokens: int,
) -> tuple[Fitted, ...]:
    span, model = call.spans["objects"], models[0]
    of = {one.id: one for one in models}
    found = []
    targets = tuple(one.read[0] for one in ends)
    for read, onto in ends:
        place = _short(read[0], targets)
        widths = [activation_width(t, of[t.model] if t.model else model) for t in read]
        d_in = None if None in widths else sum(d or 0 for d in widths)
        d_out = None if onto is None else activation_width(onto, model)
        for varying, given in variants(term.options):
            options = settled(given, tokens)
            _check_options(call, checks, options, tokens)
            _check_objective(call, checks, options, len(models))
            _check_ends(call, checks, options, Between(read, onto))
            parts = [place] if len(ends) > 1 else []
            parts += [f"{name}={said(options[name])}" for name in varying]
            # where activations are kept changes nothing of what is learned from them
            kept = {name: value for name, value in options.items() if name != "store"}
            held = tuple(sorted(frozen(kept).items()))
            label, name = ", ".join(parts), term.architecture
            behind = _downstream(call, checks, options, onto or read[-1], model)
            found.append(Fitted(label, read[0], name, held, d_in, onto, d_out, read[1:], behind))
    if len({d.label for d in found}) < len(found):
        checks.error("E302", "a value stands twice in a list", span)
    return tuple(found)


def _check_options(call: Call, checks: Checks, options: dict[str, Any], tokens: int) -> None:
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
    if options["batch"] % options["workers"]:
        checks.error(
            "E302",
            f"a batch of {options['batch']:,} is not {options['workers']} equal parts",
            span,
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
            help="say norm=unit with `resample`, or leave it out",
        )


def _warn_of_few_steps(call: Call, checks: Checks, term: FitTerm, tokens: int) -> None:
    batch: int = term.options["batch"]
    steps = -(-tokens // batch)
    if batch > tokens or steps >= FEW_STEPS:
        return
    checks.warn(
        "W46",
        f"this fit has {steps} training step{'' if steps == 1 else 's'}",
        call.spans["until"],
        label=f"{batch:,} activations a step",
        help=f"write a smaller batch, as batch={max(1, tokens // (2 * FEW_STEPS))}, or ask for "
        f"{FEW_STEPS * batch:,} tokens and more",
    )


def _check_objective(call: Call, checks: Checks, options: dict[str, Any], models: int) -> None:
    """End to end there is no error of single activations to learn from, or to begin anew by."""
    if options["objective"] == "mse":
        return
    if models > 1:
        checks.error(
            "E306",
            f"objective={options['objective']} is of what one model says",
            call.spans["objects"],
            label=f"this crosscoder is of {models} models",
            help="leave `objective` away",
        )
    used = [
        ("alpha", options.get("alpha"), "AuxK rebuilds an activation's error"),
        ("resample", options.get("resample"), "an activation's error tells what a new one learns"),
        ("workers", options["workers"] > 1, "the model runs at every step, in one process"),
        ("store", options["store"], "the model runs at every step and makes them anew"),
    ]
    for name, is_wrong, why in used:
        if is_wrong:
            checks.error(
                "E306",
                f"`{name}` does not go with objective={options['objective']}",
                call.spans["objects"],
                label=why,
                help=f"leave out `{name}`, or take objective=mse",
            )


def _check_prompts(call: Call, checks: Checks, term: FitTerm, side: Side, model: Model) -> None:
    """End to end a step takes whole prompts, which its tokens have to hold."""
    lengths = checks.lengths(side, model)
    if term.options["objective"] == "mse" or lengths is None or model.facts is None:
        return
    longest, batch = lengths[1] - (model.facts.bos is not None), term.options["batch"]
    if longest > batch:
        checks.error(
            "E302",
            f"a batch of {batch:,} tokens holds no prompt of {longest:,}",
            call.spans["objects"],
            label="end to end a step takes whole prompts",
            help=f"write batch={longest} or more",
        )


def _downstream(
    call: Call, checks: Checks, options: dict[str, Any], last: Target, model: Model
) -> tuple[Site, ...]:
    """The streams that layers behind a place read, where these count."""
    if not options["downstream"]:
        return ()
    span, shape = call.spans["objects"], model.facts.shape if model.facts else None
    if options["objective"] == "mse":
        checks.error(
            "E306",
            "with objective=mse the model does not run behind what is rebuilt",
            span,
            label="`downstream` counts what later layers read",
            help="say objective=kl, or leave `downstream` away",
        )
        return ()
    if shape is None:
        checks.error(
            "E306",
            "`downstream` needs the model's configuration, which is not at hand before the run",
            span,
            help="leave it away, or fetch the model first",
        )
        return ()
    first = (last.site.layer or 0) + (2 if last.site.kind == "resid_post" else 1)
    found = tuple(Site("resid_pre", layer) for layer in range(first, shape.n_layers))
    if not found:
        checks.error(
            "E306",
            f"no later layer reads a stream behind {last.place}",
            span,
            label=f"`{model.name}` has {shape.n_layers} layers",
            help="leave `downstream` away: the objective is of what comes behind the last",
        )
    return found


def _check_ends(call: Call, checks: Checks, options: dict[str, Any], ends: Between) -> None:
    """What only some ends allow."""
    span = call.spans["objects"]
    if options["skip"] and ends.onto is None:
        checks.error(
            "E306",
            "only a transcoder has a skip connection",
            span,
            help="say what it rebuilds: on L0.mlp_in to L0.mlp",
        )
    if options.get("resample") and ends.onto is not None:
        checks.error(
            "E306",
            "features of a transcoder are not resampled",
            span,
            label="a new one would get one direction of inputs for both of its ends",
            help="leave out `resample`, or take topk(…), whose dead features learn from the error",
        )
    if options.get("norm") == "unit" and len(ends.read) > 1:
        checks.error(
            "E306",
            "a crosscoder's L1 is weighted by the lengths of its decoders",
            span,
            help="leave out norm=unit (Lindsey et al. 2024)",
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
    buffer = min(first.option("buffer") // batch, -(-tokens // batch)) * batch
    term: FitTerm = call.objects[0]
    fit = Fit(
        f"fit:{step.name}",
        step.name,
        lowering.run(side, step.model),
        step.dictionaries,
        tokens,
        batch,
        buffer,
        width=lowering.width(side, step.model),
        store=term.options["store"],
        objective=term.options["objective"],
        workers=term.options["workers"],
        place=place_of(call.verb_span),
        beside=tuple(lowering.run(side, model) for model in step.beside),
    )
    lowering.add(replace(fit, stored_by=_stored_by(fit, lowering)))


def _stored_by(fit: Fit, lowering: Lowering) -> str | None:
    """The earlier step that keeps all activations that this one wants."""
    if fit.store is None:
        return None
    for task in (t for t in lowering.tasks if isinstance(t, Fit)):
        is_same = (task.store, task.runs) == (fit.store, fit.runs)
        if is_same and set(fit.targets) <= set(task.targets):
            return task.stored_by or task.step
    return None


VERB = Verb(
    "fit",
    "Fit sparse dictionaries to activations; several sites, widths, coefficients or seeds at once "
    "share one forward pass.",
    Clause("method", "the architecture and its options", required=True),
    {
        "on": Clause("crossing", "the sites, a dictionary each", required=True, many=True),
        "to": Clause("units", "what transcoders rebuild, each of a site", many=True),
        "of": Clause("data", "the data", required=True),
        "until": Clause("options", "when to end: tokens=50M", required=True, options=UNTIL),
        **{word: NARROWING[word] for word in ("layers",)},
    },
    _check,
    _lower,
    "step sae = fit topk(width=4096, k=32) on L6.resid_pre of text until tokens=50M",
)
