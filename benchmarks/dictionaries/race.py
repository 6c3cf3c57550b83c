"""Training steps of dictionaries, raced: every engine in a process of its own, in turn.

python benchmarks/dictionaries/race.py --work FOLDER
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from case import ARCHITECTURES, BY_COUNT, COEFFICIENTS, ENGINES, Case, Job, having
from racing import Racer, arguments, processor, raced
from table import printed


@dataclass(frozen=True)
class Preset:
    width: int
    batch: int
    contexts: int


PRESETS = {"tiny": Preset(512, 512, 40), "asked": Preset(4096, 4096, 160)}
K, STEPS, WARM = 32, 10_000, 2
DEAD = 0.05
"""The share of features that are dead where AuxK is timed."""


def cases(preset: Preset, only: Sequence[str], engine: str) -> dict[str, Case]:
    """What an engine is asked for, by name; of the topk family also with dead features."""
    found = {}
    for name in only:
        if engine not in having(name):
            continue
        sparsity = K if name in BY_COUNT else COEFFICIENTS[name][engine][1]
        found[name] = Case(name, preset.width, preset.batch, STEPS, sparsity)
        if name in BY_COUNT:
            dead = int(DEAD * preset.width)
            found[f"{name}, {DEAD:.0%} dead"] = replace(found[name], dead=dead)
    return found


def main() -> None:
    given = _arguments()
    preset = PRESETS[given.preset]
    from material import make

    folder = (given.work / f"speed-{given.preset}").resolve()
    make(folder, preset.contexts)
    here = Path(__file__).parent
    scripts = {name: here / f"engine_{name}.py" for name in given.engines}

    def warm(one: Racer) -> None:
        wanted = cases(preset, given.only, one.name)
        one.warm(begin={name: asdict(case) for name, case in wanted.items()})
        for _ in range(WARM):
            one.warm()

    job = Job(str(folder), given.threads)
    racers = raced(job, scripts, dict(given.python), given.rounds, warm)
    found = result(preset, given, racers)
    print(f"{printed(found)}\n{processor()}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


def result(preset: Preset, given: argparse.Namespace, racers: Sequence[Racer]) -> dict[str, Any]:
    """Everything that a race gave, as it is written and as the table reads it."""
    engines = {one.name: {**one.told, "rounds": one.rounds} for one in racers}
    return {**asdict(preset), "k": K, "threads": given.threads, "engines": engines}


def _arguments() -> argparse.Namespace:
    parser = arguments(__doc__ or "", PRESETS, "asked", ENGINES)
    parser.add_argument("--only", nargs="+", choices=ARCHITECTURES, default=ARCHITECTURES)
    return parser.parse_args()


if __name__ == "__main__":
    main()
