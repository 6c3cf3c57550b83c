"""Dictionaries fitted by every engine to the same activations, judged by one judge.

python benchmarks/dictionaries/quality.py --work FOLDER

A fit that is in the folder already is not made again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from case import ARCHITECTURES, BY_COUNT, COEFFICIENTS, ENGINES, Case, Job, having
from judge import judged
from quality_table import printed
from racing import Racer, arguments, processor, racer


@dataclass(frozen=True)
class Preset:
    """`contexts` of 127 tokens hold all activations of a fit, each learned from once."""

    width: int
    batch: int
    steps: int
    contexts: int


PRESETS = {"tiny": Preset(512, 512, 40, 200), "million": Preset(1024, 1024, 900, 7600)}
K = 32


def main() -> None:
    parser = arguments(__doc__ or "", PRESETS, "million", ENGINES)
    parser.add_argument("--only", nargs="+", choices=ARCHITECTURES, default=ARCHITECTURES)
    parser.add_argument("--seeds", type=int, default=1, help="of topk and batch_topk (1)")
    parser.add_argument("--lr", type=float, nargs="*", default=[], help="rates besides its own")
    parser.add_argument("--steps", type=int, help="fewer than the preset's")
    parser.add_argument("--processes", type=int, default=2, help="engines at work at once")
    given = parser.parse_args()
    preset = PRESETS[given.preset]
    from material import make

    folder = (given.work / f"quality-{given.preset}").resolve()
    make(folder, preset.contexts)
    job, pythons = Job(str(folder), given.threads), dict(given.python)
    size = preset.width, preset.batch, given.steps or preset.steps

    def fits(name: str) -> tuple[Racer, dict[str, Case]]:
        wanted = dict(_cases(name, size, given.only, given.seeds, (None, *given.lr)))
        return _fitted(name, pythons.get(name, sys.executable), job, wanted), wanted

    with ThreadPoolExecutor(given.processes) as pool:
        fitted = list(pool.map(fits, given.engines))
    scores = judged(folder, [folder / path for _, cases in fitted for path in cases])
    rows = [_row(one, *item, scores) for one, cases in fitted for item in enumerate(cases.items())]
    found = {
        **asdict(preset),
        "steps": size[2],
        "threads": given.threads,
        "engines": {one.name: one.told for one, _ in fitted},
        "rows": [row for row in rows if row],
    }
    print(f"{printed(found)}\n{processor()}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


def _cases(
    engine: str,
    size: tuple[int, int, int],
    only: list[str],
    seeds: int,
    rates: tuple[float | None, ...],
) -> Iterator[tuple[str, Case]]:
    """An engine's fits, by the folder of each."""
    for name in only:
        if engine not in having(name):
            continue
        by_count = name in BY_COUNT
        values = (K,) if by_count else COEFFICIENTS[name][engine]
        for seed in range(seeds if by_count else 1):
            for rate in rates if not seed else (None,):
                for value in values:
                    case = Case(name, *size, value, seed, rate)
                    yield f"fits-{size[2]}/{engine}/{case.label}", case


def _fitted(name: str, python: str, job: Job, cases: Mapping[str, Case]) -> Racer:
    """An engine, behind all of its fits."""
    one = racer(name, Path(__file__).parent / f"engine_{name}.py", python, job)
    try:
        one.begin()
        for path, case in cases.items():
            _fit(one, case, Path(job.folder) / path)
            print(f"{name}: {case.label}", file=sys.stderr, flush=True)
    finally:
        one.end()
    return one


def _fit(one: Racer, case: Case, into: Path) -> None:
    """A fit, or what an earlier race with the same folder has told of it."""
    told = into / "told.json"
    if told.is_file():
        one.rounds.append(json.loads(told.read_text()))
        return
    one.round(fit=asdict(case), into=str(into))
    if one.is_in:
        told.write_text(json.dumps(one.rounds[-1]))


def _row(
    one: Racer, number: int, item: tuple[str, Case], scores: Mapping[str, dict[str, float]]
) -> dict[str, Any] | None:
    """What a fit gave; None where the engine did not come to it."""
    if number >= len(one.rounds):
        return None
    path, case = item
    found = scores[Path(path).parent.name + "/" + Path(path).name]
    return {"engine": one.name, **asdict(case), **one.rounds[number], **found}


if __name__ == "__main__":
    main()
