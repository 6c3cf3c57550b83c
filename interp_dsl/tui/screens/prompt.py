"""Prompt: a pair of prompts token by token, what a step says of each token, where a head attends,
which tokens come next."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Static

from interp_dsl.runs.events import Event
from interp_dsl.runs.example_prompts import data_of
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.prompts import (
    Arrays,
    Head,
    Pairs,
    Pattern,
    Prompt,
    pair_names,
    read_pairs,
    recorded_heads,
    recorded_pattern,
    recordings,
)
from interp_dsl.runs.text import number
from interp_dsl.tui.base import RunScreen, is_news
from interp_dsl.tui.examples import show_examples
from interp_dsl.tui.heads import head_of, heads_of, nearest, strongest_head
from interp_dsl.tui.overlaid import Overlaid
from interp_dsl.tui.plans import read_plan
from interp_dsl.tui.widgets.attention import Attention
from interp_dsl.tui.widgets.flow import flow
from interp_dsl.tui.widgets.listing import Heading, Item, Listing
from interp_dsl.tui.widgets.scale import scale
from interp_dsl.tui.widgets.settings import Setting, Settings, turned
from interp_dsl.tui.widgets.tokens import Rows, Tokens, visible

KEEP = 8
WIDE = 110
TALL = 32
"""From this width on both sides' attention has room, from this height on space between parts."""


