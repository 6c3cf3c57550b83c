"""The table of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from racing import aligned, outside

PEER, OURS = "transformer_lens", "interp"
HEAD = (
    "engine",
    "median s",
    "cells/s",
    "× TL",
    "÷ trimmed",
    "÷ bound",
    "÷ rate",
    "MB",
    "largest diff",
)


def printed(result: dict[str, Any]) -> str:
    """A sweep's results as text."""
    engines = dict(result["engines"])
    bound = engines.pop("bound")
    rows = [_row(name, held, result, bound) for name, held in engines.items()]
    table = aligned([HEAD, *rows])
    return "\n".join([_title(result), *_bound_lines(bound), "", table, *outside(engines), ""])


WHOLE = ("all cells", "cells", "s", "cells/s", "× sampled", "MB", "plan MB", "÷ plan")


def printed_whole(result: dict[str, Any]) -> str:
    """Ours over all cells beside its rate on the sampled ones, and its memory beside the plan's."""
    held = result["whole"]
    if "seconds" not in held:
        return "\n".join([*outside({f"{OURS}, all cells": held}), ""])
    rate, sampled = held["cells"] / held["seconds"], result["engines"].get(OURS, {}).get("seconds")
    planned, most = held["extra"]["planned_bytes"], held["memory"]
    row = (
        OURS,
        str(held["cells"]),
        f"{held['seconds']:.4g}",
        f"{rate:.4g}",
        f"{rate * median(sampled) / result['cells']:.2f}" if sampled else "–",
        "–" if most is None else f"{most / 1e6:.0f}",
        f"{planned / 1e6:.0f}",
        "–" if most is None else f"{most / planned:.2f}",
    )
    return aligned([WHOLE, row]) + "\n"


def _title(result: dict[str, Any]) -> str:
    s = result["shape"]
    return (
        f"{result['sweep']}: {result['cells']} cells · {s['layers']} layers, d_model {s['width']}, "
        f"{s['heads']} heads, vocab {s['vocab']}, context {s['context']}, batch {s['batch']} · "
        f"{result['device']}, {result['threads']} thread{'s'[: result['threads'] - 1]}"
    )


def _bound_lines(bound: dict[str, Any]) -> list[str]:
    if not bound["seconds"]:
        return [f"bound: failed: {bound['failed']}"]
    extra = bound["extra"][-1]
    share = extra["whole_flops"] / extra["flops"]
    return [
        f"trimmed: {_trimmed(bound):.4g} s for {extra['trimmed_flops'] / 1e9:.4g} GFLOP: "
        "the layers and positions from the first change on",
        f"bound: {median(bound['seconds']):.4g} s for {extra['flops'] / 1e9:.4g} GFLOP; "
        f"rate {_rate(bound) / 1e9:.4g} GFLOP/s; "
        f"whole forwards would multiply {share:.1f} times as much",
        f"plan: holds {extra['planned_bytes'] / 1e6:.1f} MB at most besides the weights",
    ]


def _rate(bound: dict[str, Any]) -> float:
    return float(median(extra["rate"] for extra in bound["extra"]))


def _trimmed(bound: dict[str, Any]) -> float:
    return float(median(extra["trimmed_seconds"] for extra in bound["extra"]))


def _row(
    name: str, held: dict[str, Any], result: dict[str, Any], bound: dict[str, Any]
) -> tuple[str, ...]:
    if not held["seconds"]:
        return (name, *("–" for _ in HEAD[1:]))
    seconds = median(held["seconds"])
    peer = result["engines"].get(PEER, {"seconds": [], "values": []})
    return (
        name,
        f"{seconds:.4g}",
        f"{result['cells'] / seconds:.4g}",
        f"{median(peer['seconds']) / seconds:.2f}" if peer["seconds"] else "–",
        *_against(seconds, bound),
        "–" if held["memory"] is None else f"{held['memory'] / 1e6:.0f}",
        _difference(held["values"], peer["values"]),
    )


def _against(seconds: float, bound: dict[str, Any]) -> tuple[str, str, str]:
    """Time ÷ the trimmed products', ÷ the plan's products', and ÷ these FLOPs at the machine's
    rate."""
    if not bound["seconds"]:
        return "–", "–", "–"
    ideal = bound["extra"][-1]["flops"] / _rate(bound)
    least = (_trimmed(bound), median(bound["seconds"]), ideal)
    return (f"{seconds / least[0]:.2f}", f"{seconds / least[1]:.2f}", f"{seconds / least[2]:.2f}")


def _difference(values: Sequence[float], peers: Sequence[float]) -> str:
    if len(values) != len(peers):
        return "–"
    return f"{max(abs(a - b) for a, b in zip(values, peers, strict=True)):.1e}"
