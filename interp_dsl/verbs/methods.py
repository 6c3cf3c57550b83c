"""How circuits are searched for: what each method takes. A method is added here, for the checker
and the pages, and in engine/methods.py, which runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from interp_dsl.circuits.rules import ORDERS, PACKED, PRESETS, Rules, eliminations
from interp_dsl.verbs.signature import Function, Parameter

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Method:
    """A method of search. `options` makes of the arguments all options of a search, none left open;
    `direct` among them says that the graph has direct edges. `is_stepwise`: it tests edges one
    after another from the logits down, which tells what it costs; of others `passes` does, of
    options and a number of edges: the most passes of all examples, a gradient counted as two.
    A parameter `threshold` with several values makes a circuit for each. Of the arguments `one_of`
    at least one is given, and of those that exclude each other one. `learns`: by the slope of the
    driving metric. `takes_some`: it can go over some of the edges, the others staying in. `of` what
    it finds circuits: edges, or nodes, of whom `trials` tells how many circuits are measured."""

    function: Function
    options: Callable[[Arguments], dict[str, Any]] = dict
    is_stepwise: bool = False
    passes: Callable[[Arguments, int], int] = lambda options, n_edges: 0
    one_of: tuple[str, ...] = ()
    excludes: bool = False
    learns: bool = False
    takes_some: bool = True
    of: tuple[str, ...] = ("edges",)
    trials: Callable[[Arguments, int], int] = lambda options, n_units: 0


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


def _turns(options: Arguments, n_edges: int) -> int:
    return eliminations(n_edges, options["n"], options["share"])


def _foreseen(options: Arguments, n_units: int) -> int:
    """Circuits that ACDC over nodes tries, those among them that come to nothing."""
    return 1 + 3 * n_units + PACKED


def _halved(options: Arguments, n_units: int) -> int:
    """Circuits until a number of units is found: doubled, then halved."""
    return 0 if options["faithfulness"] is None else 2 * n_units.bit_length() + 2


def _learned(options: Arguments, n_edges: int) -> int:
    """A pass and its gradient a step, and what is left at the end."""
    return 3 * int(options["steps"]) + 1


_STEPS = Parameter("int", doc="passes over all examples", least=1)
_MASK = Parameter("number", 0.9, "what masks begin as", least=0.01, most=0.99)
_SEED = Parameter("int", 0, "of the masks' noise", least=0)

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
            of=("edges", "nodes"),
            trials=_foreseen,
        ),
        Method(
            Function(
                "top_edges",
                "The best edges by scores of an earlier step that lie on a path from an embedding "
                "to the logits.",
                {
                    "by": Parameter("ranking", doc="the step whose scores rank edges"),
                    "n": Parameter("int", None, "at most so many edges", least=0),
                    "threshold": Parameter("numbers", None, "of at least this score, or a list"),
                    "absolute": Parameter(
                        "bool", None, "scores without their sign; so unless a search ranks"
                    ),
                    "grown": Parameter(
                        "bool", False, "grown from the logits: the best edge into what is reached"
                    ),
                },
            ),
            one_of=("n", "threshold"),
            excludes=True,
        ),
        Method(
            Function(
                "greedy",
                "Backward elimination: the edge that is missed least is taken out, again and "
                "again, all edges compared before one goes.",
                {
                    "n": Parameter("int", None, "until at most so many edges are left", least=0),
                    "limit": Parameter(
                        "number", None, "until the driving metric would get worse than this"
                    ),
                    "share": Parameter(
                        "number",
                        0.0,
                        "the part of the edges left that goes at once",
                        least=0,
                        most=1,
                    ),
                },
            ),
            lambda given: {**given, "n": given["n"] or 0},
            passes=_turns,
            one_of=("n", "limit"),
            of=("edges", "nodes"),
            trials=_turns,
        ),
        Method(
            Function(
                "subnetwork_probing",
                "Which nodes the metric needs, learned as masks (Cao et al. 2021): the edges "
                "between nodes that are kept.",
                {
                    "strength": Parameter("number", doc="what a node that is kept costs", least=0),
                    "steps": replace(_STEPS, default=400),
                    "lr": Parameter("number", 0.05, "Adam's rate", least=0),
                    "mask": _MASK,
                    "seed": _SEED,
                },
            ),
            passes=_learned,
            learns=True,
            takes_some=False,
        ),
        Method(
            Function(
                "edge_pruning",
                "Which n edges the metric needs, learned as masks under a constraint on how many "
                "there are (Bhaskar et al. 2024).",
                {
                    "n": Parameter("int", doc="at most so many edges", least=0),
                    "steps": replace(_STEPS, default=600),
                    "lr": Parameter("number", 0.1, "Adam's rate for masks", least=0),
                    "multiplier_lr": Parameter("number", 1.0, "and for multipliers", least=0),
                    "warmup": Parameter(
                        "number", 0.7, "the part of the steps in which edges go", least=0, most=1
                    ),
                    "mask": _MASK,
                    "seed": _SEED,
                },
            ),
            passes=_learned,
            learns=True,
        ),
        Method(
            Function(
                "top_nodes",
                "The best nodes by scores of an earlier step: so many, those of at least a score, "
                "or the fewest that are so faithful (Marks et al. 2024).",
                {
                    "by": Parameter("node_ranking", doc="the step whose scores rank nodes"),
                    "n": Parameter("int", None, "so many nodes", least=0),
                    "threshold": Parameter("numbers", None, "of at least this score"),
                    "faithfulness": Parameter(
                        "number",
                        None,
                        "the first of the ranking that do so much of it, and of "
                        "which one fewer does not",
                    ),
                    "absolute": Parameter("bool", True, "scores without their sign"),
                },
            ),
            one_of=("n", "threshold", "faithfulness"),
            excludes=True,
            of=("nodes",),
            trials=_halved,
        ),
    )
}

DIRECT = "direct edges are searched by `acdc` alone"
"""What is said where `edges(count="conmy")` stands elsewhere."""
EDGES = Function(
    "edges",
    "The edges of the model's graph.",
    {
        "split_qkv": Parameter("bool", True, "a head's queries, keys and values read apart"),
        "split_embed": Parameter("bool", False, "token and position embeddings write apart"),
        "count": Parameter("string", None, "as Conmy et al. count, direct edges too", ("conmy",)),
    },
)