class PromptScreen(RunScreen):
    """A pair of prompts, from what the run has recorded."""

    HELP = (
        "Tokens stand under each other as patching pairs them; ≠ marks those that differ. Their "
        "effects are means over all pairs, or this pair's own (`v`). Below: "
        "where the head attends, and what the model expects after the token under the cursor."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "example(1)", "Pair"),
        Binding("N", "example(-1)", "Pair before", show=False, key_display="N"),
        Binding("s", "dataset(1)", "Dataset", show=False),
        Binding("right_square_bracket", "effect(1)", "Effects", key_display="[ ]"),
        Binding("left_square_bracket", "effect(-1)", "Effects before", show=False, key_display="["),
        Binding("v", "value", "Mean or this pair alone", show=False),
        Binding("x", "examples", "All pairs"),
        Binding("h", "head(1)", "Head"),
        Binding("H", "head(-1)", "Head before", show=False, key_display="H"),
        Binding("right_curly_bracket", "layer(1)", "Next layer", show=False, key_display="}"),
        Binding("left_curly_bracket", "layer(-1)", "Layer before", show=False, key_display="{"),
        Binding("o", "side", "Side", show=False),
        Binding("tab", "app.focus_next", "next part", show=False),
    ]
    DEFAULT_CSS = """
    PromptScreen #tokens { margin: 0 1; max-height: 45%; }
    PromptScreen #effects { height: auto; max-height: 2; padding: 0 1; }
    PromptScreen #below { height: 1fr; }
    PromptScreen #next { width: 40; padding: 0 1; }
    PromptScreen.tall #tokens { margin: 1 1; }
    PromptScreen.tall #below { margin-top: 1; }
    PromptScreen #nothing { height: 1fr; content-align: center middle; display: none; }
    PromptScreen.empty #nothing { display: block; }
    PromptScreen.empty #tokens, PromptScreen.empty #below { display: none; }
    PromptScreen.empty #effects { display: none; }
    PromptScreen #second { display: none; }
    PromptScreen.wide #second { display: block; }
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self.datasets: list[str] = []
        self.pairs: Pairs | None = None
        self.example, self.at_side = 0, 0
        self.laid = Overlaid(folder)
        self.heads: list[Head] = []
        self.head: Head | None = None
        self._recorded: list[tuple[str, Arrays]] = []

    def body(self) -> ComposeResult:
        yield Settings(id="settings")
        yield Static("no pairs of prompts are kept in this run yet", id="nothing", markup=False)
        yield Tokens(id_="tokens")
        yield Static(id="effects", markup=False)
        with Horizontal(id="below"):
            yield Attention(id="first")
            yield Attention(id="second")
            yield Listing(id_="next", empty="top logits were not recorded")

    # ---- reading

    def on_run_events(self, events: list[Event]) -> None:
        if not is_news(events):
            return
        names, first = pair_names(self.folder), self.pairs is None
        self.set_class(not names, "empty")
        if not names:
            return
        if first:
            self.datasets = names
            self._open(names[0])
            self.query_one(Tokens).focus()
        elif [*self.laid.tables] != self.folder.steps or names != self.datasets:
            self.datasets = names
            self._look()
        if not events:
            self._go_to_place()
        self._show_all()

    def _open(self, dataset: str) -> None:
        self.pairs = read_pairs(self.folder, dataset)
        self.example = min(self.example, max(0, len(self.pairs) - 1))
        self._look()
        prompt = self.prompts()[0]
        self.query_one(Tokens).cursor = max(0, min(prompt.read, len(prompt.ids) - 1))

    def _look(self) -> None:
        """What the finished steps have to say of these prompts."""
        assert self.pairs is not None
        self.laid.look(self.pairs.dataset, self.prompts())
        tables = self.laid.tables.values()
        self._recorded = list(recordings(self.folder))
        found = {*self.pairs.heads, *heads_of(tables)}
        found |= {head for _, held in self._recorded for head in recorded_heads(held)}
        self.heads = sorted(found)
        self.head = nearest(self.heads, self.head or strongest_head(tables))

    def _go_to_place(self) -> None:
        """The head and the effects of the row that another view looks at."""
        wanted = self.place
        if wanted.example is not None and self.pairs is not None:
            data = data_of(read_plan(self.folder), wanted.step or "")
            if data in self.datasets and data != self.pairs.dataset:
                self._open(data)
            if data == self.pairs.dataset and wanted.example < len(self.pairs):
                self.example, self.laid.is_own = wanted.example, True
        self.head = nearest(self.heads, head_of(wanted.unit) or self.head)
        self.laid.go_to(wanted)

    def prompts(self) -> list[Prompt]:
        """The prompts of the pair, the clean one first."""
        assert self.pairs is not None
        return [self.pairs.prompt(side, self.example) for side in self.pairs.sides[:2]]

    def pattern(self, prompt: Prompt) -> Pattern | None:
        """The head's attention on a prompt, from the kept pairs or from a recording."""
        if self.pairs is None or self.head is None:
            return None
        found = self.pairs.pattern(prompt.side, self.example, self.head)
        for _, held in self._recorded if found is None else ():
            found = found or recorded_pattern(held, prompt, self.head)
        return found

    def remedy(self, side: str) -> str:
        """The line that would record the head's layer on a side."""
        assert self.pairs is not None
        data = self.pairs.dataset
        of = data if side == data.rpartition(".")[2] else f"{data}.{side}"
        layer = self.head[0] if self.head else 0
        return f"step seen_L{layer} = record patterns layers {layer} of {of} keep {KEEP}"

    # ---- showing

    def _show_all(self) -> None:
        if self.pairs is None:
            return
        self._show_settings()
        self._show_tokens()
        self._show_attention()
        self._show_next()

    def _show_settings(self) -> None:
        assert self.pairs is not None
        held, laid, layer = self.pairs, self.laid, self.laid.layer
        said = [
            Setting(
                "s",
                "data",
                held.dataset,
                self.datasets.index(held.dataset),
                len(self.datasets),
                "dataset(1)",
            ),
            Setting(
                "n",
                "pair" if len(held.sides) > 1 else "prompt",
                "",
                self.example,
                len(held),
                "example(1)",
            ),
        ]
        if self.head is not None:
            name = f"L{self.head[0]}H{self.head[1]}"
            said.append(
                Setting("h", "head", name, self.heads.index(self.head), len(self.heads), "head(1)")
            )
        if layer is not None:
            what = f"{layer.step} · {layer.metric} · {layer.unit}"
            said.append(Setting("[ ]", "effects", what, laid.at, len(laid.found), "effect(1)"))
            said.append(
                Setting(
                    "v",
                    "",
                    f"this {laid.one}" if laid.is_own else "mean",
                    int(laid.is_own),
                    2,
                    "value",
                )
            )
        if not self.has_class("wide") and len(held.sides) > 1:
            side = held.sides[self.at_side]
            said.append(Setting("o", "side", side, self.at_side, 2, "side"))
        self.query_one(Settings).settings = tuple(said)

    def _show_tokens(self) -> None:
        prompts = self.prompts()
        found = self.laid.shown(prompts[0], self.example)
        values = {token: effect.value for token, effect in found.items()}
        limit = max(map(abs, values.values()), default=0.0)
        lower = prompts[1] if len(prompts) > 1 else None
        self.query_one(Tokens).show(Rows(prompts[0], lower, values, limit))
        self._say_effect()

    def _say_effect(self) -> None:
        """The scale, and the effects at the token under the cursor: the mean and the pair's."""
        token = self.query_one(Tokens).column[0]
        said = self.laid.words(self.prompts()[0], self.example, token, scale(self.app))
        self.query_one("#effects", Static).update(flow(said, self.size.width - 2))

    def _show_attention(self) -> None:
        sides, wide = self.prompts(), self.has_class("wide")
        head = f"L{self.head[0]}H{self.head[1]}" if self.head else "attention"
        at = min(self.at_side, len(sides) - 1)
        for widget, prompt in zip(
            self.query(Attention), sides if wide else sides[at : at + 1], strict=False
        ):
            found, title = self.pattern(prompt), f"{head} on {prompt.side}"
            if found is None:
                widget.lack(title, self.remedy(prompt.side))
            else:
                widget.show(found, title, self._token(prompt.side) or 0)
        self.query_one("#second").display = wide and len(sides) > 1

    def _token(self, side: str) -> int | None:
        """The token of a side under the cursor."""
        assert self.pairs is not None
        return self.query_one(Tokens).column[self.pairs.sides.index(side)]

    def _show_next(self) -> None:
        """The likeliest next tokens of both sides, after the tokens under the cursor."""
        assert self.pairs is not None
        held, columns, headings = self.pairs, [], []
        signs = {token: "✗" for token in held.answers("wrong", self.example)}
        signs |= {token: "✓" for token in held.answers("answer", self.example)}
        for prompt in self.prompts():
            token = self._token(prompt.side)
            headings += [Heading(prompt.side, 0), Heading("logit", 7, right=True)]
            columns.append(_top(prompt, token, held, signs))
        count = max(map(len, columns))

        def item(row: int) -> Item:
            texts = (column[row] if row < len(column) else ("", "") for column in columns)
            return Item(tuple(text for pair in texts for text in pair))

        self.query_one("#next", Listing).show(headings, count, item)

    def on_resize(self) -> None:
        self.set_class(self.size.width >= WIDE, "wide")
        self.set_class(self.size.height >= TALL, "tall")
        self.call_after_refresh(self._show_all)

    @on(Tokens.Moved)
    def _token_moved(self) -> None:
        self._say_effect()
        self._show_attention()
        self._show_next()

    # ---- choosing

    def action_example(self, by: int) -> None:
        if self.pairs is not None and len(self.pairs):
            self.example = (self.example + by) % len(self.pairs)
            self.place = replace(self.place, example=None)
            self._show_all()

    def action_examples(self) -> None:
        """The effects in all pairs of what is laid on the token under the cursor."""
        if self.pairs is None:
            return
        found = self.laid.row_at(self.prompts()[0], self.example, self.query_one(Tokens).column[0])
        if found is None:
            self.notify("no step has an effect at this token", severity="warning")
        else:
            show_examples(self, *found)

    def action_dataset(self, by: int) -> None:
        if self.pairs is not None:
            self._open(turned(self.datasets, self.pairs.dataset, by))
            self._show_all()

    def action_effect(self, by: int) -> None:
        if self.pairs is not None:
            self.laid.turn(by)
            self._show_all()

    def action_value(self) -> None:
        """Means over all pairs, or what this pair alone has."""
        if self.pairs is not None:
            self.laid.is_own = not self.laid.is_own
            self._show_all()

    def action_head(self, by: int) -> None:
        if self.head is not None:
            at = (self.heads.index(self.head) + by) % len(self.heads)
            self.head = self.heads[at]
            self._show_all()

    def action_layer(self, by: int) -> None:
        if self.head is not None:
            layers = sorted({layer for layer, _ in self.heads})
            layer = layers[(layers.index(self.head[0]) + by) % len(layers)]
            self.head = nearest(self.heads, (layer, self.head[1]))
            self._show_all()

    def action_side(self) -> None:
        if self.pairs is not None and len(self.pairs.sides) > 1:
            self.at_side = 1 - self.at_side
            self._show_all()


def _top(
    prompt: Prompt, token: int | None, pairs: Pairs, signs: dict[int, str]
) -> list[tuple[str, str]]:
    """The likeliest tokens after a token and their logits, in words; the answer's marked ✓, the
    wrong one's ✗."""
    if prompt.top_ids is None or prompt.top_logits is None or token is None:
        return []
    found = zip(prompt.top_ids[token].tolist(), prompt.top_logits[token].tolist(), strict=True)
    return [
        (f"{signs.get(t, ' ')} {visible(pairs.text(t))}", number(float(logit), 2))
        for t, logit in found
    ]
