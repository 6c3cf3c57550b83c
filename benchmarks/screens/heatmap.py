"""How long a heat map takes from new numbers to a screen that shows them.

    python benchmarks/screens/heatmap.py [--rounds 20] [--out [FILE]]

A map alone on a screen of 140 × 50. `refresh`: from `show` to the bytes that a terminal would be
sent; `cpu`: the seconds of processor in it, which other work on the machine changes less; `lines`:
of that, the widget's own `render_line`, all lines in sight. Medians, in milliseconds."""

from __future__ import annotations

import asyncio
import statistics
import time

import numpy as np
from textual._compositor import CompositorUpdate
from textual.app import App, ComposeResult
from told import Told, arguments

from interp_dsl.runs.grids import Grid, matrix
from interp_dsl.tui.widgets.heatmap import HeatMap

CLAIMED = (48, 64)
SHAPES = ((12, 12), CLAIMED, (200, 128))


class OneMap(App[None]):
    def compose(self) -> ComposeResult:
        yield HeatMap()


def grid(shape: tuple[int, int], rng: np.random.Generator) -> Grid:
    rows, columns = shape
    names = [f"L{i}" for i in range(rows)], [str(i) for i in range(columns)]
    return matrix("made up", *names, rng.normal(size=shape) ** 3)


async def measure(shape: tuple[int, int], rounds: int) -> list[float]:
    rng, app = np.random.default_rng(0), OneMap()
    whole, busy, alone = list[float](), list[float](), list[float]()
    async with app.run_test(size=(140, 50)) as pilot:
        widget = app.query_one(HeatMap)
        for _ in range(rounds + 1):
            new = grid(shape, rng)
            start, before = time.perf_counter(), time.process_time()
            widget.show(new)
            update = app.screen._compositor.render_update(full=True)
            assert isinstance(update, CompositorUpdate)
            assert len(update.render_segments(app.console)) > widget.size.area
            whole.append(time.perf_counter() - start)
            busy.append(time.process_time() - before)
            await pilot.pause()
            before = time.process_time()
            for y in range(widget.size.height):
                widget.render_line(y)
            alone.append(time.process_time() - before)
    return [statistics.median(times[1:]) * 1e3 for times in (whole, busy, alone)]


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    told = Told("textual", "numpy")
    told.say("rows × columns   refresh      cpu    lines")
    for shape in SHAPES:
        times = asyncio.run(measure(shape, args.rounds))
        told.say(f"{shape[0]:>5} × {shape[1]:<7}" + "".join(f"{t:9.1f}" for t in times))
        if shape == CLAIMED:
            claimed = times
    told.reach("48 × 64 on the clock", 50, claimed[0])
    told.reach("48 × 64, processor", 50, claimed[1])
    told.keep(args.out)


if __name__ == "__main__":
    main()
