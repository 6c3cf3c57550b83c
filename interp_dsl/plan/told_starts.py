"""Where the passes of a sweep start, as the plan is printed."""

from __future__ import annotations

from collections.abc import Sequence

from interp_dsl.plan.algebra import Travel
from interp_dsl.plan.cost import starts_late
from interp_dsl.plan.sizes import Sizes, units_of
from interp_dsl.plan.starts import acts_everywhere, start
from interp_dsl.plan.tasks import Sweep


def starting(task: Sweep, known: Sizes) -> str:
    """Where the passes of a sweep start, and what of them is computed."""
    if task.edges is not None:
        begins = (
            "starts at the layer that an edge enters (late)" if task.late else "every pass whole"
        )
        return f"{begins}; {_travel(task.travel or Travel())}"
    if not starts_late(task, known):
        return "every pass from the beginning"
    units = units_of(task, known)
    places = "where its units act"
    if units is not None:
        starts = [start(unit, task.intervention) for unit in units]
        behind = all(s.behind_attention for s in starts)
        places = f"at {_layers(sorted({s.layer for s in starts}))}"
        places += ", behind the attention" if behind else ""
        places += ", to whose output heads' changes are added" if task.adds else ""
    found = [f"starts {places} (late)"]
    if units is None or not all(map(acts_everywhere, units)):
        found += ["at the first changed position"] if task.trims else []
        found += ["only what differs until it is attended to"] if task.narrow else []
    return "; ".join(found)


def _travel(how: Travel) -> str:
    """What carries the effect of an edge, and what is recomputed."""
    through = f"{' and '.join(how.through)} between let it through" if how.through else ""
    free = " and ".join(kind for kind in ("patterns", "norms") if kind not in how.freeze)
    parts = [
        through,
        "what else a receiver reads as in the run",
        "all behind the last one recomputed" + (f", {free} too" if free else ""),
        f"{' and '.join(how.freeze)} frozen as in the run" if how.freeze else "",
    ]
    return ", ".join(part for part in parts if part)


def _layers(layers: Sequence[int]) -> str:
    """Layers as a range; −1 is what comes before them."""
    inner = [layer for layer in layers if layer >= 0]
    parts = ["the embedding"] if len(inner) < len(layers) else []
    if inner:
        parts.append(f"layers {inner[0]}..{inner[-1]}" if len(inner) > 1 else f"layer {inner[0]}")
    return " and ".join(parts)
