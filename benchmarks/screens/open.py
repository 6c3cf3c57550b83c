"""How long `interp tui RUN` takes to show a finished run with a large table.

    python benchmarks/screens/open.py [--rows 100000] [--rounds 11] [--out [FILE]]

In turns, each in a process of its own: the imports that nothing can go without (`python -c 'import
polars, textual.app'`), `interp tui RUN` until the first frame is painted in its terminal of
140 × 50 (the run's status in the head), and until the table is (its count of rows, in the border
below it). The processes are ended at that moment. Medians; `beyond` is what is more than the
imports, `cpu` seconds of processor."""

from __future__ import annotations

import statistics
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from terminal import Terminal, interp
from told import Told, arguments

from interp_dsl.runs.folder import RunFolder

IMPORTS = [sys.executable, "-c", "import polars, textual.app; print('imported')"]


def finished(root: Path, rows: int) -> Path:
    """The folder of a run with one step of so many heads at positions."""
    folder = RunFolder.create(root, "large", datetime.now())
    if not folder.acquire():
        raise RuntimeError(f"{folder.path} is in use")
    at = np.arange(rows)
    effect = np.random.default_rng(0).normal(size=rows) ** 3
    layer, head = at % 48, at // 48 % 64
    table = pl.DataFrame(
        {
            "unit": [f"L{a}H{b}" for a, b in zip(layer, head, strict=True)],
            "layer": layer,
            "head": head,
            "position": [str(p) for p in at // (48 * 64)],
            "metric": "gap",
            "base": 3.0,
            "value": 3.0 + effect,
            "effect": effect,
            "normalized": effect / -2.5,
            "low": effect - 0.25,
            "high": effect + 0.25,
            "n": 32,
            "skipped": False,
        }
    )
    folder.write_table("sweep", table)
    folder.finish_step("sweep", "made up")
    folder.release("done")
    return folder.path


def measure(command: list[str], text: str) -> tuple[float, float]:
    """Seconds, and seconds of processor, until a text is painted."""
    with Terminal(command) as terminal:
        terminal.wait_for(text)
        return terminal.kill()


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=11)
    args = parser.parse_args()
    told = Told("textual", "polars")
    with tempfile.TemporaryDirectory() as work:
        tui = interp("tui", finished(Path(work), args.rows))
        ways = {
            "imports": (IMPORTS, "imported"),
            "first frame": (tui, "done"),
            "table": (tui, f"1/{args.rows:,} rows"),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(args.rounds + 1):  # the first warms the disk
            for name, way in ways.items():
                times[name].append(measure(*way))
        with Terminal(tui) as screens:
            screens.wait_for(f"1/{args.rows:,} rows")
            held = screens.has_loaded("torch")
    told.say(f"{args.rows:,} rows      seconds   beyond       cpu   beyond")
    beyond: dict[str, tuple[float, float]] = {}
    floor = (0.0, 0.0)
    for name, found in times.items():
        wall, cpu = (statistics.median(column) for column in zip(*found[1:], strict=True))
        floor = (wall, cpu) if name == "imports" else floor
        beyond[name] = wall - floor[0], cpu - floor[1]
        line = (wall, beyond[name][0], cpu, beyond[name][1])
        told.say(f"{name:14}" + "".join(f"{seconds:10.3f}" for seconds in line))
    for name, bound in (("first frame", 0.3), ("table", 0.4)):
        for way, seconds in zip(("on the clock", "of processor"), beyond[name], strict=True):
            told.reach(f"{name} beyond the imports, {way}", bound, seconds, "s")
    told.say(f"torch in the screens' process: {'yes' if held else 'no'}")
    told.keep(args.out)


if __name__ == "__main__":
    main()
