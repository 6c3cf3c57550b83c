"""The table of a race."""

from __future__ import annotations

from statistics import median
from typing import Any

from racing import aligned, outside

PEER, UNIT = "auto_circuit", "acdc"
HEAD = (
    "engine", "rounds", "median s", "fastest", "slowest", "kept", "edges/s", "× peer", "fwd/edge"
)  # fmt: skip


def printed(result: dict[str, Any]) -> str:
    """A race's results as text."""
    engines = result["engines"]
    lines = [_title(result), "", aligned([HEAD, *(_row(n, engines) for n in engines)])]
    return "\n".join([*lines, *outside(engines), "", *_remarks(engines)])


def _title(result: dict[str, Any]) -> str:
    c, threads = result["case"], result["threads"]
    form = "with MLPs" if c["mlps"] else "attention only"
    return (
        f"{c['name']}: {c['layers']} layers {form}, d_model {c['width']}, {c['heads']} heads, "
        f"vocab {c['vocab']}, context {c['context']}, batch {c['batch']} · "
        f"threshold {c['threshold']} · CPU, {threads} thread{'s'[: threads - 1]}"
    )


def _row(name: str, engines: dict[str, Any]) -> tuple[str, ...]:
    rounds = engines[name]["rounds"]
    if not rounds:
        return (name, "0", *("–" for _ in HEAD[2:]))
    times = [r["seconds"] for r in rounds]
    seconds, edges = median(times), rounds[-1]["extra"]["edges"]
    peer, plain = _median(engines, PEER), _forward(engines)
    return (
        name,
        str(len(rounds)),
        f"{seconds:.4g}",
        f"{min(times):.4g}",
        f"{max(times):.4g}",
        f"{len(rounds[-1]['kept'])} of {edges}",
        f"{edges / seconds:.4g}",
        f"{peer / seconds:.1f}" if peer else "–",
        f"{seconds / edges / plain:.3f}" if plain else "–",
    )


def _rounds(engines: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = engines.get(name, {"rounds": []})["rounds"]
    return found


def _median(engines: dict[str, Any], name: str) -> float | None:
    rounds = _rounds(engines, name)
    return median(r["seconds"] for r in rounds) if rounds else None


def _forward(engines: dict[str, Any]) -> float | None:
    rounds = _rounds(engines, UNIT)
    return median(r["extra"]["forward"] for r in rounds) if rounds else None


def _remarks(engines: dict[str, Any]) -> list[str]:
    lines = []
    if mine := _rounds(engines, UNIT):
        extra = mine[-1]["extra"]
        plain = _forward(engines)
        lines.append(f"a plain forward: {1000 * (plain or 0):.4g} ms")
        worked, of_plain = (
            median(x) for x in zip(*(r["extra"]["processor"] for r in mine), strict=True)
        )
        share = worked / of_plain / extra["edges"]
        lines.append(
            f"of the processor, whatever else it runs: acdc {worked:.4g} s, a plain forward "
            f"{1000 * of_plain:.4g} ms, {share:.3f} of them an edge"
        )
        lines.append(f"acdc ran {extra['tests']} tests, {extra['again']} edges measured again")
    if runs := [r["extra"]["run"] for r in _rounds(engines, "interp")]:
        lines.append(f"interp, whole run from file to tables: {median(runs):.4g} s")
    return [*lines, *_differences(engines)]


def _differences(engines: dict[str, Any]) -> list[str]:
    """Are the kept sets those of every other engine and round? With interp's margins where not."""
    sets = {
        f"{name} round {i + 1}": set(r["kept"])
        for name in engines
        for i, r in enumerate(_rounds(engines, name))
    }
    if len(sets) < 2:
        return []
    (first, reference), *others = sets.items()
    margins: dict[str, float] = next((r["extra"]["margins"] for r in _rounds(engines, UNIT)), {})
    lines = [
        f"{name} differs from {first}: "
        + ", ".join(f"{edge} ({_signed(margins.get(edge))})" for edge in sorted(found ^ reference))
        for name, found in others
        if found != reference
    ]
    return lines or [f"kept sets: the same {len(reference)} edges in all {len(sets)} searches"]


def _signed(margin: float | None) -> str:
    return "no margin" if margin is None else f"margin {margin:+.2e}"
