"""How soon a key is answered while the run that is looked at writes many events.

    python benchmarks/screens/keys.py [--rate 1000] [--rounds 40] [--out [FILE]]

`interp tui RUN` in a terminal of 140 × 50; another process appends events of progress, leading
components and a search's edges to the run's log, `--rate` of them a second. A key's time runs from
its press to the bytes in the terminal that answer it. `quiet`: the median before the other process
begins; `cpu`, of each: the median of the processor's time that the screens had from press to
answer. In milliseconds."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import polars as pl
from terminal import Terminal, interp
from told import Told, arguments

from interp_dsl.runs.folder import RunFolder

KEYS = {
    "to Rank": ("r", "1/64 rows"),
    "down": ("j", "2/64 rows"),
    "end": ("\x1b[F", "64/64 rows"),
    "home": ("\x1b[H", "1/64 rows"),
    "to Watch": ("w", "leading"),
    "help": ("?", "esc closes"),
    "close help": ("?", "leading"),
}
"""What is pressed, one after another, and what answers it."""
TASKS = [
    {"id": "sweep:heads", "kind": "Sweep", "step": "heads", "total": None},
    {"id": "sweep:more", "kind": "Sweep", "step": "more", "total": 10**6},
    {"id": "search:circuit", "kind": "Search", "step": "circuit", "total": 10**6},
]
LEADING = [{"unit": f"L{i}H0", "metric": "gap", "effect": -1.0 * i} for i in range(10)]


def going_on(root: Path) -> RunFolder:
    """A run that this process holds, with one step at its end and two at work."""
    folder = RunFolder.create(root, "busy", datetime.now())
    if not folder.acquire():
        raise RuntimeError(f"{folder.path} is in use")
    n = 64
    effect = [(-1) ** i * (n - i) / n for i in range(n)]
    table = pl.DataFrame(
        {
            "unit": [f"L{i // 8}H{i % 8}" for i in range(n)],
            "layer": [i // 8 for i in range(n)],
            "head": [i % 8 for i in range(n)],
            "position": "all",
            "metric": "gap",
            "base": 3.0,
            "value": [3.0 + e for e in effect],
            "effect": effect,
            "normalized": effect,
            "low": [e - 0.25 for e in effect],
            "high": [e + 0.25 for e in effect],
            "n": 32,
            "skipped": False,
        }
    )
    folder.write_table("heads", table)
    folder.finish_step("heads", "made up")
    folder.log.append("run_started", tasks=TASKS, resumed=False)
    for task in TASKS[1:]:
        folder.log.append("task_started", task=task["id"], step=task["step"], total=10**6)
    folder.log.append("top", step="more", rows=LEADING)
    return folder


def write(log: Path, rate: float) -> None:
    """Append events at a rate, until killed."""
    start, written = time.time(), 0
    with log.open("a", encoding="utf-8") as out:
        while True:
            due = int((time.time() - start) * rate)
            for n in range(written + 1, due + 1):
                event = {"event": "progress", "task": "sweep:more", "done": n, "total": 10**6}
                if n % 20 == 0:
                    event = {"event": "top", "step": "more", "rows": LEADING}
                elif n % 3 == 0:
                    event = {"event": "edges", "step": "circuit", "threshold": 0.1, "done": n}
                    event |= {"total": 10**6, "kept": 10**6 - n, "score": n * 1e-6}
                out.write(json.dumps({"time": time.time(), **event}) + "\n")
            out.flush()
            written = due
            time.sleep(0.005)


Times = dict[str, list[tuple[float, float]]]


def press(screens: Terminal, rounds: int) -> Times:
    """The milliseconds of each key, and those of processor, `rounds` times."""
    found: Times = {name: [] for name in KEYS}
    for _ in range(rounds):
        for name, (key, answer) in KEYS.items():
            seconds, busy = screens.press(key, answer)
            found[name].append((seconds * 1e3, busy * 1e3))
            screens.rest(0.1)
    return found


def line(name: str, quiet: list[tuple[float, float]], found: list[tuple[float, float]]) -> str:
    times, busy = zip(*found, strict=True)
    p95 = sorted(times)[int(0.95 * len(times))]
    calm = [statistics.median(column) for column in zip(*quiet, strict=True)]
    columns = (*calm, statistics.median(times), p95, max(times), statistics.median(busy))
    return f"{name:12}" + "".join(f"{column:9.1f}" for column in columns)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write:
        write(args.write, args.rate)
        return
    told = Told("textual", "polars")
    with tempfile.TemporaryDirectory() as work:
        folder = going_on(Path(work))
        command = [sys.executable, __file__, "--write", folder.log.path, "--rate", str(args.rate)]
        with Terminal(interp("tui", folder.path)) as screens:
            screens.wait_for("leading · more")
            screens.rest(1.0)
            quiet = press(screens, max(2, args.rounds // 4))
            writer = subprocess.Popen(command)
            screens.rest(2.0)
            start = time.perf_counter()
            before, found = screens.busy(), press(screens, args.rounds)
            seconds, busy = time.perf_counter() - start, screens.busy() - before
            held = screens.has_loaded("torch")
            writer.kill()
            writer.wait()
        events = sum(1 for _ in folder.log.read())
        folder.release("cancelled")
    told.say("               quiet      cpu   median      p95  longest      cpu")
    for name in KEYS:
        told.say(line(name, quiet[name], found[name]))
    together = [[time for times in all_of.values() for time in times] for all_of in (quiet, found)]
    told.say(line("all", *together))
    told.say(f"{events:,} events; the screens had {busy / seconds:.2f} of a processor meanwhile")
    medians = [statistics.median(column) for column in zip(*together[1], strict=True)]
    told.reach("a key while the run writes, median on the clock", 100, medians[0])
    told.reach("a key while the run writes, median of processor", 100, medians[1])
    told.say(f"torch in the screens' process: {'yes' if held else 'no'}")
    told.keep(args.out)


if __name__ == "__main__":
    main()
