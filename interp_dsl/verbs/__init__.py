"""The verbs of the language: one file each, its signature, its checks and how it lowers."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interp_dsl.verbs.signature import Verb


@cache
def verbs() -> dict[str, Verb]:
    """Every verb by name."""
    from interp_dsl.verbs import (
        ablate,
        attribute,
        evaluate,
        factor,
        fit,
        generate,
        inspect,
        interpolate,
        patch,
        perturb,
        record,
        relate,
        search,
    )

    moved = (patch, ablate, perturb, interpolate)
    looked = (attribute, search, fit, inspect, relate, record, generate)
    modules = (*moved, *looked, evaluate, factor)
    return {m.VERB.name: m.VERB for m in modules}
