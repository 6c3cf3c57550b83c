"""How effects are estimated: what each method takes. A method is added here, for the checker and
the pages, and in engine/site_estimates.py or engine/edge_estimates.py, which run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from interp_dsl.verbs.signature import Function, Parameter

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Estimate:
    """A method. `of`: places of any kind (units), whole writers to the residual stream (nodes), or
    edges. `has_source`: it asks what a change to a source would do (`from`, `into`), else it looks
    at one run (`on`). `at_clean`: whether the slope is taken in the undisturbed run alone, with
    these options. `first_order`: it is a change times slopes of the place itself, so that features
    of dictionaries and their errors are its places too, and that it may be told of a run under
    interventions."""

    function: Function
    of: Literal["units", "nodes", "edges"] = "units"
    has_source: bool = True
    at_clean: Callable[[Options], bool] = lambda options: True
    first_order: bool = False


def _one_point(options: Options) -> bool:
    return bool(options["steps"] == 1 and options["rule"] == "right")


_VERIFY = {"verify": Parameter("top", None, "run real patches of the largest: top(20)")}
_STEPS = Parameter("int", 5, "points of the path", least=1)
_RULE = Parameter("word", "right", "where on the path they lie", ("right", "midpoint"))

ESTIMATES: dict[str, Estimate] = {
    e.function.name: e
    for e in (
        Estimate(
            Function(
                "atp",
                "Attribution patching (Nanda 2023; Syed et al. 2023): the change times the slope "
                "in the measured run; one pass forward and one back.",
                _VERIFY,
            ),
            first_order=True,
        ),
        Estimate(
            Function(
                "atp_star",
                "AtP* (Kramár et al. 2024): attribution patching that follows the softmax, and "
                "takes the mean size over passes that each leave out what one layer carries.",
                {
                    "qk_fix": Parameter("bool", True, "queries and keys through the softmax"),
                    "grad_drop": Parameter("bool", True, "the mean size, one layer left out"),
                    **_VERIFY,
                },
            )
        ),
        Estimate(
            Function(
                "ig",
                "Integrated gradients (Sundararajan et al. 2017): the mean slope of a path from "
                "the measured run to the source.",
                {
                    "steps": _STEPS,
                    "at": Parameter(
                        "word", "inputs", "what goes along the path", ("inputs", "site")
                    ),
                    "rule": _RULE,
                    **_VERIFY,
                },
            ),
            at_clean=_one_point,
            first_order=True,
        ),
        Estimate(
            Function(
                "hisp",
                "Head importance scores for pruning (Michel et al. 2019): the size of the mean "
                "attribution, divided by the length of those of its layer.",
                _VERIFY,
            ),
            "nodes",
        ),
        Estimate(
            Function(
                "dla",
                "Direct logit attribution (Elhage et al. 2021): what each node says to the logits "
                "itself, the final norm's scale held.",
            ),
            "nodes",
            has_source=False,
        ),
        Estimate(
            Function(
                "eap",
                "Edge attribution patching (Syed et al. 2023): the change that an edge carries "
                "times the slope in what its receiver reads.",
                _VERIFY,
            ),
            "edges",
        ),
        Estimate(
            Function(
                "eap_ig",
                "EAP-IG (Hanna et al. 2024): the mean slope while the inputs go from the measured "
                "run to the source; or, along the activations, while what each layer's heads and "
                "its MLP write does.",
                {
                    "steps": _STEPS,
                    "at": Parameter(
                        "word", "inputs", "what goes along the path", ("inputs", "activations")
                    ),
                    "rule": _RULE,
                    **_VERIFY,
                },
            ),
            "edges",
            at_clean=_one_point,
        ),
        Estimate(
            Function(
                "clean_corrupt",
                "The mean of the slopes in the measured run and where the inputs are the source's.",
                _VERIFY,
            ),
            "edges",
            at_clean=lambda options: False,
        ),
    )
}
