"""What is known of one row of a table, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from interp_dsl.runs.text import decimals, interval, number, printable
from interp_dsl.tui.tones import Tones
from interp_dsl.tui.widgets.cells import FULL, fitted
from interp_dsl.tui.widgets.charts import histogram

NAMES = 12
SCALE = ("effect", "value", "low", "high", "a", "b", "difference")
PLAIN = ("base", "value", "rank_a", "rank_b")
MOST = 5
"""Examples that are named at each end."""


def described(
    row: Mapping[str, object], examples: Sequence[float] | str, tones: Tones, width: int
) -> tuple[str, Text]:
    """A title, and the row's numbers one below the other; `examples` are the values of single
    ones, or a word on why there are none."""
    title = str(
        row.get("unit") or " → ".join(str(row[k]) for k in ("source", "target") if k in row)
    )
    if row.get("position") not in (None, "all", "mixed"):
        title += f" at {row['position']}"
    text = facts_text(row, tones)
    if isinstance(examples, str):
        text.append(f"\n{examples}\n" if examples else "", tones.muted)
    elif examples:
        text.append_text(_spread(examples, tones, width))
    return title or "row", text


def facts_text(row: Mapping[str, object], tones: Tones) -> Text:
    """The numbers of a row one below the other."""
    text = Text()
    for name, value in _facts(row):
        text.append(fitted(name, NAMES) + " ", tones.muted)
        text.append(printable(value) + "\n")
    return text


def _facts(row: Mapping[str, object]) -> list[tuple[str, str]]:
    numbers = {k: v for k, v in row.items() if isinstance(v, float) and not k.startswith("#")}
    scale = [v for k, v in numbers.items() if k in SCALE]
    places = max(0, decimals(scale)) if scale else 3
    facts: list[tuple[str, str]] = []
    for name, value in row.items():
        if name.startswith("#") or name in ("unit", "low", "high", "skipped") or value is None:
            continue
        if isinstance(value, float):
            digits = places if name in (*SCALE, "base") else max(0, decimals([value]))
            facts.append((name, number(value, digits, name not in PLAIN)))
            if name in ("effect", "difference") and isinstance(row.get("low"), float):
                low, high = float(str(row["low"])), float(str(row["high"]))
                facts.append(("95% interval", interval(low, high, places)))
        elif isinstance(value, bool):
            facts.append((name, "yes" if value else "no"))
        else:
            facts.append((name, str(value)))
    if row.get("skipped"):
        facts.append(("not run", "it cannot have an effect"))
    return facts


def _spread(values: Sequence[float], tones: Tones, width: int) -> Text:
    """A histogram and the examples at both ends."""
    low, high = min(values), max(values)
    places = decimals([low, high])
    text = Text()
    text.append(f"\n{len(values):,} examples\n", tones.strong)
    for line in histogram(values, min(width, 40), 4):
        text.append(line + "\n", tones.fill)
    ends = number(low, places), number(high, places)
    text.append(ends[0] + ends[1].rjust(min(width, 40) - len(ends[0])) + "\n\n", tones.muted)
    ranked = sorted(enumerate(values), key=lambda one: one[1])
    for title, some in (("lowest", ranked[:MOST]), ("highest", ranked[::-1][:MOST])):
        text.append(f"{title}\n", tones.muted)
        for index, value in some:
            text.append(f"  example {index:>5}  ", tones.muted)
            text.append(number(value, places) + " ", tones.plus if value > 0 else tones.minus)
            size = round(abs(value) / (max(abs(low), abs(high)) or 1) * 10)
            text.append(FULL * size + "\n", tones.plus if value > 0 else tones.minus)
    return text
