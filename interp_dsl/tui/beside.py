"""What is beside a feature on the screen: the tokens that it writes, what is lost without it, the
features that are close to it or fire with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from interp_dsl.runs.features import Ends, ends, neighbours
from interp_dsl.runs.text import count, decimals, number, printable
from interp_dsl.tui.featured import TokensColumn
from interp_dsl.tui.tones import Tones
from interp_dsl.tui.widgets.cells import fitted
from interp_dsl.tui.widgets.columns import Column, NumberColumn, TextColumn
from interp_dsl.tui.widgets.frame import FrameModel
from interp_dsl.tui.widgets.tokens import visible

if TYPE_CHECKING:
    import polars as pl

WORD = 18
"""Cells for a token that a feature writes."""


def meaning_text(
    feature: int,
    tables: Mapping[str, pl.DataFrame],
    told: Sequence[str],
    tones: Tones,
    lines: int,
) -> Text:
    """What tables say of a feature beyond where it fires, in so many lines, what is `told`
    elsewhere among it; empty where they say nothing."""
    text = Text(no_wrap=True, overflow="ellipsis")
    ablation = tables.get("ablation")
    if ablation is not None and feature in ablation["feature"]:
        row = ablation.row(int(ablation["feature"].index_of(feature) or 0), named=True)
        text.append_text(ablation_text(row, tones))
        lines -= 1
    for line in told[: max(1, lines // 3)]:
        text.append(f"{printable(line)}\n")
        lines -= 1
    beside = neighbours(tables.get("nearest"), tables.get("cofiring"), feature)
    logits = tables.get("logits")
    found: Ends = ([], []) if logits is None else ends(logits, feature)
    if found[0]:
        below = min(len(beside) + 1, lines // 2) if len(beside) else 0
        written = ends_text(found, tones, max(2, lines - below))
        text.append_text(written)
        lines -= written.plain.count("\n")
    if len(beside):
        text.append_text(neighbours_text(beside, tones, lines))
    return text


def ends_text(found: Ends, tones: Tones, lines: int) -> Text:
    """The tokens that a feature promotes beside those that it suppresses, the strongest first."""
    text = Text(no_wrap=True)
    held = list(zip(*found, strict=True))[: max(1, lines - 1)]
    places = decimals([value for pair in held for _, value in pair])
    text.append(f"{'promotes':<{WORD + 10}}suppresses\n", tones.muted)
    for pair in held:
        for (token, value), tone in zip(pair, (tones.plus, tones.minus), strict=True):
            text.append(number(value, places).rjust(8), tone)
            text.append(" " + fitted(visible(token), WORD) + " ")
        text.append("\n")
    return text


def ablation_text(row: dict[str, object], tones: Tones) -> Text:
    """What the model loses without a feature, on one line."""
    text = Text(no_wrap=True, overflow="ellipsis")
    n, loss, low, high, kl, after = (row[k] for k in ("n", "loss", "low", "high", "kl", "after"))
    if not isinstance(loss, float) or not isinstance(n, int):
        return text.append("without it nothing is lost: it fires on no token\n", tones.muted)
    text.append("without it ", tones.muted).append(f"loss {number(loss, 4)}", tones.strong)
    if isinstance(low, float) and isinstance(high, float):
        text.append(f" [{number(low, 4)}, {number(high, 4)}]", tones.muted)
    if isinstance(kl, float):
        text.append(f" · kl {number(kl, 4, signed=False)}")
    text.append(f" · {count(n, 'token')}", tones.muted)
    if isinstance(after, float):
        text.append(f" · {number(after, 4)} behind", tones.muted)
    return text.append("\n")


def neighbours_text(rows: pl.DataFrame, tones: Tones, lines: int) -> Text:
    """The first of a feature's neighbours, each on a line."""
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("beside it (⏎ goes to one)\n", tones.muted)
    for row in rows.head(max(1, lines - 1)).iter_rows(named=True):
        text.append(f"{row['other']:>8}", tones.strong)
        for name in ("cosine", "jaccard", "pearson"):
            if row[name] is not None:
                text.append(f"  {name} ", tones.muted).append(number(row[name], 2))
        if row["lift"] is not None:
            text.append("  lift ", tones.muted).append(f"{row['lift']:.1f}x")
        text.append("\n")
    return text


def neighbour_table(rows: pl.DataFrame, features: pl.DataFrame) -> FrameModel:
    """The rows of `runs.features.neighbours`, with what each fires on or promotes as the rows of
    `feature_rows` have it; columns that nothing was recorded for are left out."""
    import polars as pl

    told = features.select(pl.col("feature").alias("other"), "tokens", "promotes")
    held = rows.join(told, on="other", how="left", maintain_order="left")
    made: list[Column] = [
        TextColumn.of(held, "other"),
        *(NumberColumn.of(held, name, places=2) for name in ("cosine", "jaccard", "pearson")),
        NumberColumn.of(held, "lift", signed=False, places=1),
        TokensColumn("fires on", "tokens"),
        TokensColumn("promotes", "promotes"),
    ]
    return FrameModel(held, [c for c in made if len(held) and not held[c.by].is_null().all()])
