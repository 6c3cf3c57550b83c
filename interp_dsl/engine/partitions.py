"""How a step finds the communities of its graph."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from interp_dsl.geometry.communities import leiden, louvain
from interp_dsl.geometry.modules import Partition
from interp_dsl.language.diagnostics import Diagnostic, InterpError


def partition(options: Mapping[str, Any]) -> Partition:
    """By the method, resolution and seed that are given. Raises InterpError E693 where what it
    needs is not installed."""
    settings = {"resolution": options["resolution"], "seed": options["seed"]}
    if options["partition"] == "louvain":
        return partial(louvain, **settings)
    try:
        import igraph  # noqa: F401
    except ImportError as error:
        raise InterpError(
            Diagnostic(
                "E693",
                "Leiden's method needs igraph",
                notes=(str(error),),
                help="install it, or say partition=louvain",
            ),
            exit_code=3,
        ) from None
    return partial(leiden, **settings)
