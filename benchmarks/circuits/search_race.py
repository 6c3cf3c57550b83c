"""ACDC, raced: every engine in a process of its own, in turn, round after round.

python benchmarks/circuits/search_race.py --work FOLDER --preset tiny2
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from case import PRESETS, Job
from search_table import printed

ENGINES = ("auto_circuit", "acdc", "interp")
PEERS = ("auto_circuit",)


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

    def begin(self) -> None:
        """Wait until it is loaded."""
        told = self._read()
        self.versions, self.absent = told.get("versions", {}), told.get("absent")

    def round(self, counts: bool) -> None:
        """One whole search, which warms up where it does not count."""
        if self.absent or self.failed:
            return
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self._read()
        if counts and not self.failed:
            self.rounds.append(answer)

    def end(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()

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
    errors, threads = Path(job.folder) / f"{name}.stderr", str(job.threads)
    quiet = {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment = {**os.environ, **quiet, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    script = Path(__file__).parent / f"search_{name}.py"
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


def raced(
    job: Job, engines: Iterable[str], pythons: Mapping[str, str], rounds: int, peer_rounds: int
) -> list[Racer]:
    """All rounds; each begins with another engine. Peers sit out after `peer_rounds`."""
    path = job.write()
    racers: list[Racer] = []
    try:
        for name in engines:
            racers.append(racer(name, pythons.get(name, sys.executable), job, path))
            racers[-1].begin()
            if name not in PEERS:
                racers[-1].round(counts=False)
        for number in range(rounds):
            for i in range(len(racers)):
                one = racers[(i + number) % len(racers)]
                if one.name not in PEERS or number < peer_rounds:
                    one.round(counts=True)
    finally:
        for one in racers:
            one.end()
    return racers


def result(job: Job, racers: Iterable[Racer]) -> dict[str, Any]:
    """Everything that a race gave, as it is written and as the table reads it."""
    engines = {
        one.name: {
            "versions": one.versions,
            "absent": one.absent,
            "failed": one.failed,
            "rounds": one.rounds,
        }
        for one in racers
    }
    return {"case": vars(job.case), "threads": job.threads, "engines": engines}


def machine() -> str:
    load = f", load {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    return f"{os.cpu_count()} CPU cores, {platform.machine()}{load}"


def main() -> None:
    given = _arguments()
    from random_model import make

    pythons = dict(pair.split("=", 1) for pair in given.python)
    job = make(PRESETS[given.preset], given.work, given.threads)
    engines = [e for e in given.engines if not (job.case.ours and e in PEERS)]
    peer_rounds = given.rounds if given.peer_rounds is None else given.peer_rounds
    found = result(job, raced(job, engines, pythons, given.rounds, peer_rounds))
    print(f"{printed(found)}\n{machine()}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for models and data")
    parser.add_argument("--preset", choices=PRESETS, default="tiny2")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="ENGINE=PATH",
        help="the interpreter of an engine that lives in an environment of its own",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-rounds", type=int, help="as many of them with peers (all)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write everything measured here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
