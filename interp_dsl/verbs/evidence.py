"""What circuits are measured by: what each finding takes. One is added here, for the checker and
the pages, and in engine/evidence.py, which measures it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from interp_dsl.verbs.signature import Function, Parameter

Arguments = Mapping[str, Any]

CIRCUIT = Function(
    "circuit",
    "The circuit of a file that a search wrote.",
    {"path": Parameter("path", doc="the file: STEP.circuit.json of a run")},
)


@dataclass(frozen=True)
class Evidence:
    """A finding. `circuits`, of its arguments and a number of edges: the most circuits that it
    measures beside the one in question, which tells what it costs. `is_shared`: all circuits of a
    step have one value together. `by_edge`: it has rows of single edges. `refuses_direct`: it is
    not told of graphs with direct edges. `needs_side`: an edge that is out carries what another
    side had there. `of_nodes`: circuits of nodes are measured by it too."""

    function: Function
    circuits: Callable[[Arguments, int], int] = lambda given, n_edges: 0
    is_shared: bool = False
    by_edge: bool = False
    refuses_direct: bool = False
    needs_side: bool = False
    of_nodes: bool = False


ERRORS = ("found", "in", "out")
_METRIC = Parameter("metric", None, "in which metric; the search's own")
_SEED = Parameter("int", 0, "of the draws", least=0)
_ERRORS = Parameter(
    "word", "found", "of nodes: errors of dictionaries as found, all in, or all out", ERRORS
)
_SIZES = 10


def _sets(given: Arguments, n_edges: int) -> int:
    """Every node, a turn for each that joins; twice, in the circuit and in the model."""
    return 2 * (1 + int(given["most"]) * n_edges + int(given["sets"]))


FINDINGS: dict[str, Evidence] = {
    e.function.name: e
    for e in (
        Evidence(
            Function(
                "faithfulness",
                "How much of what the model does the circuit does: 1 for the whole model, 0 with "
                "every edge out.",
                {"metric": _METRIC, "errors": _ERRORS},
            ),
            of_nodes=True,
        ),
        Evidence(
            Function(
                "complement",
                "The same of the model without the circuit's edges: 0 where they were all that "
                "counts.",
                {"metric": _METRIC},
            ),
            lambda given, n_edges: 1,
            of_nodes=True,
        ),
        Evidence(
            Function(
                "completeness",
                "The most that circuit and model differ by when the same nodes are knocked out of "
                "both (Wang et al. 2023); small is good.",
                {
                    "metric": _METRIC,
                    "errors": _ERRORS,
                    "most": Parameter("int", 3, "nodes knocked out, worst first", least=0),
                    "sets": Parameter("int", 0, "random sets of nodes besides", least=0),
                    "seed": _SEED,
                },
            ),
            _sets,
            of_nodes=True,
        ),
        Evidence(
            Function(
                "minimality",
                "What the least of the circuit's edges changes when it is taken out, and a row for "
                "every edge (Wang et al. 2023); large is good.",
                {
                    "metric": _METRIC,
                    "sets": Parameter("int", 0, "random sets of nodes taken out before", least=0),
                    "seed": _SEED,
                },
            ),
            lambda given, n_edges: 2 * n_edges * (1 + int(given["sets"])),
            by_edge=True,
            of_nodes=True,
        ),
        Evidence(
            Function(
                "cpr",
                "The area under faithfulness over size, of ten circuits by the search's ranking of "
                "edges (MIB, Mueller et al. 2025); large is good.",
                {"metric": _METRIC},
            ),
            lambda given, n_edges: _SIZES,
            refuses_direct=True,
        ),
        Evidence(
            Function(
                "cmd",
                "The area between faithfulness and 1 over size, likewise; 0 is best.",
                {"metric": _METRIC},
            ),
            lambda given, n_edges: _SIZES,
            refuses_direct=True,
        ),
        Evidence(
            Function(
                "roc_auc",
                "The area under the ROC curve of a search's circuits against a true one (Conmy et "
                "al. 2023).",
                {
                    "truth": Parameter("path", doc="the true circuit's file"),
                    "area": Parameter(
                        "word",
                        "pessimistic",
                        "under the staircase, or under lines between the points",
                        ("pessimistic", "trapezoid"),
                    ),
                },
            ),
            is_shared=True,
        ),
        Evidence(
            Function(
                "random_circuits",
                "The share of random circuits of the same size that are as faithful, the circuit "
                "counted among them: a p-value.",
                {
                    "metric": _METRIC,
                    "n": Parameter("int", 100, "random circuits", least=1),
                    "seed": _SEED,
                },
            ),
            lambda given, n_edges: int(given["n"]),
            refuses_direct=True,
            of_nodes=True,
        ),
        Evidence(
            Function(
                "shuffled_pairs",
                "The same against the circuit itself with other examples' values where an edge is "
                "out.",
                {
                    "metric": _METRIC,
                    "n": Parameter("int", 20, "times that examples are shuffled", least=1),
                    "seed": _SEED,
                },
            ),
            lambda given, n_edges: 3 * int(given["n"]),
            needs_side=True,
        ),
    )
}
