"""The table of a race of training steps."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from racing import aligned, outside

OURS = "interp"
HEAD = ("case", "engine", "step ms", "product ms", "÷ product", "least", "most", "÷ interp")


def printed(result: dict[str, Any]) -> str:
    """A race's results as text."""
    engines = result["engines"]
    names = dict.fromkeys(n for one in engines.values() for r in one["rounds"] for n in r["steps"])
    rows = [
        _row(name, engine, engines)
        for name in names
        for engine, held in engines.items()
        if held["rounds"] and name in held["rounds"][0]["steps"]
    ]
    return "\n".join([_title(result), "", aligned([HEAD, *rows]), *outside(engines), ""])


def _title(result: dict[str, Any]) -> str:
    threads, engines = result["threads"], result["engines"]
    versions = {
        package: version
        for one in engines.values()
        for package, version in one["versions"].items()
        if package != "torch"
    }
    torches = {one["versions"]["torch"] for one in engines.values() if one["versions"]}
    rounds = max(len(one["rounds"]) for one in engines.values())
    clock = "the processor's time" if threads == 1 else "time"
    return (
        f"512 → {result['width']:,}, k {result['k']}, batch {result['batch']:,} · CPU, {threads} "
        f"thread{'s'[: threads - 1]}, {clock}, medians of {rounds} rounds\n"
        + ", ".join(f"{package} {version}" for package, version in versions.items())
        + f", torch {' and '.join(sorted(torches))}"
    )


def _row(name: str, engine: str, engines: dict[str, Any]) -> tuple[str, ...]:
    steps, products = (_of(engines[engine]["rounds"], what, name) for what in ("steps", "products"))
    ratios = sorted(s / p for s, p in zip(steps, products, strict=True))
    return (
        name,
        engine,
        f"{1e3 * median(steps):.1f}",
        f"{1e3 * median(products):.1f}",
        *(f"{x:.2f}" for x in (median(ratios), ratios[0], ratios[-1])),
        _against(name, steps, engines),
    )


def _of(rounds: Sequence[dict[str, Any]], what: str, name: str) -> list[float]:
    return [r[what][name] for r in rounds]


def _against(name: str, steps: Sequence[float], engines: dict[str, Any]) -> str:
    """A step's time ÷ interp's of the same round, the median over rounds."""
    ours = _of(engines.get(OURS, {"rounds": []})["rounds"], "steps", name)
    if not ours:
        return "–"
    return f"{median(s / o for s, o in zip(steps, ours, strict=False)):.2f}"
