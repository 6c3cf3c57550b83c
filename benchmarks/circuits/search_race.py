"""ACDC, raced: every engine in a process of its own, in turn, round after round.

python benchmarks/circuits/search_race.py --work FOLDER --preset tiny2
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from case import PRESETS, Job
from racing import Racer, arguments, processor, raced
from search_table import printed

ENGINES = ("auto_circuit", "acdc", "interp")
PEERS = ("auto_circuit",)


def warm(one: Racer) -> None:
    """By a whole search; a peer's can take minutes, and warms itself up."""
    if one.name not in PEERS:
        one.warm()


def result(job: Job, racers: Iterable[Racer]) -> dict[str, Any]:
    """Everything that a race gave, as it is written and as the table reads it."""
    engines = {one.name: {**one.told, "rounds": one.rounds} for one in racers}
    return {"case": vars(job.case), "threads": job.threads, "engines": engines}


def main() -> None:
    given = _arguments()
    from random_model import make

    job = make(PRESETS[given.preset], given.work, given.threads)
    here = Path(__file__).parent
    engines = [e for e in given.engines if not (job.case.ours and e in PEERS)]
    scripts = {name: here / f"search_{name}.py" for name in engines}
    peer_rounds = given.rounds if given.peer_rounds is None else given.peer_rounds

    def runs(name: str, number: int) -> bool:
        return name not in PEERS or number < peer_rounds

    found = result(job, raced(job, scripts, dict(given.python), given.rounds, warm, runs))
    print(f"{printed(found)}\n{processor()}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = arguments(__doc__ or "", PRESETS, "tiny2", ENGINES)
    parser.add_argument("--peer-rounds", type=int, help="as many of them with peers (all)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
