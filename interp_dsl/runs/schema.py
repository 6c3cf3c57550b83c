"""What a score table holds: the one place that says which columns, in which order, of which type.

unit        the unit as the language writes it: `L9H6.q`, `L3.mlp`, `together(L0H1, L1H3)`
layer       its layer; null where it has none or several
head        its head; null where it has none or several
index       its neuron or feature; null where it has none or several
position    where it acts: `all`, a label, an index, `mixed`
metric      the metric's name
base        the metric on the `into` or `on` side without the step's own change
value       the metric with the change
effect      value - base; for `attribute` an estimate; null for `evaluate`
normalized  effect / (other - base); null without another run or a gap worth dividing by
low, high   bounds of the effect over examples (95 %, seeded bootstrap); for `evaluate` of the value
n           examples
skipped     true for a unit that cannot have an effect: it was not run, its effect is exactly 0

A table of estimates, which `attribute` leaves, has one column more:

verified    the effect of a real patch, beside the estimate; null where none was run

A sweep's parameters, `under` and `side` follow as further columns. The values of single examples
stand in the step's tensors: `base` and `value`, each [rows, n] in the order of the table's rows,
NaN where a row has fewer examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from interp_dsl.plan.places import HEAD_SITES, Target, Unit

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["text", "integer", "number", "truth"]

SCORE_COLUMNS: dict[str, Kind] = {
    "unit": "text",
    "layer": "integer",
    "head": "integer",
    "index": "integer",
    "position": "text",
    "metric": "text",
    "base": "number",
    "value": "number",
    "effect": "number",
    "normalized": "number",
    "low": "number",
    "high": "number",
    "n": "integer",
    "skipped": "truth",
}

FIT_COLUMNS: dict[str, Kind] = {
    "dictionary": "text",
    "step": "integer",
    "tokens": "integer",
    "loss": "number",
    "mse": "number",
    "penalty": "number",
    "l0": "number",
    "fvu": "number",
    "dead": "integer",
    "lr": "number",
}
"""What a fit leaves: points of its training curves, in the order in which they were reached;
`dictionary` is its label, null where it stands alone."""

LOADED_COLUMNS: dict[str, Kind] = {
    "site": "text",
    "format": "text",
    "named": "text",
    "architecture": "text",
    "d_in": "integer",
    "d_sae": "integer",
    "k": "integer",
}
"""What a loaded dictionary leaves: one row. `named` is the word of its own library for what it
encodes as here."""

EXAMPLE_COLUMNS: dict[str, Kind] = {
    "feature": "integer",
    "interval": "integer",
    "activation": "number",
    "share": "number",
    "prompt": "integer",
    "position": "integer",
    "before": "text",
    "token": "text",
    "after": "text",
}
"""What `inspect … by examples()` leaves: where features fire. `interval` counts from 1, at 0, up to
the feature's maximum, null for its largest activations; `share` is of that maximum."""

DENSITY_COLUMNS: dict[str, Kind] = {
    "feature": "integer",
    "density": "number",
    "mean": "number",
    "maximum": "number",
    "alignment": "number",
    "n": "integer",
}
"""What `inspect … by density()` leaves: on which share of the n tokens a feature fires, its mean
there and its maximum (null where it never does), the cosine of its encoder and decoder."""

LOGIT_COLUMNS: dict[str, Kind] = {
    "feature": "integer",
    "end": "text",
    "rank": "integer",
    "id": "integer",
    "token": "text",
    "logit": "number",
}
"""What `inspect … by logits()` leaves: `end` is top or bottom, `rank` counts from 1 at that end;
`logit` is what the feature's direction adds to the token's logit, less the mean over the
vocabulary."""

NEAREST_COLUMNS: dict[str, Kind] = {
    "feature": "integer",
    "other": "integer",
    "cosine": "number",
}
"""What `inspect … by nearest()` leaves: the features closest to each, the closest first."""

