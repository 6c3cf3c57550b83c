"""How circuits are searched for, and what they are measured by: what each takes. A method is added
here, for the checker and the pages, and in engine/searches.py or engine/findings.py, which run
it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from interp_dsl.circuits.rules import ORDERS, PRESETS, Rules
from interp_dsl.verbs.signature import Function, Parameter

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Method:
    """A method of search. `options` makes of the arguments all options of a search, none left open;
    `direct` among them says that the graph has direct edges. `is_stepwise`: it tests edges one
    after another from the logits down, which tells what it costs. A parameter `threshold` with
    several values makes a circuit for each."""

    function: Function
    options: Callable[[Arguments], dict[str, Any]] = dict
    is_stepwise: bool = False


def _acdc(given: Arguments) -> dict[str, Any]:
    rules = PRESETS[given["preset"]] if given["preset"] else Rules()
    changed = {
        name: given[argument]
        for name, argument in (
            ("order", "order"),
            ("direct", "direct"),
            ("drop_dead", "dead"),
            ("absolute", "absolute"),
            ("start", "start"),
        )
        if given[argument] is not None
    }
    rules = replace(rules, **changed)
    return {
        "threshold": given["threshold"],
        "order": rules.order,
        "direct": rules.direct,
        "dead": rules.drop_dead,
        "absolute": rules.absolute,
        "start": rules.start,
    }


SEARCHES: dict[str, Method] = {
    m.function.name: m
    for m in (
        Method(
            Function(
                "acdc",
                "Automatic circuit discovery (Conmy et al. 2023): from the logits down, an edge is "
                "taken out where that makes the metric worse by less than the threshold.",
                {
                    "threshold": Parameter("numbers", doc="how much worse, or a list", least=0),
                    "preset": Parameter(
                        "string", None, "the choices of an implementation", tuple(PRESETS)
                    ),
                    "order": Parameter("word", None, "in which order edges are tested", ORDERS),
                    "direct": Parameter(
                        "bool", None, "direct edges too: one a head and channel, its whole input"
                    ),
                    "dead": Parameter(
                        "bool", None, "drop edges that no kept path leads on from, untested"
                    ),
                    "absolute": Parameter("bool", None, "any change counts, not only a worse one"),
                    "start": Parameter(
                        "word", None, "the score before the first test", ("measured", "zero")
                    ),
                },
            ),
            _acdc,
            is_stepwise=True,
        ),
    )
}

EDGES = Function(
    "edges",
    "The edges of the model's graph.",
    {
        "split_qkv": Parameter("bool", True, "a head's queries, keys and values read apart"),
        "split_embed": Parameter("bool", False, "token and position embeddings write apart"),
    },
)

CIRCUIT = Function(
    "circuit",
    "The circuit of a file that a search wrote.",
    {"path": Parameter("path", doc="the file: STEP.circuit.json of a run")},
)

FINDINGS: dict[str, Function] = {
    f.name: f
    for f in (
        Function(
            "faithfulness",
            "How much of what the model does the circuit does: 1 for the whole model, 0 with every "
            "edge out.",
            {"metric": Parameter("metric", None, "in which metric; the search's own")},
        ),
    )
}
