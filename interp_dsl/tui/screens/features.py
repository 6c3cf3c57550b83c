"""Features: what a dictionary's features fire on, how often, how strongly; what they write, what is
beside them, what is lost without them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from interp_dsl.runs.events import Event
from interp_dsl.runs.feature_effects import Elsewhere, elsewhere
from interp_dsl.runs.features import (
    Read,
    contexts,
    densities,
    dictionaries,
    feature_rows,
    feature_units,
    firing_on,
    n_intervals,
    neighbours,
)
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.text import count
from interp_dsl.tui.base import is_news
from interp_dsl.tui.beside import meaning_text, neighbour_table
from interp_dsl.tui.featured import (
    contexts_text,
    densities_text,
    facts_text,
    feature_table,
    lacking_text,
)
from interp_dsl.tui.plans import read_plan
from interp_dsl.tui.safe import plain
from interp_dsl.tui.screens.filtered import FilteredScreen
from interp_dsl.tui.screens.neighbours import NeighboursScreen
from interp_dsl.tui.widgets.choices import Choices, Group
from interp_dsl.tui.widgets.filterbar import FilterBar
from interp_dsl.tui.widgets.panes import Pane
from interp_dsl.tui.widgets.settings import turned
from interp_dsl.tui.widgets.table import Table

if TYPE_CHECKING:
    import polars as pl

PANES = ("contexts", "meaning", "density")
TURNED = (("examples", ", ."), ("densities", "{ }"))
"""What several steps may have recorded, with the keys that go from one to the next; of all else the
last is shown."""
MOST_BINS = 80
ROOMY = 12
"""Lines of a pane from which on there is room for blank ones."""
_NUMBERS = re.compile(r"(\d+)(?:\.\.(\d+))?")


class FeaturesScreen(FilteredScreen):
    """A list of features; beside or below it the contexts of the one under the cursor, what it
    writes and what is beside it, and the histogram of all densities."""

    HELP: ClassVar[str] = (
        "One row a feature; with it the contexts of the feature under the cursor: its largest "
        "activations, then one of each part between its maximum and 0. The token that it fires on "
        "stands between « and ». Then what is lost without it, the tokens that it writes, and the "
        "features beside it: Enter lists these and goes to one, `b` comes back. `/` takes a "
        "feature's number, a range such as 40..49, or text "
        'of a token that features fire on; "…" keeps spaces and makes 12 a text.'
    )
    DEFAULT_CSS = """
    FeaturesScreen.-wide #main { layout: horizontal; }
    FeaturesScreen Table { height: 2fr; }
    FeaturesScreen #side { height: 3fr; }
    FeaturesScreen #side > * { display: none; height: 1fr; }
    FeaturesScreen.-contexts #contexts, FeaturesScreen.-meaning #meaning,
    FeaturesScreen.-density #density { display: block; }
    FeaturesScreen.-wide Table { width: 62; height: 1fr; }
    FeaturesScreen.-wide #side { width: 1fr; height: 1fr; }
    FeaturesScreen.-wide #side > * { display: block; }
    FeaturesScreen.-wide #density { height: 14; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Search", key_display="/", tooltip="by number or token"),
        Binding("y", "copy", "Copy units", tooltip="the marked features as units"),
        Binding("b", "back_to", "Back to", show=False, tooltip="the feature before a jump"),
        Binding("t", "pane", "Pane", show=False),
        Binding("left_square_bracket", "turn('read', -1)", "Before", show=False, key_display="["),
        Binding(
            "right_square_bracket", "turn('read', 1)", "Dictionary", show=False, key_display="]"
        ),
        Binding("comma", "turn('examples', -1)", "Examples before", show=False, key_display=","),
        Binding("full_stop", "turn('examples', 1)", "Examples", show=False, key_display="."),
        Binding(
            "left_curly_bracket", "turn('densities', -1)", "Before", show=False, key_display="{"
        ),
        Binding(
            "right_curly_bracket", "turn('densities', 1)", "Densities", show=False, key_display="}"
        ),
    ]

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self._found: dict[str, Read] = {}
        self._chosen: dict[str, str] = {}
        """The dictionary (`read`) and the steps (`examples`, `densities`) that are looked at."""
        self._tables: dict[str, pl.DataFrame] = {}
        """The last readable tables of what is looked at, by what is in them."""
        self._elsewhere: Elsewhere | None = None
        """What steps that do not look at features say of them."""
        self._before: list[int] = []
        """Features that were left by a jump."""
        self._pane = 0

    def body(self) -> ComposeResult:
        yield Choices()
        with Vertical(id="main"):
            yield Table(markable=True, id="features")
            with Vertical(id="side"):
                yield Pane(id="contexts")
                yield Pane(id="meaning")
                yield Pane(id="density")
        yield FilterBar("12, 40..49, or a token: def")

    def on_mount(self) -> None:
        self._show_pane()
        self.table.focus()

    # ---- reading

    def on_run_events(self, events: list[Event]) -> None:
        """See which dictionaries there are, and what steps have read of them by now."""
        if not is_news(events):
            return
        plan = read_plan(self.folder)
        found = {one.name: one for one in (dictionaries(plan, self.folder) if plan else [])}
        is_new, self._found = found != self._found, found
        wanted = [
            n for n, one in found.items() if any(self.place.step in s for s in one.steps.values())
        ]
        readable = [n for n, one in found.items() if one.recorded]
        if "read" not in self._chosen:
            self._open((wanted or readable or [*found] or [""])[0])
        elif is_new:
            self._open(self._chosen["read"], keep=True)
        else:
            self._show_feature()

    def _open(self, name: str, keep: bool = False) -> None:
        """Show a dictionary's features."""
        read = self._found.get(name)
        if read is None:
            self.table.border_title = "nothing to show"
            return
        steps = read.steps
        last = {what: held[-1] for what, held in steps.items() if held}
        kept = {w: s for w, s in self._chosen.items() if w in dict(TURNED) and s in steps[w]}
        self._chosen = {**last, **kept, "read": name}
        self._before = self._before if keep else []
        found = {what: self._table(what) for what in last}
        self._tables = {what: table for what, table in found.items() if table is not None}
        plan = read_plan(self.folder)
        self._elsewhere = elsewhere(plan, self.folder, name) if plan else None
        tables = self._tables.get
        self.model = feature_table(
            feature_rows(tables("examples"), tables("densities"), self._tables)
        )
        self.filter(self.query_one(FilterBar).text)
        self.table.show(self.model, keep=keep)
        groups = [Group("dictionary", "[ ]", [*self._found], [*self._found].index(name))]
        for what, keys in TURNED:
            held = steps[what]
            if len(held) > 1:
                groups.append(Group(what, keys, held, held.index(self._chosen[what])))
        if not self.has_class("-wide"):
            groups.append(Group("below", "t", PANES, self._pane))
        self.query_one(Choices).show(*groups)
        self.show_title()
        if not len(self.model):
            self._show_feature()

    def _table(self, what: str) -> pl.DataFrame | None:
        step = self._chosen[what]
        try:
            return self.folder.read_table(step)
        except (OSError, ValueError) as error:
            self.notify(str(error), title=step, severity="error", markup=False)
            return None

    # ---- the picture

    def on_resize(self) -> None:
        self.call_after_refresh(self._show_feature)

    @property
    def read(self) -> Read | None:
        """The dictionary that is looked at."""
        return self._found.get(self._chosen.get("read", ""))

    def show_title(self) -> None:
        if self.model is not None and self.read is not None:
            self.table.border_title = plain(f"features of {self.read.name}")
            self.table.border_subtitle = self.counted("feature")

    def _show_feature(self) -> None:
        if self.read is not None:
            self._show_contexts(self.read)
            self._show_meaning(self.read)
            self._show_densities(self.read)

    def _show_contexts(self, read: Read) -> None:
        pane, row, tones = self.query_one("#contexts", Pane), self.row() or {}, self.home.tones
        feature = row.get("feature")
        if not isinstance(feature, int):
            remedy = read.remedy("examples")
            is_searched = self.model is not None and len(self.model.frame)
            nothing = Text("no feature passes the search", tones.muted)
            lacking = lacking_text("no examples of these features are", remedy, tones)
            pane.show("contexts", nothing if is_searched else lacking)
            return
        examples, density = self._tables.get("examples"), self._tables.get("densities")
        n = None if density is None else int(density["n"][0])
        text = facts_text(row, n, tones)
        is_roomy = pane.room[1] >= ROOMY
        text.append(("\n\n" if is_roomy else "\n") if text else "")
        found = [] if examples is None else list(contexts(examples, feature))
        if found and examples is not None:
            width, height = pane.room
            intervals = n_intervals(examples)
            text.append_text(contexts_text(found, intervals, tones, width, height - 2))
        elif self._is_dead(row):
            text.append("it never fires on this data", tones.muted)
        else:
            wanted = None if examples is None else feature
            what = "no examples are" if wanted is None else "no examples of this feature are"
            text.append_text(lacking_text(what, read.remedy("examples", wanted), tones))
        step = f" · {self._chosen['examples']}" if "examples" in self._chosen else ""
        pane.show(f"feature {feature}{step}", text)

    def _is_dead(self, row: dict[str, object]) -> bool:
        """Whether the examples were looked for and the densities say that there can be none."""
        return "examples" in self._tables and row.get("density") == 0

    def _show_meaning(self, read: Read) -> None:
        """What is lost without the feature, the tokens that it writes, what is beside it."""
        pane, tones = self.query_one("#meaning", Pane), self.home.tones
        feature = (self.row() or {}).get("feature")
        if not isinstance(feature, int):
            pane.show("meaning", Text())
            return
        told = [] if self._elsewhere is None else list(self._elsewhere.of(feature))
        text = meaning_text(feature, self._tables, told, tones, pane.room[1])
        if not text:
            what = "the tokens that features write are not"
            text = lacking_text(what, read.remedy("logits"), tones)
        pane.show(f"meaning of {feature}", text)

    def _beside(self, feature: int) -> pl.DataFrame:
        return neighbours(self._tables.get("nearest"), self._tables.get("cofiring"), feature)

    def _show_densities(self, read: Read) -> None:
        pane, tones = self.query_one("#density", Pane), self.home.tones
        density = self._tables.get("densities")
        if density is None:
            pane.show("density", lacking_text("densities are not", read.remedy("density"), tones))
            return
        width, height = pane.room
        found = densities(density["density"].to_list(), max(8, min(MOST_BINS, width - 8)))
        here = (self.row() or {}).get("density")
        here = here if isinstance(here, float) else None
        text = densities_text(found, here, tones, height)
        pane.show(f"density · {self._chosen['densities']}", text)

    def _show_pane(self) -> None:
        self.show_one(PANES, self._pane)
        self.call_after_refresh(self._show_feature)

    # ---- keys

    def show_row(self) -> None:
        self.show_title()
        self._show_feature()

    @on(Choices.Picked)
    def _on_picked(self, event: Choices.Picked) -> None:
        if event.group == "below":
            self.action_pane()
        elif event.group == "dictionary":
            self._open([*self._found][event.index])
        elif self.read is not None:
            self._choose(event.group, getattr(self.read, event.group)[event.index])

    def action_turn(self, what: str, by: int) -> None:
        """Another dictionary, or another step that has read it."""
        if self.read is None:
            return
        if what == "read":
            self._open(turned([*self._found], self.read.name, by))
        elif what in self._chosen:
            self._choose(what, turned(getattr(self.read, what), self._chosen[what], by))

    def _choose(self, what: str, step: str) -> None:
        self._chosen[what] = step
        self._open(self._chosen["read"])

    def action_pane(self) -> None:
        self._pane = (self._pane + 1) % len(PANES)
        self._show_pane()
        if "read" in self._chosen:
            self._open(self._chosen["read"], keep=True)

    @on(Table.Chosen)
    def _on_chosen(self) -> None:
        """List the neighbours, one of which may be gone to."""
        feature = (self.row() or {}).get("feature")
        if not isinstance(feature, int) or self.model is None or self.read is None:
            return
        beside = self._beside(feature)
        if not len(beside):
            remedy = self.read.remedy("nearest")
            self.notify(f"no neighbours are recorded; this step would:\n{remedy}", markup=False)
            return
        rows = neighbour_table(beside, self.model.frame)
        self.app.push_screen(NeighboursScreen(feature, rows), self._jump)

    def _jump(self, feature: int | None) -> None:
        """Go to a feature, and remember the one that was left."""
        here = (self.row() or {}).get("feature")
        if feature is not None and self._go(feature) and isinstance(here, int):
            self._before.append(here)

    def _go(self, feature: int) -> bool:
        """Put the cursor on a feature, the search given up where it hides it."""
        assert self.model is not None
        at = self.model.frame["feature"].index_of(feature)
        if at is None:
            self.notify(f"nothing was recorded of feature {feature}", severity="warning")
            return False
        if self.model.row_of(at) is None:
            self.query_one(FilterBar).close()
            self.filter("")
            self.table.renew()
        self.table.go_to(self.model.row_of(at) or 0)
        return True

    def action_back_to(self) -> None:
        """The feature that the last jump left."""
        if self._before:
            self._go(self._before.pop())
        else:
            self.notify("there was no jump to come back from", severity="warning")

    def action_copy(self) -> None:
        """The marked features, or the one under the cursor, as units of the language."""
        row, read = self.row(), self.read
        if self.model is None or read is None or not row:
            self.notify("there are no features here to copy", severity="warning")
            return
        marked = self.model.frame["feature"].gather(sorted(self.table.marked)).to_list()
        self.copy(feature_units(read.name, marked or [int(str(row["feature"]))]))

    # ---- the search

    def filter(self, text: str) -> None:
        """Keep the features of a number, a range, or with a token that holds a text."""
        bar = self.query_one(FilterBar)
        if self.model is None:
            return
        if not text:
            bar.say("a number, a range such as 40..49, or text of a token that features fire on")
            self.model.keep(None)
            return
        features, numbers = self.model.frame["feature"], _NUMBERS.fullmatch(text)
        if numbers:
            self.model.keep(features.is_between(int(numbers[1]), int(numbers[2] or numbers[1])))
            bar.say(count(len(self.model), "feature"))
        elif "examples" not in self._tables:
            bar.say("tokens can be searched where examples are recorded", is_wrong=True)
        else:
            words = text[1:-1] if len(text) > 2 and text[0] == text[-1] == '"' else text
            self.model.keep(features.is_in(firing_on(self._tables["examples"], words).implode()))
            bar.say(f"{count(len(self.model), 'feature')} with an example that fires on {words}")

    def export(self) -> Path | None:
        """The features in sight of the search, in their order, as csv."""
        if self.model is None or self.read is None:
            return None
        import polars as pl

        tokens = pl.col("tokens", "promotes").list.join(" ")
        rows = self.model.shown.drop("#row").with_columns(tokens)
        path = self.export_path(f"-{self.read.name.partition('[')[0]}.csv")
        rows.write_csv(path)
        return path
