"""Patching sweeps, raced: every engine in a process of its own, in turn, round after round.

python benchmarks/patching/race.py --work FOLDER --preset small
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from job import PRESETS, Job, Sweep
from table import printed

ENGINES = ("transformer_lens", "hf_hooks", "nnsight", "pyvene", "interp")
BOUND = "bound"
WARM = 2


@dataclass
class Racer:
    """An engine's process, and what it has answered."""

    name: str
    process: subprocess.Popen[str]
    errors: Path
    versions: dict[str, str] = field(default_factory=dict)
    absent: str | None = None
    failed: str | None = None
    rounds: list[dict[str, Any]] = field(default_factory=list)
    memory: int | None = None

    @property
    def is_in(self) -> bool:
        return self.absent is None and self.failed is None

    def begin(self) -> None:
        """Wait until it is loaded, then let it warm up."""
        told = self._read()
        self.versions = told.get("versions", {})
        self.absent = told.get("absent")
        if self.is_in:
            self._ask(WARM)

    def round(self) -> None:
        """One whole sweep."""
        answer = self._ask(None)
        if self.is_in:
            self.rounds.append(answer)

    def end(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()

    def _ask(self, cells: int | None) -> dict[str, Any]:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"cells": cells}) + "\n")
        self.process.stdin.flush()
        answer = self._read()
        if (memory := answer.get("memory")) is not None:
            self.memory = max(memory, self.memory or 0)
        return answer

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            lines = self.errors.read_text().strip().splitlines()
            self.failed = lines[-1] if lines else "it ended"
            return {}
        answer: dict[str, Any] = json.loads(line)
        return answer


def racer(name: str, python: str, job: Job, path: Path) -> Racer:
    """Start an engine's process."""
    errors = Path(job.folder) / f"{name}.stderr"
    threads = str(job.threads)
    quiet = {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment = {**os.environ, **quiet, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    script = Path(__file__).parent / f"engine_{name}.py"
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [python, str(script), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=environment,
        )
    return Racer(name, process, errors)


def raced(job: Job, engines: Iterable[str], pythons: Mapping[str, str], rounds: int) -> list[Racer]:
    """All rounds of a sweep; each begins with another engine."""
    path = job.write()
    racers = []
    try:
        for name in engines:
            racers.append(racer(name, pythons.get(name, sys.executable), job, path))
            racers[-1].begin()
        for number in range(rounds):
            for i in range(len(racers)):
                one = racers[(i + number) % len(racers)]
                if one.is_in:
                    one.round()
    finally:
        for one in racers:
            one.end()
    return racers


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
                "versions": one.versions,
                "absent": one.absent,
                "failed": one.failed,
                "seconds": [answer["seconds"] for answer in one.rounds],
                "memory": one.memory,
                "values": one.rounds[-1]["values"] if one.rounds else [],
                "extra": [answer["extra"] for answer in one.rounds],
            }
            for one in racers
        },
    }


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

    pythons = dict(pair.split("=", 1) for pair in given.python)
    results = []
    for sweep in PRESETS[given.preset]:
        if given.sweep and sweep.name not in given.sweep:
            continue
        job = make(sweep, given.work, given.device, given.threads)
        wanted = [e for e in given.engines if sweep.engines is None or e in sweep.engines]
        racers = raced(job, [*wanted, BOUND], pythons, given.rounds)
        results.append(result(sweep, job, racers))
        print(printed(results[-1]), flush=True)
    if given.json:
        held = {"preset": given.preset, "machine": machine(given.device), "sweeps": results}
        given.json.write_text(json.dumps(held, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for models and data")
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--sweep", action="append", help="only this sweep; may be repeated")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="ENGINE=PATH",
        help="the interpreter of an engine that lives in an environment of its own",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="also write everything measured here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
