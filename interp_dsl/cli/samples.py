"""The texts of `generate` in a terminal: behind each prompt one line a text."""

from __future__ import annotations

from interp_dsl.cli.output import Output
from interp_dsl.language.cells import cells
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.samples import CLOSE, OPEN, Samples
from interp_dsl.runs.text import count, printable

MOST = 3
"""Prompts that are printed where not all are asked for."""


def print_samples(folder: RunFolder, step: str, is_all: bool, output: Output) -> None:
    """What stands behind the prompts, what the plain text has not between « and »."""
    held = Samples(folder, step)
    shown = len(held) if is_all else min(MOST, len(held))
    margin = max(map(cells, held.names))
    for number in range(shown):
        title = f"prompt {number + 1} of {len(held)}"
        output.write(f"{output.toned(title, 'dim')}  {printable(held.before(number))}")
        for sample in held.samples(number):
            name = sample.under + " " * (margin - cells(sample.under))
            output.write(f"  {output.toned(name, 'bold')}  {printable(sample.marked)}")
    output.write(output.toned(f"{OPEN}…{CLOSE}: not in the plain text", "dim"))
    if shown < len(held):
        output.write(
            f"the first {count(shown, 'prompt')} of {len(held):,}; "
            f"the rest: interp show {folder.path} {step} --all"
        )
