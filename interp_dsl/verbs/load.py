"""`load("folder")`: a dictionary that another library has saved, under the name of its `let`."""

from __future__ import annotations

from dataclasses import dataclass

from interp_dsl.plan.dictionaries import LoadDictionary
from interp_dsl.plan.origin import Place
from interp_dsl.verbs.lowering import Lowering
from interp_dsl.verbs.signature import Function, Parameter
from interp_dsl.verbs.values import Step

LOAD = Function(
    "load",
    "A dictionary from a folder of SAELens, dictionary_learning or sparsify.",
    {
        "folder": Parameter("path", doc="the folder with its configuration and weights"),
        "site": Parameter(
            "place", None, "what it was fitted to, where the folder does not say: L6.resid_pre"
        ),
        "onto": Parameter(
            "place", None, "what a transcoder rebuilds, where the folder does not say: L6.mlp"
        ),
    },
)


@dataclass(frozen=True)
class Loading:
    """What stands in a verb's place where a step loads a dictionary."""

    folder: str
    place: Place

    def lower(self, _: None, step: Step, lowering: Lowering) -> None:
        (fitted,) = step.dictionaries
        lowering.add(
            LoadDictionary(f"load:{step.name}", step.name, self.folder, fitted, place=self.place)
        )
