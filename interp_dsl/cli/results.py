"""A run's results as text: the top components of each step, the claims, the folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interp_dsl.cli.output import Output
from interp_dsl.cli.samples import print_samples
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.samples import TEXTS, parent
from interp_dsl.runs.select import Selection, blocks, found_by, select
from interp_dsl.runs.text import layout, printable
from interp_dsl.runs.training import collapsed


def print_run(folder: RunFolder, selection: Selection, output: Output) -> None:
    """Every step's top components, where recordings are, every claim, the folder."""
    for step in folder.steps:
        if parent(folder, step) is None:  # texts stand below their step
            print_step(folder, step, selection, output)
            output.write("")
    for step in folder.step_keys:
        if not folder.has_table(step):
            output.write(f"{step} · recorded in {folder.tensors_path(step)}\n")
    print_claims(folder.claims, output)
    output.write(f"in {folder.path}")


def print_step(folder: RunFolder, step: str, selection: Selection, output: Output) -> None:
    """One step's rows, how many of how many, and how to see the rest."""
    table = folder.read_table(step)
    rows, what = select(table, step, selection)
    output.write(output.toned(f"{step} · {what}", "bold"))
    said = ""
    for block in blocks(rows, selection.top):
        if block.common != said:
            output.write(block.common)
            said = block.common
        heading, *lines = layout(block.columns)
        output.write(output.toned(heading, "dim"))
        for line in lines:
            output.write(line)
        if block.shown < block.n:
            output.write(
                f"the first {block.shown:,} of {block.n:,}; "
                f"the rest: interp show {folder.path} {step} --all"
            )
    for text in collapsed(folder, step):
        output.write(output.toned(printable(text), "bad"))
    if folder.has_table(f"{step}.{TEXTS}"):
        print_samples(folder, step, selection.top is None, output)


def print_claims(claims: list[dict[str, Any]], output: Output) -> None:
    """Every claim, whether it held, and the value found."""
    for claim in claims:
        output.write(claim_line(claim, output))


def claim_line(claim: Mapping[str, Any], output: Output) -> str:
    """✓ or ✗, the claim, the value with its interval, and for a failed one where it stands."""
    held = bool(claim["ok"])
    mark = output.toned("✓", "good") if held else output.toned("✗", "bad")
    parts = [f"{mark} {printable(str(claim['text']))}"]
    parts.append(printable(found_by(claim)))
    if not held and claim.get("file"):
        parts.append(f"{printable(str(claim['file']))}:{claim.get('line')}")
    return "  ".join(parts)
