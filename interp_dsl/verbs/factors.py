"""How layers are factored: what each method takes and tells. A method is added here, for the
checker and the pages, and in engine/factors.py, which runs it."""

from __future__ import annotations

from dataclasses import dataclass

from interp_dsl.verbs.signature import Function, Parameter
from interp_dsl.verbs.values import Keyed


@dataclass(frozen=True)
class Factoring:
    """A method. `findings` are the numbers that it tells, as metrics of the score table; `keyed`
    the column that tells several of one place apart. `of`: the stream between layers, or MLPs.
    `is_judged`: its ablations need a metric."""

    function: Function
    findings: dict[str, str]
    keyed: Keyed
    of: tuple[str, ...]
    is_judged: bool = False


BASES = ("interaction", "pca", "neuron")
MATRICES = ("W_in", "W_out")
STREAM = ("resid_pre", "resid_mid", "resid_post", "logits")

_DROP = Parameter(
    "number", 1e-9, "the share of the greatest eigenvalue under which one is none", least=0, most=1
)
_BY_BASIS = {
    "directions": "directions that vary and are read",
    "directions_required": "the fewest of them, the greatest first, that keep the metric",
    "effective_edges": "to the next layer, as many of equal size as would be so concentrated",
    "edges_required": "to the next layer, the fewest, the greatest first, that keep the metric",
    "modules": "communities of two directions and more, of all layers",
    "modularity": "of these communities, by orders of magnitude of the edges",
    "module_share": "of all edge weight, what lies inside of them",
}
_BY_MATRIX = {
    "parameters": "numbers in the matrix",
    "activation_rank": "dimensions that its inputs span",
    "gradient_rank": "dimensions that the slopes of the logits in its outputs span",
    "free": "directions of the matrix that change nothing, of these ranks",
    "effective": "products of the two spectra over the cut",
    "hessian_rank": "rank of the behavioural loss's Hessian in the matrix, on some examples",
}
_BY_NEURON = {
    "neurons_dead": "neurons that are never on",
    "synchronised": "neurons that are on with others on the same inputs",
    "groups": "groups of these",
}

FACTORINGS: dict[str, Factoring] = {
    f.function.name: f
    for f in (
        Factoring(
            Function(
                "interaction_basis",
                "The interaction basis (Bushnaq et al. 2024): directions as large as what later "
                "layers make of them, with principal components and neurons beside it; edges "
                "between them, how many are needed, and modules.",
                {
                    "mode": Parameter(
                        "word",
                        "local",
                        "what reads: the next place, or the last one",
                        ("local", "global"),
                    ),
                    "center": Parameter("bool", True, "about the mean"),
                    "drop": _DROP,
                    "tolerance": Parameter(
                        "number", 0.001, "how much worse the metric may get", least=0
                    ),
                    "steps": Parameter(
                        "int",
                        0,
                        "points of the integrated gradients that edges are made from; 0 for the "
                        "slopes at the activations",
                        least=0,
                    ),
                    "sources": Parameter(
                        "int",
                        0,
                        "sums of output positions under random signs whose slopes are taken; 0 for "
                        "those of every position",
                        least=0,
                    ),
                    "examples": Parameter(
                        "int", 256, "how many of them edges are ablated on", least=1
                    ),
                    "partition": Parameter(
                        "word", "louvain", "how modules are found", ("louvain", "leiden")
                    ),
                    "resolution": Parameter("number", 1, "of the modularity", least=0),
                    "seed": Parameter("int", 0, "of the partition and the sources", least=0),
                },
            ),
            _BY_BASIS,
            Keyed("basis", BASES, tuple(_BY_BASIS)),
            STREAM,
            is_judged=True,
        ),
        Factoring(
            Function(
                "degeneracy",
                "Degeneracies of MLPs (Bushnaq et al. 2024): ranks of what their matrices read and "
                "of the slopes behind them, and neurons that act as one.",
                {
                    "drop": _DROP,
                    "agreement": Parameter(
                        "number",
                        0.999,
                        "the share of inputs on which synchronised neurons agree",
                        least=0.5,
                        most=1,
                    ),
                    "hessian": Parameter(
                        "int", 0, "examples on which the Hessian's rank is counted", least=0
                    ),
                },
            ),
            {**_BY_MATRIX, **_BY_NEURON},
            Keyed("matrix", MATRICES, tuple(_BY_MATRIX)),
            ("mlp_out",),
        ),
    )
}
