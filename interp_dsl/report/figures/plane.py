"""A plane through three activations: red, green and blue as far as the output is alike to those of
a, b and c, which are marked."""

from __future__ import annotations

from collections.abc import Iterator

from interp_dsl.report.figures import style
from interp_dsl.report.figures.style import element, words
from interp_dsl.runs.planes import CORNERS, Picture

SIDE, LEFT, TOP, BELOW = 320.0, 62.0, 36.0, 66.0
COLOURS = ("#ff0000", "#00ff00", "#0000ff")


def plane(picture: Picture, title: str) -> str:
    """The picture as SVG."""
    parts = [words(12, 20, title, 13, font_weight="600"), *_pixels(picture), *_corners(picture)]
    parts += [*_axes(picture), *_legend()]
    return style.picture(LEFT + SIDE + 120, TOP + SIDE + BELOW, title, parts)


def _at(values: tuple[float, ...], value: float) -> float:
    """Where a value lies, as a share of the side: points stand in the middle of their square."""
    step = (values[-1] - values[0]) / (len(values) - 1)
    return (value - values[0] + step / 2) / (values[-1] - values[0] + step)


def _pixels(picture: Picture) -> Iterator[str]:
    rows, columns = len(picture.across), len(picture.along)
    high, wide = SIDE / rows, SIDE / columns
    for i, row in enumerate(picture.pixels):
        for j, pixel in enumerate(row):
            alike = ", ".join(f"{n} {x:.2f}" for n, x in zip(CORNERS, pixel.alike, strict=True))
            there = f"along {picture.along[j]:.2f}, across {picture.across[i]:.2f}"
            said = f"{there}: alike to {alike}; next {pixel.token!r}"
            yield element(
                "rect",
                style.tooltip(said),
                class_="pixel",
                x=LEFT + j * wide,
                y=TOP + SIDE - (i + 1) * high,
                width=wide + 0.3,
                height=high + 0.3,
                fill="#{:02x}{:02x}{:02x}".format(*pixel.colour),
            )


def _corners(picture: Picture) -> Iterator[str]:
    """The three activations; c at the point of its height that is likest to it."""
    row = min(range(len(picture.across)), key=lambda i: abs(picture.across[i] - 1))
    likest = max(range(len(picture.along)), key=lambda j: picture.pixels[row][j].alike[2])
    places = ((0.0, 0.0), (1.0, 0.0), (picture.along[likest], 1.0))
    for name, (along, across) in zip(CORNERS, places, strict=True):
        x = LEFT + SIDE * _at(picture.along, along)
        y = TOP + SIDE * (1 - _at(picture.across, across))
        yield element("circle", cx=x, cy=y, r=9, fill=style.PAPER, stroke=style.INK)
        yield words(x, y + 4, name, 11, "#000000", "middle", font_weight="600")


def _axes(picture: Picture) -> Iterator[str]:
    for value in (0.0, 0.5, 1.0):
        x = LEFT + SIDE * _at(picture.along, value)
        y = TOP + SIDE * (1 - _at(picture.across, value))
        yield words(x, TOP + SIDE + 16, style.tick(value), 10.5, style.INK, "middle")
        yield words(LEFT - 8, y + 4, style.tick(value), 10.5, style.INK, "end")
    yield words(LEFT + SIDE / 2, TOP + SIDE + 34, "along, a to b", 11, style.FAINT, "middle")
    x, y = 18.0, TOP + SIDE / 2
    turn = f"rotate(-90 {x:.1f} {y:.1f})"
    yield words(x, y, "across, to c", 11, style.FAINT, "middle", transform=turn)


def _legend() -> Iterator[str]:
    for i, (name, colour) in enumerate(zip(CORNERS, COLOURS, strict=True)):
        y = TOP + 14 + 20 * i
        yield element("rect", x=LEFT + SIDE + 14, y=y - 9, width=10, height=10, fill=colour)
        yield words(LEFT + SIDE + 30, y, f"alike to {name}", 11, style.INK)
