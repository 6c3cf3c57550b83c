"""The two lines above every screen: which run, how it is, and which views there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from rich.style import Style
from rich.text import Text
from textual import events
from textual.reactive import reactive
from textual.widget import Widget

from interp_dsl.runs.live import Status
from interp_dsl.runs.text import printable
from interp_dsl.tui.views import View

if TYPE_CHECKING:
    from interp_dsl.tui.app import InterpApp

SIGNS: dict[Status, tuple[str, str, str]] = {
    "created": ("○", "not begun", "muted"),
    "running": ("●", "running", "primary"),
    "done": ("✓", "done", "good"),
    "failed": ("✗", "failed", "bad"),
    "died": ("✗", "died", "bad"),
    "interrupted": ("■", "interrupted", "warn"),
    "cancelled": ("■", "cancelled", "warn"),
}
"""Of each status a sign, a word, and a tone."""


class Head(Widget):
    """Line 1: the run, its status, whether the view is paused. Line 2: the views and their keys."""

    DEFAULT_CSS = """
    Head { height: 2; dock: top; background: $surface; color: $text; padding: 0 1; }
    """
    moved = reactive(0)

    def render(self) -> Text:
        app = cast("InterpApp", self.app)
        lines = [_run_line(app, self.size.width - 2), _tabs(app, self.size.width)]
        return Text("\n").join(lines)

    def on_click(self, event: events.Click) -> None:
        name = event.style.meta.get("view")
        if name:
            cast("InterpApp", self.app).action_show(str(name))


def _run_line(app: InterpApp, width: int) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append("interp", app.tones.strong)
    line.append("  ")
    if app.folder is None:
        line.append(printable(str(app.where)))
        return line
    sign, word, tone = SIGNS[app.status]
    style: Style = getattr(app.tones, tone)
    name = printable(app.folder.path.name)
    right = Text(f"{sign} {word}{app.progress_words()}", style + app.tones.strong)
    if app.is_paused:
        right.append(f"  ‖ paused, {app.n_waiting:,} waiting", app.tones.warn)
    room = max(8, width - 8 - right.cell_len - 2)
    shown = name if len(name) <= room else name[: room - 1] + "…"
    line.append(shown.ljust(room))
    line.append("  ")
    line.append_text(right)
    return line


def _tabs(app: InterpApp, width: int) -> Text:
    """The run's views; where there is no room for them those that have something to show; where
    there is none for these either, the beginnings of their names."""
    with_something = [v for v in app.views if v.name == app.view_name or not app.is_missing(v)]
    for views in (app.views, with_something):
        words = sum(len(v.title) + 2 for v in views)
        gap = next((g for g in (3, 2, 1) if words + g * (len(views) - 1) <= width), None)
        if gap is not None:
            break
    parts = [_tab(app, one, gap is not None) for one in views]
    return Text(" " * (gap or 1), no_wrap=True).join(parts)


def _tab(app: InterpApp, one: View, full: bool) -> Text:
    current = one.name == app.view_name
    missing = app.folder is None or app.is_missing(one)
    text = Text()
    is_plain = current or missing
    text.append(one.key, app.tones.text if is_plain else app.tones.accent)
    text.append(f" {one.title}" if full or current else f" {one.title[:3]}")
    if current:
        text.stylize(Style(bold=True, reverse=True))
    elif missing:
        text.stylize(app.tones.faint)
    text.apply_meta({"view": one.name})
    return text
