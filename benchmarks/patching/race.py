"""Patching sweeps, raced: every engine in a process of its own, in turn, round after round.

python benchmarks/patching/race.py --work FOLDER --preset small
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from job import PRESETS, Job, Sweep
from racing import Racer, arguments, raced
from table import OURS, printed, printed_whole

ENGINES = ("transformer_lens", "hf_hooks", "nnsight", "pyvene", OURS)
BOUND = "bound"
WARM = 2


def warm(one: Racer) -> None:
    one.warm(cells=WARM)


def script(name: str) -> Path:
    return Path(__file__).parent / f"engine_{name}.py"


def memory(one: Racer) -> int | None:
    """The most that any sweep of an engine needed, also when it warmed up."""
    held = [answer["memory"] for answer in (*one.warmed, *one.rounds)]
    return max((most for most in held if most is not None), default=None)


def result(sweep: Sweep, job: Job, racers: Sequence[Racer]) -> dict[str, Any]:
    """Everything that a sweep gave, as it is written and as the table reads it."""
    return {
        "sweep": job.sweep,
        "kind": job.kind,
        "cells": len(job.cells),
        "sampled": sweep.sample is not None,
        "shape": vars(job.shape),
        "device": job.device,
        "threads": job.threads,
        "engines": {
            one.name: {
                **one.told,
                "seconds": [answer["seconds"] for answer in one.rounds],
                "memory": memory(one),
                "values": one.rounds[-1]["values"] if one.rounds else [],
                "extra": [answer["extra"] for answer in one.rounds],
            }
            for one in racers
        },
    }


def whole(sweep: Sweep, given: argparse.Namespace) -> dict[str, Any]:
    """Ours over all cells of a sampled sweep, once, in a process of its own that has run none of
    them before."""
    from material import make

    job = make(replace(sweep, sample=None), given.work, given.device, given.threads)
    scripts = {OURS: script(OURS)}
    [one] = raced(job, scripts, dict(given.python), rounds=1, warm=lambda _: None)
    found = one.rounds[0] if one.rounds else {}
    return {**one.told, "cells": len(job.cells), **found}


def machine(device: str) -> dict[str, Any]:
    """What the figures hold for."""
    import torch

    is_cuda = device.startswith("cuda")
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "gpu": torch.cuda.get_device_name(device) if is_cuda else None,
        "python": platform.python_version(),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    given = _arguments()
    from material import make

    results = []
    for sweep in PRESETS[given.preset]:
        if given.sweep and sweep.name not in given.sweep:
            continue
        job = make(sweep, given.work, given.device, given.threads)
        scripts = {name: script(name) for name in (*given.engines, BOUND)}
        racers = raced(job, scripts, dict(given.python), given.rounds, warm)
        results.append(result(sweep, job, racers))
        print(printed(results[-1]), flush=True)
        if given.whole and sweep.sample is not None:
            results[-1]["whole"] = whole(sweep, given)
            print(printed_whole(results[-1]), flush=True)
    if given.json:
        held = {"preset": given.preset, "machine": machine(given.device), "sweeps": results}
        given.json.write_text(json.dumps(held, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = arguments(__doc__ or "", PRESETS, "small", ENGINES)
    parser.add_argument("--sweep", action="append", help="only this sweep; may be repeated")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--whole", action="store_true", help="of sampled sweeps run interp once over all cells"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
