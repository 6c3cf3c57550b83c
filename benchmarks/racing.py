"""A race: every engine in a process of its own, in turn, round after round. Both ends of it.

The driver writes orders to an engine's stdin, which it answers on stdout, one JSON object a line.
The first line that an engine writes is {"versions": {…}}, or {"absent": "why"}; the end of its
stdin ends it. Engines may have interpreters of their own: nothing but Python's library here."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TextIO

Message = dict[str, Any]

# ---- the driver's end


class Job(Protocol):
    """What engines are given, a dataclass: `folder` holds all of it."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def folder(self) -> str: ...

    @property
    def threads(self) -> int: ...


def written(job: Job) -> Path:
    """The job as a file, which engines read."""
    path = Path(job.folder) / "job.json"
    path.write_text(json.dumps(asdict(job)))
    return path


@dataclass
class Racer:
    """An engine's process, and what it has answered: to orders that warm it up, and in rounds."""

    name: str
    process: subprocess.Popen[str]
    errors: Path
    versions: dict[str, str] = field(default_factory=dict)
    absent: str | None = None
    failed: str | None = None
    warmed: list[Message] = field(default_factory=list)
    rounds: list[Message] = field(default_factory=list)

    @property
    def is_in(self) -> bool:
        return self.absent is None and self.failed is None

    @property
    def told(self) -> Message:
        """Who it was, as results hold it."""
        return {"versions": self.versions, "absent": self.absent, "failed": self.failed}

    def begin(self) -> None:
        """Wait until it is loaded."""
        told = self._read()
        self.versions, self.absent = told.get("versions", {}), told.get("absent")

    def warm(self, **order: Any) -> None:
        self._ask(order, self.warmed)

    def round(self, **order: Any) -> None:
        self._ask(order, self.rounds)

    def end(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()

    def _ask(self, order: Message, answers: list[Message]) -> None:
        if not self.is_in:
            return
        assert self.process.stdin
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = self._read()
        if self.is_in:
            answers.append(answer)

    def _read(self) -> Message:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            lines = self.errors.read_text().strip().splitlines()
            self.failed = lines[-1] if lines else "it ended"
            return {}
        answer: Message = json.loads(line)
        return answer


def racer(name: str, script: Path, python: str, job: Job) -> Racer:
    """Start an engine's process."""
    errors, threads = Path(job.folder) / f"{name}.stderr", str(job.threads)
    quiet = {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}
    found = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, found))}
    environment = {**os.environ, **quiet, **paths}
    environment |= {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [python, str(script), str(written(job))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=environment,
        )
    return Racer(name, process, errors)


def raced(
    job: Job,
    scripts: Mapping[str, Path],
    pythons: Mapping[str, str],
    rounds: int,
    warm: Callable[[Racer], None],
    runs: Callable[[str, int], bool] = lambda name, number: True,
) -> list[Racer]:
    """All rounds, each of which begins with another engine; of an engine those that it `runs`."""
    racers: list[Racer] = []
    try:
        for name, script in scripts.items():
            racers.append(racer(name, script, pythons.get(name, sys.executable), job))
            racers[-1].begin()
            warm(racers[-1])
        for number in range(rounds):
            for i in range(len(racers)):
                one = racers[(i + number) % len(racers)]
                if runs(one.name, number):
                    one.round()
    finally:
        for one in racers:
            one.end()
    return racers


def arguments(
    doc: str, presets: Iterable[str], preset: str, engines: Sequence[str]
) -> argparse.ArgumentParser:
    """What every race is given."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for models and data")
    parser.add_argument("--preset", choices=presets, default=preset)
    parser.add_argument("--engines", nargs="+", choices=engines, default=list(engines))
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        type=lambda pair: pair.split("=", 1),
        metavar="ENGINE=PATH",
        help="the interpreter of an engine that lives in an environment of its own",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write everything measured here")
    return parser


def processor() -> str:
    """The processor's cores and how busy they are."""
    load = f", load {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    return f"{os.cpu_count()} CPU cores, {platform.machine()}{load}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns, the first to the left and all others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def outside(engines: Mapping[str, Message]) -> list[str]:
    """Who did not take part, or not to the end, and why."""
    return [
        f"{name}: {how}: {engine[how]}"
        for how in ("absent", "failed")
        for name, engine in engines.items()
        if engine[how]
    ]


# ---- an engine's end


def serve(load: Callable[[], Callable[[Message], Message]], packages: Sequence[str]) -> None:
    """Answer the driver's orders by what `load` makes, until it hangs up. `packages` are those
    whose versions it is told."""
    out = _claimed_stdout()
    try:
        answer = load()
    except ImportError as error:
        _write(out, {"absent": str(error)})
        return
    _write(out, {"versions": {name: importlib.metadata.version(name) for name in packages}})
    for line in sys.stdin:
        _write(out, answer(json.loads(line)))


def _claimed_stdout() -> TextIO:
    """The driver's end; whatever else prints goes to stderr."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return out


def _write(out: TextIO, message: Message) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()
