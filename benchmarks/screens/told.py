"""What a benchmark of the screens prints, and keeps in `benchmarks/results/` with `--out`."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shlex
import sys
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results"


def arguments(doc: str) -> argparse.ArgumentParser:
    """The options that all of them have."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    own = RESULTS / f"screens-{Path(sys.argv[0]).stem}.txt"
    parser.add_argument(
        "--out", type=Path, nargs="?", const=own, help=f"also write it down (in {own.name})"
    )
    return parser


class Told:
    """Lines that are printed at once; `keep` writes them under the command and the machine."""

    def __init__(self, *packages: str) -> None:
        self._lines: list[str] = []
        self._packages = packages
        self._load = load()

    def say(self, line: str = "") -> None:
        print(line, flush=True)
        self._lines.append(line)

    def reach(self, what: str, bound: float, found: float, unit: str = "ms") -> None:
        """A bound, what was found, and whether it holds."""
        held = "held" if found < bound else "not held"
        self.say(f"reach: {what} < {bound:g} {unit}: {found:.3g} {unit}, {held}")

    def keep(self, path: Path | None) -> None:
        """Write everything that was said, where a path is given."""
        machine = f"{os.cpu_count()} CPU cores, {platform.machine()}, {platform.system()}"
        versions = [f"{name} {importlib.metadata.version(name)}" for name in self._packages]
        head = [
            f"# {machine}, python {platform.python_version()}, {', '.join(versions)}",
            f"# load {self._load} before, {load()} after",
            f"$ python {shlex.join(_shown(sys.argv))}",
        ]
        for line in head:
            print(line)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join([*head, *self._lines]) + "\n", encoding="utf-8")
            print(f"wrote {path}")


def load() -> str:
    """How many processes wanted a processor in the last minute."""
    return f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"


def _shown(words: list[str]) -> list[str]:
    """The command as one would type it at the root of the repository."""
    script = Path(words[0]).resolve()
    root = RESULTS.parents[1]
    name = script.relative_to(root) if script.is_relative_to(root) else script
    return [str(name), *words[1:]]
