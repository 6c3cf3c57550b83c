"""One judge for all dictionaries: they are loaded from the files that their engines have written,
and `evaluate` measures them on text that none has seen, with their reconstructions spliced into the
model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from material import CONTEXTS, DATA

from interp_dsl import face

MEASURES = ("l0", "fvu", "ce_loss_score", "dead")
HELD = 200
"""Contexts that are judged on: the last."""


def judged(folder: Path, fits: Sequence[Path]) -> dict[str, dict[str, float]]:
    """Measures of the dictionary in each of the folders, by the last two parts of its path."""

    lines = [DATA, f"let held = text where index >= {CONTEXTS - HELD}\n"]
    for i, fit in enumerate(map(_files, fits)):
        lines.append(f'let  d{i} = load("{fit}", site=neurons layers 0)\n')
        lines.append(f"step s{i} = evaluate d{i} on held measure {_measures()}\n")
    with TemporaryDirectory(dir=folder) as work:
        program = Path(work) / "judge.interp"
        program.write_text("".join(lines))
        run = face.run(program, out=Path(work) / "run", allow=[folder])
        return {"/".join(fit.parts[-2:]): _row(run, f"s{i}") for i, fit in enumerate(fits)}


def _measures() -> str:
    return ", ".join(f"{name}()" for name in MEASURES)


def _files(fit: Path) -> Path:
    """Where an engine's files are: dictionary_learning makes a folder for each trainer."""
    inner = fit / "trainer_0"
    return inner if inner.is_dir() else fit


def _row(run: face.Run, step: str) -> dict[str, float]:
    rows = run.scores(step).to_dicts()
    return {row["metric"]: row["value"] for row in rows if row["metric"] in MEASURES}
