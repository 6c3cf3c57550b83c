"""What watching a run costs the run.

    python benchmarks/screens/attached.py [--file examples/ioi.interp] [--rounds 10] [--out [FILE]]

`interp run FILE` in one process, alone and with `interp tui RUN` in another from the moment that
the run's folder is there, in turns. `alone` and `watched` are the run's seconds of processor, start
of the interpreter and imports included; `screens` those of the other process. The run has one
thread. Each round's three are printed; the first round is not counted."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from terminal import ROOT, Terminal, interp
from told import Told, arguments

FIRST = ROOT / "examples" / "ioi.interp"


def begin(file: Path, out: Path) -> subprocess.Popen[bytes]:
    """A run's process."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = interp("run", file, "--quiet", "--fresh", "--out", out)
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)


def end(run: subprocess.Popen[bytes]) -> float:
    """Wait for a run; seconds of processor it had."""
    _, status, usage = os.wait4(run.pid, 0)
    run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode:
        raise RuntimeError(f"the run ended with {run.returncode}")
    return usage.ru_utime + usage.ru_stime


def watched(file: Path, out: Path) -> tuple[float, float]:
    """Seconds of processor of a run and of the screens that show it."""
    run = begin(file, out)
    while not (out / "manifest.json").exists():
        if run.poll() is not None:
            raise RuntimeError(f"the run ended with {run.returncode}")
        time.sleep(0.01)
    with Terminal(interp("tui", out)) as screens:
        while not os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            screens.read(0.05)
        busy = end(run)
        screens.wait_for("done")
        return busy, screens.kill()[1]


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--file", type=Path, default=FIRST)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    told = Told("textual", "polars", "torch")
    told.say("   alone  watched  screens")
    alone, beside, screens = list[float](), list[float](), list[float]()
    with tempfile.TemporaryDirectory() as work:
        for i in range(args.rounds + 1):  # the first round warms the disk
            order = ("alone", "watched") if i % 2 else ("watched", "alone")
            for name in order:
                out = Path(work) / f"{i}-{name}"
                if name == "alone":
                    alone.append(end(begin(args.file, out)))
                else:
                    busy, other = watched(args.file, out)
                    beside.append(busy)
                    screens.append(other)
            told.say(f"{alone[-1]:8.3f} {beside[-1]:8.3f} {screens[-1]:8.3f}")
    alone, beside, screens = alone[1:], beside[1:], screens[1:]
    a, b = statistics.median(alone), statistics.median(beside)
    more = [one / other - 1 for one, other in zip(beside, alone, strict=True)]
    told.say(f"medians: alone {a:.3f} s, watched {b:.3f} s ({b / a - 1:+.1%})")
    told.say(f"least:   alone {min(alone):.3f} s, watched {min(beside):.3f} s")
    told.say(f"the same round's two: {statistics.median(more):+.1%} at the median")
    told.say(f"screens: {statistics.median(screens):.3f} s")
    told.reach("watched beyond alone, medians", 2, 100 * (b / a - 1), "%")
    told.keep(args.out)


if __name__ == "__main__":
    main()
