"""What the command palette offers besides Textual's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from interp_dsl.tui.base import InterpScreen, RunScreen
from interp_dsl.tui.place import Place
from interp_dsl.tui.safe import plain

if TYPE_CHECKING:
    from interp_dsl.tui.app import InterpApp

Command = tuple[str, str, Callable[[], object]]


class InterpCommands(Provider):
    """Views, the tables of steps, and what the keys of the screen do."""

    def _commands(self) -> Iterator[Command]:
        app = cast("InterpApp", self.app)
        screen = self.screen
        if app.folder is not None:
            for one in app.views:
                yield f"View: {one.title}", one.about, partial(app.action_show, one.name)
            for step in app.folder.steps:
                yield f"Table: {step}", "rank this step", partial(_rank, app, step)
        if isinstance(screen, RunScreen):
            yield "Pause or go on", "hold the picture still", app.toggle_pause
        if isinstance(screen, InterpScreen):
            yield "Export", "the table or a picture of this screen", screen.action_export
        yield "Light or dark", "the other of the two themes", app.action_light
        yield "Help", "the keys of this screen", app.action_help

    async def discover(self) -> Hits:
        for name, about, deed in self._commands():
            yield DiscoveryHit(plain(name), deed, text=name, help=about)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for name, about, deed in self._commands():
            score = matcher.match(name)
            if score > 0:
                yield Hit(score, plain(name), deed, text=name, help=about)


def _rank(app: InterpApp, step: str) -> None:
    app.place = Place(step)
    app.action_show("rank")
