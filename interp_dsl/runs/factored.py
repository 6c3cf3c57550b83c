"""The columns of the tables that `factor` leaves behind its step's name, as `bases.spectrum`.

spectrum   eigenvalues of a layer's bases, falling; `kept` those over the cut; `tied`: equal to a
           neighbour, so that its direction is any of a plane
ablation   the metric with the first `kept` directions of a layer
edges      squared interactions, the ones that the metric needs
modules    the community of each direction, from 0
ranks      eigenvalues of what a matrix reads (`of` activations) and of the slopes behind it
groups     neurons that are on and off together"""

from __future__ import annotations

from interp_dsl.runs.schema import Kind

TABLES: dict[str, dict[str, Kind]] = {
    "spectrum": {
        "layer": "text",
        "basis": "text",
        "k": "integer",
        "value": "number",
        "kept": "truth",
        "tied": "truth",
    },
    "ablation": {"layer": "text", "basis": "text", "kept": "integer", "score": "number"},
    "edges": {
        "basis": "text",
        "source": "text",
        "source_k": "integer",
        "target": "text",
        "target_k": "integer",
        "edge": "number",
    },
    "modules": {"basis": "text", "layer": "text", "k": "integer", "module": "integer"},
    "ranks": {"layer": "text", "matrix": "text", "of": "text", "k": "integer", "value": "number"},
    "groups": {"layer": "text", "group": "integer", "neuron": "integer"},
}

FINDINGS: dict[str, tuple[str, ...]] = {
    "basis": (
        "directions",
        "directions_required",
        "effective_edges",
        "edges_required",
        "modules",
        "modularity",
        "module_share",
    ),
    "matrix": (
        "parameters",
        "activation_rank",
        "gradient_rank",
        "free",
        "effective",
        "hessian_rank",
        "neurons_dead",
        "synchronised",
        "groups",
    ),
}
"""What is found of places, by what it is of beside a place, in the order in which it is read."""
