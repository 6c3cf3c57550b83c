"""Samples: what was written behind a prompt, plain, steered, and steered in a random direction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.style import Style
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Static

from interp_dsl.language.cells import clean
from interp_dsl.plan.generation import control
from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.rank import metrics
from interp_dsl.runs.samples import Sample, Samples, sample_steps
from interp_dsl.runs.text import count, decimals, interval, number
from interp_dsl.tui.base import WIDTHS, RunScreen, is_news
from interp_dsl.tui.place import Place
from interp_dsl.tui.widgets.listing import Heading, Item, Listing
from interp_dsl.tui.widgets.panes import Pane
from interp_dsl.tui.widgets.settings import Setting, Settings, turned

if TYPE_CHECKING:
    import polars as pl

MOST = 3
"""Texts beside each other: the plain one, one of an intervention, its control."""
TALL = 32
"""From this height on the means stand below the texts."""
HEAD = 2
"""Lines of a prompt, its last, in front of what was written behind it."""


class SamplesScreen(RunScreen):
    """The texts of a step of `generate`, one prompt at a time."""

    HELP: ClassVar[str] = (
        "Behind the prompt, which stands back, the plain model's text, that under an intervention, "
        "and that under as long a change in a random direction. Underlined is what the plain text "
        "has not. Below each: its tokens, the mean log probability of one in the plain model, and "
        "how far the two models' expectations are apart (KL)."
    )
    HORIZONTAL_BREAKPOINTS = WIDTHS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right_square_bracket", "step(1)", "Step", key_display="[ ]"),
        Binding("left_square_bracket", "step(-1)", "Step before", show=False, key_display="["),
        Binding("n", "prompt(1)", "Prompt", key_display="n N"),
        Binding("N", "prompt(-1)", "Prompt before", show=False, key_display="N"),
        Binding("full_stop", "under(1)", "Under", key_display=", ."),
        Binding("comma", "under(-1)", "Under before", show=False, key_display=","),
        Binding("tab", "app.focus_next", "Next text", show=False),
    ]
    DEFAULT_CSS = """
    SamplesScreen #texts { height: 1fr; layout: vertical; }
    SamplesScreen.-wide #texts { layout: horizontal; }
    SamplesScreen #texts Pane { width: 1fr; height: 1fr; }
    SamplesScreen #means { height: auto; max-height: 10; margin: 0 1; display: none; }
    SamplesScreen.tall #means { display: block; }
    SamplesScreen #nothing { height: 1fr; content-align: center middle; display: none; }
    SamplesScreen.empty #nothing { display: block; }
    SamplesScreen.empty #texts, SamplesScreen.empty #means { display: none; }
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self.steps: list[str] = []
        self.held: Samples | None = None
        self.prompt = 0
        self.under: str | None = None
        self._means: pl.DataFrame | None = None

    def body(self) -> ComposeResult:
        yield Settings(id="settings")
        yield Static("no step of generate has ended yet", id="nothing", markup=False)
        with Container(id="texts"):
            for i in range(MOST):
                yield Pane(id=f"text{i}")
        yield Listing(id_="means")

    # ---- what is shown

    def on_run_events(self, events: list[Event]) -> None:
        if not is_news(events):
            return
        self.steps = sample_steps(self.folder)
        self.set_class(not self.steps, "empty")
        if not self.steps:
            return
        wanted = self.place.step if self.place.step in self.steps else None
        if self.held is None or (not events and wanted not in (None, self.held.step)):
            self._open(wanted or self.steps[0])
            self.query_one("#text0").focus()
        self._show()

    def _open(self, step: str) -> None:
        self.held = Samples(self.folder, step)
        self._means = self.folder.read_table(step)
        self.prompt = min(self.prompt, max(0, len(self.held) - 1))
        names = self.held.steered
        self.under = self.under if self.under in names else next(iter(names), None)
        self.place = Place(step)

    def _show(self) -> None:
        held = self.held
        if held is None or not len(held):
            return
        self._show_settings(held)
        names = held.beside(self.under)
        panes = list(self.query("#texts Pane").results(Pane))
        for i, pane in enumerate(panes):
            pane.display = i < len(names)
        columns, below = self._columns(held, names, *panes[0].room)
        for pane, name, text, said in zip(panes, names, columns, below, strict=False):
            pane.show(name, text, said)
        self._show_means(held)

    def _columns(
        self, held: Samples, names: list[str], width: int, height: int
    ) -> tuple[list[Text], list[str]]:
        """What each pane shows, and says below: one prompt, or where texts stand beside each other
        as many as there is room for, each at the same height."""
        lines: list[list[Text]] = [[] for _ in names]
        said: list[list[str]] = [[] for _ in names]
        for at in range(self.prompt, len(held)):
            before, samples = held.before(at), held.samples(at, names)
            texts = [self._written(before, s).wrap(self.app.console, width) for s in samples]
            tall, is_first = max(map(len, texts)), at == self.prompt
            has_room = self.has_class("-wide") and len(lines[0]) + tall + 2 <= height
            if not (is_first or has_room):
                break
            for own, told, text, sample in zip(lines, said, texts, samples, strict=True):
                told.append(_numbers(sample))
                if not is_first:
                    told_of = told[-1].partition(" · ")[2]
                    title = Text(f"prompt {at + 1} · {told_of}", self.home.tones.muted)
                    title.truncate(width, overflow="ellipsis")
                    own += [Text(), title]
                own += [*text, *[Text()] * (tall - len(text))]
        return [Text("\n").join(own) for own in lines], [told[0] for told in said]

    def _show_settings(self, held: Samples) -> None:
        said = [
            Setting(
                "[ ]", "step", held.step, self.steps.index(held.step), len(self.steps), "step(1)"
            ),
            Setting("n", "prompt", "", self.prompt, len(held), "prompt(1)"),
        ]
        if self.under is not None:
            names = held.steered
            at = names.index(self.under)
            said.append(Setting(", .", "under", self.under, at, len(names), "under(1)"))
        self.query_one(Settings).settings = tuple(said)

    def _written(self, before: str, sample: Sample) -> Text:
        """The end of the prompt and what was written behind it."""
        tones, text = self.home.tones, Text()
        text.append(_visible("\n".join(before.split("\n")[-HEAD:])), tones.muted)
        for piece in sample.pieces:
            style = tones.accent + Style(underline=True) if piece.differs else tones.text
            text.append(_visible(piece.text), style)
        return text

    def _show_means(self, held: Samples) -> None:
        """What the texts of all prompts come to: a row an intervention, a column a metric."""
        assert self._means is not None
        names, table = metrics(self._means), self._means
        cells = {m: _cells(table.filter(metric=m)) for m in names}
        wide = {m: max(len(m), *map(len, cells[m].values())) for m in names}
        shown = held.beside(self.under)
        rows = held.names
        headings = [Heading(f"means of {count(len(held), 'prompt')}", 0)]
        headings += [Heading(m, wide[m], right=True) for m in names]

        def item(row: int) -> Item:
            name = rows[row]
            said = (name, *(cells[m].get(name, "") for m in names))
            return Item(said, dim=name not in shown)

        listing = self.query_one("#means", Listing)
        own = [i for i, name in enumerate(rows) if name in shown]
        here = listing.cursor if listing.cursor in own[1:] else own[min(1, len(own) - 1)]
        listing.show(headings, len(rows), item, here)

    def on_resize(self) -> None:
        self.set_class(self.size.height >= TALL, "tall")
        self.call_after_refresh(self._show)

    # ---- choosing

    @on(Listing.Moved, "#means")
    def _on_moved(self, message: Listing.Moved) -> None:
        """The texts of the row that was gone to, or of what it is the control of."""
        assert self.held is not None
        name = self.held.names[message.row]
        chosen = [one for one in self.held.steered if name in (one, control(one))]
        if chosen and chosen[0] != self.under:
            self.under = chosen[0]
            self._show()

    def action_step(self, by: int) -> None:
        if self.held is not None:
            self._open(turned(self.steps, self.held.step, by))
            self._show()

    def action_prompt(self, by: int) -> None:
        if self.held is not None and len(self.held):
            self.prompt = (self.prompt + by) % len(self.held)
            self._show()

    def action_under(self, by: int) -> None:
        if self.held is not None and self.under is not None:
            self.under = turned(self.held.steered, self.under, by)
            self._show()

    def export(self) -> Path | None:
        """All texts of the step, as CSV."""
        if self.held is None:
            return None
        path = self.export_path(f"-{self.held.step}.csv")
        self.held.table.write_csv(path)
        return path


def _visible(text: str) -> str:
    """Text in its own lines, harmless to a terminal."""
    return "\n".join(clean(line.replace("\t", "⇥")) for line in text.split("\n"))


def _numbers(sample: Sample) -> str:
    said = [count(sample.n, "token"), f"log p {number(sample.logprob, 3)}"]
    return " · ".join([*said, f"KL {number(sample.kl, 3, False)}"] if sample.kl else said)


def _cells(rows: pl.DataFrame) -> dict[str, str]:
    """A metric's means with their intervals, by intervention."""
    places = max(0, min(3, decimals(rows["value"])))
    found = {}
    for under, value, low, high in rows.select("under", "value", "low", "high").iter_rows():
        bounds = interval(low, high, places, signed=False)
        found[under] = f"{number(value, places, signed=False)} {bounds}"
    return found
