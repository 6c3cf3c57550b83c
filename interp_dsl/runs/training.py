"""The training curves of dictionaries: by name, then by measure, values over the tokens seen; and
which dictionaries they end in that say nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from interp_dsl.runs.schema import is_training_table

if TYPE_CHECKING:
    import polars as pl

    from interp_dsl.runs.folder import RunFolder

Point = tuple[float, float]
Curves = dict[str, list[Point]]

MEASURES = {
    "loss": "loss",
    "l0": "L0",
    "fvu": "FVU",
    "dead": "dead features",
}
"""What is drawn of a fit, and what it is called."""

REMEDIES = {
    "relu": "take a smaller l1",
    "gated": "take a smaller l1",
    "jumprelu": "take a smaller l0, or a larger target",
}
"""What keeps a penalty from switching features off; other architectures have none."""
OTHERWISE = "take a smaller lr or width, or more tokens"


def dictionary_name(step: str, label: str | None) -> str:
    """A dictionary as the language writes it: `sae`, or `sae[k=32]` among others."""
    return f"{step}[{label}]" if label else step


def step_of(dictionary: str) -> str:
    """The step that fits a dictionary, from its name."""
    return dictionary.partition("[")[0]


def add_point(curves: dict[str, Curves], step: str, row: Mapping[str, Any]) -> None:
    """A point of each measure, from a row of a fit's table or an event that tells of it. A run that
    goes on from a checkpoint draws the points behind it anew."""
    held = curves.setdefault(dictionary_name(step, row["dictionary"]), {})
    tokens = float(row["tokens"])
    for name in MEASURES:
        if row[name] is None:  # as JSON has what is not a number
            continue
        points = held.setdefault(name, [])
        while points and points[-1][0] >= tokens:
            points.pop()
        points.append((tokens, float(row[name])))


def training_curves(table: pl.DataFrame, step: str) -> dict[str, Curves]:
    """The curves of a training table (`is_training_table`)."""
    found: dict[str, Curves] = {}
    for row in table.iter_rows(named=True):
        add_point(found, step, row)
    return found


def collapsed(folder: RunFolder, step: str) -> list[str]:
    """What to say of a fit's dictionaries that have collapsed: at the end less than one feature is
    on for an activation, or more than half of them are dead."""
    table = folder.read_table(step)
    if not is_training_table(table):
        return []
    about = {held["label"]: held for held in folder.step_facts(step).get("dictionaries", ())}
    last = table.filter(table["step"] == table["step"].max()).rows(named=True)
    ends = [(row, about[label]) for row in last if (label := row["dictionary"] or "") in about]
    return [
        _collapse(dictionary_name(step, row["dictionary"]), row, held)
        for row, held in ends
        if row["l0"] < 1 or 2 * row["dead"] > held["options"]["width"]
    ]


def _collapse(name: str, row: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    options = about["options"]
    remedy = REMEDIES.get(about["architecture"], OTHERWISE)
    if options.get("norm") == "unit" and options["objective"] == "mse" and "onto" not in about:
        remedy += ", or let dead features begin anew: resample=[…]"
    return (
        f"{name} has collapsed: at the end {row['l0']:.1f} of its {options['width']:,} features "
        f"are on for an activation and {row['dead']:,} are dead; {remedy}"
    )
