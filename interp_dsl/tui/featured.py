"""The features of a dictionary as the rows of a table, and what is said of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.style import Style
from rich.text import Text

from interp_dsl.runs.contexts import in_context
from interp_dsl.runs.features import Context, Densities
from interp_dsl.runs.text import MISSING, count, decimals, number, share
from interp_dsl.tui.tones import Tones
from interp_dsl.tui.widgets.cells import FULL, Cell, fitted
from interp_dsl.tui.widgets.charts import columns
from interp_dsl.tui.widgets.columns import Column, NumberColumn, TextColumn
from interp_dsl.tui.widgets.frame import FrameModel
from interp_dsl.tui.widgets.tokens import visible

if TYPE_CHECKING:
    import polars as pl

NAMED = 18
"""Cells for the tokens that a feature fires on."""
BAR = 5


@dataclass
class ShareColumn:
    """Shares in per cent, each with figures of its own: they span powers of ten."""

    title: str
    by: str
    width: int = 9
    right: bool = True
    signed: bool = False

    def cells(self, rows: pl.DataFrame, tones: Tones) -> list[Cell]:
        return [(share(v).rjust(self.width), Style()) for v in rows[self.by]]


@dataclass
class TokensColumn:
    """Tokens with their leading spaces as dots, one after another."""

    title: str
    by: str
    width: int = NAMED
    right: bool = False
    signed: bool = False

    def cells(self, rows: pl.DataFrame, tones: Tones) -> list[Cell]:
        texts = ["  ".join(map(visible, v)) if v is not None else MISSING for v in rows[self.by]]
        return [(fitted(text, self.width), Style()) for text in texts]


def feature_table(rows: pl.DataFrame) -> FrameModel:
    """The rows of `runs.features.feature_rows`, those that fire most strongly first; columns that
    nothing was recorded for are left out."""
    made: list[Column] = [
        TextColumn.of(rows, "feature"),
        ShareColumn("density", "density"),
        NumberColumn.of(rows, "maximum", signed=False),
        TokensColumn("fires on", "tokens"),
        NumberColumn.of(rows, "mean", signed=False),
        NumberColumn.of(rows, "alignment", signed=False, places=2),
        NumberColumn.of(rows, "loss", "loss without"),
        TokensColumn("promotes", "promotes"),
    ]
    held = [c for c in made if not len(rows) or not rows[c.by].is_null().all()]
    return FrameModel(rows, held, "maximum")


def contexts_text(
    found: Sequence[Context], intervals: int, tones: Tones, width: int, height: int
) -> Text:
    """The largest activations of a feature and those of its lower intervals, the tokens that it
    fires on one under the other; a blank line between where there is room."""
    places = decimals([context.activation for context in found])
    largest = [context for context in found if context.interval is None]
    lower = [context for context in found if context.interval is not None]
    text = Text(no_wrap=True)
    text.append("largest\n", tones.muted)
    for context in largest:
        _context(text, context, places, tones, width)
    if lower:
        is_roomy = len(found) + 3 <= height
        said = f"one of each of {intervals} equal parts, from its maximum down to 0"
        text.append("\n" if is_roomy else "").append(f"{said}\n", tones.muted)
    for context in lower:
        _context(text, context, places, tones, width)
    return text


def _context(text: Text, context: Context, places: int, tones: Tones, width: int) -> None:
    value = number(context.activation, places, signed=False).rjust(6)
    bar = (FULL * round(context.share * BAR)).ljust(BAR)
    before, token, after = in_context(
        context.before, context.token, context.after, max(12, width - len(value) - BAR - 3)
    )
    text.append(value, tones.strong).append(f" {bar}  ", tones.fill)
    text.append(before).append(token, tones.plus + Style(bold=True, reverse=True))
    text.append(after + "\n")


def facts_text(row: dict[str, object], n: int | None, tones: Tones) -> Text:
    """What is known of a feature, on one line."""
    text = Text(no_wrap=True, overflow="ellipsis")
    density = row.get("density")
    if isinstance(density, float):
        of = f" of {count(n, 'token')}" if n else " of the tokens"
        text.append(f"{share(density)}{of}", tones.strong)
    for name, value in row.items():
        if name in ("maximum", "mean", "alignment") and isinstance(value, float):
            text.append(f" · {name} " if text else f"{name} ", tones.muted)
            text.append(number(value, 2 if name == "alignment" else 3, signed=False))
    return text


def densities_text(found: Densities, here: float | None, tones: Tones, height: int) -> Text:
    """The histogram over the logarithm of the density, the bin of a feature marked below."""
    lines = max(1, height - 3)
    most = max(found.counts, default=0)
    margin = len(f"{most:,}")
    text = Text(no_wrap=True)
    levels = [-(-n * 8 * lines // most) if most else 0 for n in found.counts]
    for i, line in enumerate(columns(levels, lines)):
        label = f"{most:,}" if not i else "0" if i == lines - 1 else ""
        text.append(label.rjust(margin) + " ", tones.muted)
        text.append("┤" if label else "│", tones.faint).append(line + "\n", tones.fill)
    at = found.bin_of(here)
    text.append(" " * (margin + 2))
    text.append((" " * at + "▲" if at is not None else "") + "\n", tones.accent)
    text.append(" " * (margin + 2) + _powers(found) + "\n", tones.muted)
    alive = sum(found.counts)
    said = f"{count(alive, 'feature')} by density (log scale)"
    text.append(f"{said}, {found.never:,} never fire" if found.never else said, tones.muted)
    return text


def _powers(found: Densities) -> str:
    """The powers of ten below the bins that begin with them, the last below the end."""
    line = ""
    for power in range(round(found.low), round(found.high) + 1):
        name = f"{100 * 10.0**power:g}%"
        at = round((power - found.low) / (found.high - found.low) * len(found.counts))
        at = min(at, len(found.counts) - len(name))
        if not line or at > len(line):
            line = line.ljust(at) + name
    return line


def lacking_text(what: str, remedy: str, tones: Tones) -> Text:
    """What was not recorded, and the step that would."""
    text = Text().append(f"{what} recorded; this step would:\n\n", tones.muted)
    return text.append(remedy, tones.strong)
