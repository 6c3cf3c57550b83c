"""Dictionaries of a run, and dashboards of their features, in the folders of other libraries."""

from __future__ import annotations

from pathlib import Path

from interp_dsl.cli.output import Output
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.runs.files import replacing
from interp_dsl.runs.folder import RunFolder

DICTIONARIES = ("saelens", "dictionary_learning", "sparsify")
DASHBOARDS = ("neuronpedia",)
"""Formats of what a run has recorded of a dictionary's features."""


def write_dictionaries(
    folder: RunFolder, step: str | None, form: str, to: Path | None, output: Output
) -> None:
    """Write a step's dictionary to the folder `to`, several to folders in it that have their
    labels for names. Raises InterpError E712 without a step or folder, E742 where a dictionary
    cannot be written so, E743 where nothing is recorded of its features."""
    if step is None or to is None:
        raise InterpError(
            Diagnostic(
                "E712",
                "a dictionary is written to a folder of its own",
                help=f"write interp export RUN STEP --format {form} -o FOLDER",
            )
        )
    for label, files in _files(folder, step, form).items():
        own = to / label.replace(", ", "_") if label else to
        for name, data in files.items():
            with replacing(own / name) as temporary:
                temporary.write_bytes(data)
        output.message(f"wrote {own}")


def _files(folder: RunFolder, step: str, form: str) -> dict[str, dict[str, bytes]]:
    """The files of each of a step's dictionaries, by its label."""
    if form in DICTIONARIES:
        from interp_dsl.engine.exported import exported

        return exported(folder, step, form)
    from interp_dsl.runs.neuronpedia import dashboards

    found = dashboards(folder, step)
    if not found:
        raise InterpError(
            Diagnostic(
                "E743",
                f"{folder.path.name} has no examples of features of {step}",
                help=f"record them: step seen = inspect features({step}) by examples() on DATA",
            )
        )
    return found
