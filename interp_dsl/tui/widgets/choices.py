"""One line of choices, each group with the keys that go through it: steps, metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from rich.style import Style
from rich.text import Text
from textual import events
from textual.message import Message
from textual.widget import Widget

from interp_dsl.runs.text import printable

if TYPE_CHECKING:
    from interp_dsl.tui.app import InterpApp


@dataclass(frozen=True, slots=True)
class Group:
    """`keys` as they are shown, such as `[ ]`; `chosen` is a position in `names`."""

    name: str
    keys: str
    names: Sequence[str]
    chosen: int | None


class Choices(Widget):
    """Groups side by side; a click posts `Picked`."""

    DEFAULT_CSS = """
    Choices { height: 1; padding: 0 1; background: $background; }
    """

    class Picked(Message):
        """A name of a group was clicked."""

        def __init__(self, group: str, index: int) -> None:
            super().__init__()
            self.group, self.index = group, index

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.groups: Sequence[Group] = ()

    def show(self, *groups: Group) -> None:
        self.groups = [group for group in groups if group.names]
        self.refresh()

    def render(self) -> Text:
        parts = [self._group(group) for group in self.groups]
        line = Text("    ", no_wrap=True, overflow="ellipsis").join(parts)
        line.no_wrap, line.overflow = True, "ellipsis"
        return line

    def _group(self, group: Group) -> Text:
        tones = cast("InterpApp", self.app).tones
        line = Text()
        line.append(f"{group.name} ", tones.muted)
        room = max(12, (self.size.width - 4) // len(self.groups) - len(group.name) - 6)
        first, last = _in_sight([len(name) + 2 for name in group.names], group.chosen or 0, room)
        line.append("‹ " if first else "", tones.muted)
        for i in range(first, last):
            word = Text(printable(group.names[i]))
            word.apply_meta({"group": group.name, "index": i})
            if i == group.chosen:
                word.stylize(tones.primary + Style(bold=True, underline=True))
            else:
                word.stylize(tones.muted)
            line.append_text(word)
            line.append("  " if i < last - 1 else "")
        line.append(" ›" if last < len(group.names) else "", tones.muted)
        line.append(f"  {group.keys}" if len(group.names) > 1 else "", tones.accent)
        return line

    def on_click(self, event: events.Click) -> None:
        meta = event.style.meta
        if "group" in meta:
            self.post_message(self.Picked(str(meta["group"]), int(meta["index"])))


def _in_sight(widths: Sequence[int], chosen: int, room: int) -> tuple[int, int]:
    """The longest stretch of names around the chosen one that fits."""
    first, last, used = chosen, chosen + 1, widths[chosen]
    while True:
        if last < len(widths) and used + widths[last] <= room:
            used += widths[last]
            last += 1
        elif first > 0 and used + widths[first - 1] <= room:
            first -= 1
            used += widths[first]
        else:
            return first, last