NORM_COLUMNS: dict[str, Kind] = {
    "feature": "integer",
    "place": "text",
    "norm": "number",
    "relative_norm": "number",
    "cosine": "number",
}
"""What `inspect … by norms()` leaves: of each place of a crosscoder how long the feature's decoder
is there, relative to the mean length of activations; its share of the sum over places; and its
cosine with that of the first place (null where it is of another width)."""

COFIRING_COLUMNS: dict[str, Kind] = {
    "feature": "integer",
    "other": "integer",
    "jaccard": "number",
    "pearson": "number",
    "cosine": "number",
    "lift": "number",
    "lift_low": "number",
    "sufficiency": "number",
    "necessity": "number",
    "support": "integer",
    "n": "integer",
}
"""What `inspect … by cofiring()` leaves: the features that fire with each, the most first.
`support`: of the n tokens those that both fire on; `sufficiency` is P(other | feature), `necessity`
P(feature | other), `lift_low` the lift's lower bound (95 %, for all pairs at once)."""

ABLATION_COLUMNS: dict[str, Kind] = {
    "feature": "integer",
    "prompts": "integer",
    "n": "integer",
    "activation": "number",
    "loss": "number",
    "low": "number",
    "high": "number",
    "kl": "number",
    "after": "number",
    "n_after": "integer",
}
"""What `inspect … by ablation()` leaves: on the n tokens of so many prompts that a feature fires on
and that predict a next one, its mean `activation` and the mean changes without it: of the `loss` of
the next token, with bounds (95 %, prompts drawn anew), the divergence `kl` from the model as it is,
and `after` them, of the loss on the `n_after` other tokens behind the first of them; null where
there are none."""

TEXT_COLUMNS: dict[str, Kind] = {
    "prompt": "integer",
    "under": "text",
    "before": "text",
    "text": "text",
    "n": "integer",
    "logprob": "number",
    "own_logprob": "number",
    "kl": "number",
}
"""The table `texts` that `generate` leaves behind its step's name: what was written behind each
prompt, n tokens, and the means over them of what the table of tokens holds."""

TOKEN_COLUMNS: dict[str, Kind] = {
    "prompt": "integer",
    "under": "text",
    "number": "integer",
    "id": "integer",
    "token": "text",
    "logprob": "number",
    "own_logprob": "number",
    "kl": "number",
}
"""The table `tokens`: each token written, its log probability in the plain model and in the model
that wrote it, and KL(plain ‖ own) of what the two expected there."""

ESTIMATE_COLUMNS: dict[str, Kind] = {"verified": "number"}

NODE_COLUMNS: dict[str, Kind] = {"order": "integer", "kept": "truth"}
"""What a search of nodes adds to a score table: the turn in which a node was last tried, null where
it was not, and whether it is in the circuit. `base` and `value` are the metric before and after it
was taken out of what was left; `effect` is their difference, or the score that it was ranked by."""


def dtypes(extra: Mapping[str, Kind] | None = None) -> dict[str, pl.DataType]:
    """The score columns and then `extra`, as polars types."""
    return polars_types({**SCORE_COLUMNS, **(extra or {})})


def polars_types(columns: Mapping[str, Kind]) -> dict[str, pl.DataType]:
    """Columns and their kinds, as polars types."""
    import polars as pl

    types: dict[Kind, pl.DataType] = {
        "text": pl.String(),
        "integer": pl.Int64(),
        "number": pl.Float64(),
        "truth": pl.Boolean(),
    }
    return {name: types[kind] for name, kind in columns.items()}


def score_table(
    rows: Iterable[Mapping[str, Any]], extra: Mapping[str, Kind] | None = None
) -> pl.DataFrame:
    """A score table of rows; a column that a row leaves out is null, one that the schema does not
    know is an error."""
    import polars as pl

    schema = dtypes(extra)
    held: Sequence[Mapping[str, Any]] = list(rows)
    unknown = {name for row in held for name in row} - schema.keys()
    if unknown:
        raise ValueError(f"no such score columns: {', '.join(sorted(unknown))}")
    return pl.DataFrame({name: [row.get(name) for row in held] for name in schema}, schema=schema)


