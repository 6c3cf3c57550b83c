"""The screens under a pilot: opened, driven by keys, read as a grid of characters."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from textual.pilot import Pilot
from textual.widgets import Static

from interp_dsl.tui.app import InterpApp
from interp_dsl.tui.screens.tabled import TabledScreen
from interp_dsl.tui.widgets.panes import Pane
from tests.tui.made import START

SIZES = {"80x24": (80, 24), "140x50": (140, 50)}
T = TypeVar("T")
Driven = Callable[[InterpApp, Pilot[int]], Awaitable[T]]


def driven(
    target: Path | None,
    what: Driven[T],
    size: tuple[int, int] = (80, 24),
    runs: Path = Path("runs"),
    command: tuple[str, ...] = (),
) -> T:
    """What came of driving the screens of a target; the clock stands a minute after START."""

    async def main() -> T:
        app = InterpApp(target, runs, command)
        app.clock = lambda: START + 60
        async with app.run_test(size=size, notifications=True) as pilot:
            await settled(app, pilot)
            return await what(app, pilot)

    return asyncio.run(main())


async def settled(app: InterpApp, pilot: Pilot[int], seconds: float = 10.0) -> None:
    """Wait until the log has been read, threads have ended, and nothing is drawn any more."""
    for _ in range(round(seconds / 0.05)):
        await pilot.pause(0.05)
        quiet = all(worker.is_finished for worker in app.workers)
        pending = ("_redraw", "_renewal")
        drawn = all(getattr(app.screen, name, None) is None for name in pending)
        if quiet and drawn and (app.folder is None or app.has_read):
            break
    else:
        raise AssertionError("the screens did not come to rest")
    await pilot.pause(0.1)


async def until(pilot: Pilot[int], holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something to become true."""
    for _ in range(round(seconds / 0.05)):
        await pilot.pause(0.05)
        if holds():
            return
    raise AssertionError("it did not become true")


def grid(app: InterpApp) -> str:
    """The screen's characters, line by line."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in line).rstrip() for line in lines)


def units(app: InterpApp) -> list[str]:
    """The units of the table in the order in which they are shown."""
    screen = app.screen
    assert isinstance(screen, TabledScreen) and screen.model is not None
    return [str(unit) for unit in screen.model.shown["unit"]]


def pane(app: InterpApp, name: str) -> str:
    """The text of a pane."""
    return str(app.screen.query_one(f"#{name}", Pane).query_one(Static).content)


async def typed(app: InterpApp, pilot: Pilot[int], keys: Sequence[str]) -> None:
    """Press keys one after the other; a word that begins with `'` is typed letter by letter."""
    for key in keys:
        letters = list(key[1:]) if key.startswith("'") else [key]
        await pilot.press(*(NAMES.get(letter, letter) for letter in letters))
        await pilot.pause(0.25 if key.startswith("'") else 0.05)
        await settled(app, pilot)


NAMES = {" ": "space", ".": "full_stop", "<": "less_than_sign", "/": "slash", "?": "question_mark"}


def after(keys: Sequence[str]) -> Driven[str]:
    """The grid after some keys."""

    async def drive(app: InterpApp, pilot: Pilot[int]) -> str:
        await typed(app, pilot, keys)
        return grid(app)

    return drive
