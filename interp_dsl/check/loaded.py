"""`load("folder")`: what a dictionary's configuration says; its tensors are read when the run
starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from interp_dsl.check.arguments import arguments
from interp_dsl.check.models import known_model, which_model
from interp_dsl.check.paths import inside
from interp_dsl.check.scope import Scope
from interp_dsl.dictionaries.formats.config import Config, NotUnderstood, read_config
from interp_dsl.language.tree import Call, Expr
from interp_dsl.models.hooks import target_of_hook, target_of_module
from interp_dsl.models.sites import missing
from interp_dsl.plan.algebra import Explicit
from interp_dsl.plan.dictionaries import Fitted
from interp_dsl.plan.places import ALL, Site, Target
from interp_dsl.verbs.dictionaries import WITHOUT, activation_width
from interp_dsl.verbs.load import LOAD, Loading
from interp_dsl.verbs.lowering import place_of
from interp_dsl.verbs.values import Model, Step, UnitSet


def _site(config: Config, model: Model, word: str = "site") -> str:
    """A place that such a dictionary may be of, where the model has one as wide."""
    width = config.d_out if word == "onto" else config.d_in
    if model.facts is None:
        return f"say which: load(…, {word}=L6.resid_pre)"
    last = model.facts.shape.n_layers - 1
    likely = {f"L{last}.mlp": Site("mlp_out", last)} if word == "onto" else {}
    likely |= {
        f"L{last}.resid_post": Site("resid_post", last),
        f"neurons layers {last}": Site("neuron", last),
        f"L{last}H0.z": Site("z", last),
    }
    named = [
        name
        for name, site in likely.items()
        if activation_width(Target(site, 0 if site.kind == "z" else None), model) == width
    ]
    if not named:
        return f"no place of {model.name} is {width:,} wide: is it of another model?"
    return f"say which: load(…, {word}={named[0]})"


def loaded(expr: Expr, scope: Scope, name: str) -> Step:
    """The dictionary of a folder, as the step `name` that leaves it."""
    assert isinstance(expr, Call)
    given = arguments(expr, LOAD, scope)
    folder = inside(given["folder"], expr.span, scope)
    config = _config(folder, expr, scope)
    model, target = _place(config, given["site"], expr, scope)
    _check_width(target, config.d_in, model, expr, scope, _site(config, model))
    onto = _onto(config, given["onto"], model, expr, scope)
    options: dict[str, Any] = {"width": config.d_sae}
    if config.k is not None:
        options["k"] = config.k
    if config.has_skip:
        options["skip"] = True
    held = tuple(sorted(options.items()))
    fitted = Fitted("", target, config.architecture, held, config.d_in, onto, config.d_out)
    step = Step(name, "load", "dictionary", model, dictionaries=(fitted,))
    scope.session.steps[name] = step
    scope.session.calls[name] = (Loading(str(folder), place_of(expr.span)), None)
    return step


def _check_width(
    target: Target, wanted: int, model: Model, expr: Expr, scope: Scope, advice: str | None
) -> None:
    found = activation_width(target, model)
    if found is not None and found != wanted:
        raise scope.reject(
            "E437",
            f"this dictionary is of activations {wanted:,} wide",
            expr.span,
            label=f"{target.place} of {model.name} is {found:,} wide",
            help=advice,
        )


def _onto(
    config: Config, given: UnitSet | None, model: Model, expr: Expr, scope: Scope
) -> Target | None:
    """What a transcoder rebuilds; None for any other dictionary."""
    if config.d_out is None:
        if given is not None:
            raise scope.reject("E437", "this dictionary is no transcoder", expr.span)
        return None
    told = None if config.hook_out is None else target_of_hook(config.hook_out)
    target = told if given is None else _given(given, expr, scope)
    wrong = "the folder does not say" if target is None else None
    if target is not None and model.facts is not None:
        wrong = missing(target, model.facts.shape)
    if target is None or wrong:
        raise scope.reject(
            "E437",
            "what does this transcoder rebuild?",
            expr.span,
            label=f"{config.hook_out or 'it'}: {wrong}",
            help=_site(config, model, "onto"),
        )
    _check_width(target, config.d_out, model, expr, scope, None)
    return target


def _config(folder: Path, expr: Expr, scope: Scope) -> Config:
    if not folder.is_dir():
        raise scope.reject("E430", f"there is no folder {folder}", expr.span)
    try:
        return read_config(folder)
    except NotUnderstood as error:
        raise scope.reject(
            "E436",
            "no dictionary that is understood",
            expr.span,
            label=str(error),
            help=error.advice,
        ) from None
    except OSError as error:
        raise scope.reject(
            "E430", f"{folder} cannot be read", expr.span, label=error.strerror or ""
        ) from None


def _place(config: Config, given: UnitSet | None, expr: Expr, scope: Scope) -> tuple[Model, Target]:
    """The model and the place that a dictionary is of."""
    model = known_model(scope, given.model if given else None)
    if model is None:
        raise which_model(scope, expr.span, "L6.resid_pre")
    target = _told(config, model, expr, scope) if given is None else _given(given, expr, scope)
    wrong = missing(target, model.facts.shape) if model.facts else None
    if wrong:
        raise scope.reject(
            "E437",
            f"this dictionary is of {target.place}",
            expr.span,
            label=f"{model.name}: {wrong}",
            help=_site(config, model),
        )
    return model, target


def _given(given: UnitSet, expr: Expr, scope: Scope) -> Target:
    """The place that `site` names: one, or all neurons of a layer."""
    found = given.units.units if isinstance(given.units, Explicit) else ()
    targets = [target for unit in found for target in unit.targets]
    whole = {Target(t.site) if t.site.kind == "neuron" else t for t in targets}
    if len(whole) == 1:
        (target,) = whole
        if target.site.kind not in WITHOUT and target.positions == ALL:
            return target
    raise scope.reject(
        "E437",
        "`site` is one place that a dictionary may be of",
        expr.span,
        help="a site of the residual stream, what an MLP or a head adds, neurons layers 0",
    )


def _told(config: Config, model: Model, expr: Expr, scope: Scope) -> Target:
    """The place that the folder tells."""
    name = config.hook or config.module
    if name is None:
        raise scope.reject(
            "E437",
            "this folder does not say what its dictionary is of",
            expr.span,
            help=_site(config, model),
        )
    if config.hook is not None:
        target = target_of_hook(config.hook, config.head)
    else:
        target = target_of_module(name)
    if target is None:
        raise scope.reject(
            "E437",
            f"this dictionary is of `{name}`, which is no place here",
            expr.span,
            help=_site(config, model),
        )
    is_inside = model.facts is not None and model.facts.shape.post_norms
    if config.hook is None and is_inside and target.site.kind in ("mlp_out", "attn_out"):
        raise scope.reject(
            "E437",
            f"this dictionary is of `{name}`, whose output is normed before it is added",
            expr.span,
            label=f"{target.place} of {model.name} is what is added",
        )
    return target