def unit_columns(unit: Unit) -> dict[str, Any]:
    """The columns that say which unit a row is about."""
    return {
        "unit": unit.place,
        "layer": _shared([t.site.layer for t in unit.targets]),
        "head": _shared([t.index if _is_head(t) else None for t in unit.targets]),
        "index": _shared([None if _is_head(t) else t.index for t in unit.targets]),
        "position": unit.position,
    }


def _is_head(target: Target) -> bool:
    return target.site.kind in HEAD_SITES


def _shared(numbers: Sequence[int | None]) -> int | None:
    return numbers[0] if len(set(numbers)) == 1 else None


def plain_table(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, Kind]) -> pl.DataFrame:
    """A table of rows that have every column."""
    import polars as pl

    held, schema = list(rows), polars_types(columns)
    return pl.DataFrame({name: [row[name] for row in held] for name in schema}, schema=schema)


def is_score_table(table: pl.DataFrame) -> bool:
    """Whether a table has all the score columns (a circuit's edge table, say, has not)."""
    return SCORE_COLUMNS.keys() <= set(table.columns)


def is_training_table(table: pl.DataFrame) -> bool:
    """Whether a table holds the training curves of a fit."""
    return table.columns == [*FIT_COLUMNS]


def is_example_table(table: pl.DataFrame) -> bool:
    """Whether a table holds where features fire."""
    return table.columns == [*EXAMPLE_COLUMNS]


def is_density_table(table: pl.DataFrame) -> bool:
    """Whether a table holds how often features fire."""
    return table.columns == [*DENSITY_COLUMNS]


SPLIT_COLUMNS: dict[str, Kind] = {
    "dictionary": "text",
    "reference": "text",
    "feature": "integer",
    "part": "integer",
    "cosine": "number",
    "sufficiency": "number",
    "necessity": "number",
    "support": "integer",
}
"""The table `splits` that `evaluate … measure splitting()` leaves behind its step's name: of a
feature of the `reference` each part that fires, and on how many tokens both do; `sufficiency` is
P(part | feature), `necessity` P(feature | part)."""

PROBE_COLUMNS: dict[str, Kind] = {
    "dictionary": "text",
    "target": "text",
    "label": "text",
    "k": "integer",
    "rank": "integer",
    "feature": "integer",
    "difference": "number",
    "weight": "number",
    "accuracy": "number",
    "n": "integer",
}
"""The table `probes` that `evaluate … measure sparse_probing()` leaves: the features of each probe
that tells a `label` of the column `target` from the others, by how much their means differ; its
`accuracy` is on the n examples that it was tried on."""

FEATURE_TABLES: dict[str, dict[str, Kind]] = {
    "examples": EXAMPLE_COLUMNS,
    "density": DENSITY_COLUMNS,
    "logits": LOGIT_COLUMNS,
    "nearest": NEAREST_COLUMNS,
    "norms": NORM_COLUMNS,
    "cofiring": COFIRING_COLUMNS,
    "ablation": ABLATION_COLUMNS,
}
"""What each way to look at features leaves."""


def reading_of(table: pl.DataFrame) -> str | None:
    """By which way to look at features a table was made; None for any other table."""
    names = table.columns
    return next((how for how, columns in FEATURE_TABLES.items() if names == [*columns]), None)


def extra_columns(table: pl.DataFrame) -> list[str]:
    """The columns of a score table beyond the common ones that tell its rows apart: a sweep's
    parameters, points of curves and the like."""
    from interp_dsl.runs.curves import MEASURED

    known = SCORE_COLUMNS.keys() | ESTIMATE_COLUMNS.keys() | NODE_COLUMNS.keys() | MEASURED
    return [name for name in table.columns if name not in known]


def is_node_circuit(table: pl.DataFrame) -> bool:
    """Whether a score table is that of a search of nodes."""
    return NODE_COLUMNS.keys() <= set(table.columns)


def is_estimated(table: pl.DataFrame) -> bool:
    """Whether the effects of a score table are estimates."""
    return ESTIMATE_COLUMNS.keys() <= set(table.columns)
