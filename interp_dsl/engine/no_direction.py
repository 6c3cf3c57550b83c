"""Why a place cannot be moved along a direction."""

from __future__ import annotations

from interp_dsl.engine.rebuilt import Place
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.plan.places import Target


def nowhere(name: str) -> InterpError:
    return InterpError(
        Diagnostic(
            "E633",
            f"`{name}` is zero and leads nowhere",
            notes=("a difference of means is zero where both are of the same activations",),
            help="look at how it was made, or leave it out",
        ),
        exit_code=1,
    )


def too_few(place: Place, why: str) -> InterpError:
    target = Target(place.site, place.index)
    return InterpError(
        Diagnostic(
            "E660",
            f"no direction can be drawn from the activations of {target.place}",
            notes=(why, "the first token of a prompt is not counted"),
            help="use more prompts, or name others: covariance(of=DATA)",
        ),
        exit_code=1,
    )


def too_few_components(place: Place, number: int, rank: int) -> InterpError:
    target = Target(place.site, place.index)
    return InterpError(
        Diagnostic(
            "E661",
            f"the activations of {target.place} have {rank} principal components, and number "
            f"{number} of them is asked for",
            notes=("they span no more dimensions",),
            help=f"write components(n={rank}), or use more prompts",
        ),
        exit_code=1,
    )
