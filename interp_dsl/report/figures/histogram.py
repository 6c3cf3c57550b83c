"""How many features have which density, over powers of ten."""

from __future__ import annotations

from collections.abc import Iterator

from interp_dsl.report.figures import style
from interp_dsl.report.figures.style import element, words
from interp_dsl.runs.features import Densities
from interp_dsl.runs.text import count, share

LONG, TALL, LEFT, TOP = 480, 180, 60.0, 42.0


def histogram(found: Densities, title: str) -> str:
    """The histogram as SVG; features that never fire, which have no logarithm, are counted in
    words."""
    most = max(found.counts, default=0) or 1
    bottom, right = TOP + TALL, LEFT + LONG
    parts = [words(12, 20, title, 13, font_weight="600")]
    parts += [*_axes(found, most), *_bars(found, most)]
    said = "share of the tokens that a feature fires on, log scale"
    if found.never:
        said += f"; {count(found.never, 'feature')} never"
    parts.append(words((LEFT + right) / 2, bottom + 40, said, 11, style.FAINT, "middle"))
    y = (TOP + bottom) / 2
    turn = f"rotate(-90 18 {y:.1f})"
    parts.append(words(18, y, "features", 11, style.FAINT, "middle", transform=turn))
    return style.picture(max(right + 24, len(title) * 7.4 + 24), bottom + 52, title, parts)


def _axes(found: Densities, most: int) -> Iterator[str]:
    bottom, right = TOP + TALL, LEFT + LONG
    for value in style.ticks(0, most):
        if value != int(value):
            continue
        y = bottom - value / most * TALL
        place = {"x1": LEFT, "x2": right, "y1": y, "y2": y}
        kind, ink = ("zero", style.FAINT) if value == 0 else ("rule", style.RULE)
        yield element("line", class_=kind, stroke=ink, **place)
        yield words(LEFT - 8, y + 3.5, style.tick(value), 10.5, style.INK, "end")
    for power in range(round(found.low), round(found.high) + 1):
        x = LEFT + (power - found.low) / (found.high - found.low) * LONG
        place = {"x1": x, "x2": x, "y1": bottom, "y2": bottom + 4}
        yield element("line", class_="axis", stroke=style.FAINT, **place)
        yield words(x, bottom + 18, f"{100 * 10.0**power:g}%", 10.5, style.INK, "middle")


def _bars(found: Densities, most: int) -> Iterator[str]:
    wide = LONG / len(found.counts)
    for i, n in enumerate(found.counts):
        if not n:
            continue
        ends = (share(10 ** found.edge(at)) for at in (i, i + 1))
        said = style.tooltip(f"{' to '.join(ends)}: {count(n, 'feature')}")
        tall = n / most * TALL
        place = {"x": LEFT + i * wide + 0.5, "y": TOP + TALL - tall}
        size = {"width": wide - 1, "height": tall}
        yield element("rect", said, class_="positive", fill=style.POSITIVE, **place, **size)
