"""What is laid on the tokens of a pair: effects of a step's units at positions, as means over all
examples or of this pair alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.text import Text

from interp_dsl.runs.example_prompts import data_of
from interp_dsl.runs.examples import of_example
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.placed_effects import Effect, Overlay, effects, overlays
from interp_dsl.runs.prompts import Prompt
from interp_dsl.runs.text import exact, printable
from interp_dsl.tui.place import Place
from interp_dsl.tui.plans import read_plan
from interp_dsl.tui.widgets.scale import Scale, legend

if TYPE_CHECKING:
    import polars as pl

Effects = dict[int, Effect]


@dataclass
class Overlaid:
    """`tables` are those of the steps that have ended, `found` what can be laid on the prompts of
    `data`, `at` which of it is; `is_own`: not means, but the pair's own."""

    folder: RunFolder
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    found: list[Overlay] = field(default_factory=list)
    at: int = 0
    is_own: bool = False
    data: str = ""
    is_paired: bool = False
    _means: dict[tuple[Overlay, int], Effects] = field(default_factory=dict)
    _own: dict[tuple[Overlay, int], Effects | str] = field(default_factory=dict)

    def look(self, data: str, prompts: Sequence[Prompt]) -> None:
        """What the finished steps have to say of the prompts of some data: steps on other data have
        nothing to say of them."""
        before = self.layer
        self._means, self._own = {}, {}
        self.is_paired = len(prompts) > 1
        steps, plan = self.folder.steps, read_plan(self.folder)
        held = self.tables
        self.tables = {s: held[s] if s in held else self.folder.read_table(s) for s in steps}
        mine = {s: t for s, t in self.tables.items() if data_of(plan, s) in (None, data)}
        self.found, self.data = overlays(mine, prompts), data
        self.at = self.found.index(before) if before in self.found else 0

    @property
    def layer(self) -> Overlay | None:
        """What is laid on the tokens."""
        return self.found[self.at] if self.at < len(self.found) else None

    def go_to(self, place: Place) -> None:
        """Lay on the tokens what another view looks at."""
        wanted = Overlay(place.step or "", place.metric or "", place.unit or "")
        if wanted in self.found:
            self.at = self.found.index(wanted)

    def turn(self, by: int) -> None:
        self.at = (self.at + by) % max(1, len(self.found))

    def means(self, prompt: Prompt, example: int) -> Effects:
        """The mean effects at the tokens of a prompt."""
        layer = self.layer
        if layer is None:
            return {}
        key = layer, example
        if key not in self._means:
            self._means[key] = effects(self.tables[layer.step], layer, prompt)
        return self._means[key]

    def own(self, prompt: Prompt, example: int) -> Effects | str:
        """The effects in one pair alone, or why they are not known."""
        layer = self.layer
        if layer is None:
            return ""
        key = layer, example
        if key not in self._own:
            self._own[key] = self._of_one(layer, prompt, example)
        return self._own[key]

    def _of_one(self, layer: Overlay, prompt: Prompt, example: int) -> Effects | str:
        if data_of(read_plan(self.folder), layer.step) != self.data:
            return f"which pairs {layer.step} measured is not known"
        table = of_example(self.folder, layer.step, self.tables[layer.step], example)
        found = effects(table, layer, prompt) if len(table) else {}
        return found or f"{layer.step} keeps no values of single pairs"

    def shown(self, prompt: Prompt, example: int) -> Effects:
        """What is laid on the tokens now: the pair's own where they are known and asked for."""
        found = self.own(prompt, example) if self.is_own else ""
        return self.means(prompt, example) if isinstance(found, str) else found

    def words(self, prompt: Prompt, example: int, token: int | None, colours: Scale) -> list[Text]:
        """The scale, and of a token the mean effect and that in the pair."""
        layer, shown = self.layer, self.shown(prompt, example)
        if layer is None or not shown:
            return [Text(self.remedy(), colours.muted)]
        limit = max(abs(effect.value) for effect in shown.values())
        parts = [legend(colours, limit, f"effect on {printable(layer.metric)}", 44)]
        mean = None if token is None else self.means(prompt, example).get(token)
        if mean is not None:
            part = Text().append(f"{printable(mean.unit)} here {exact(mean.value)}", colours.strong)
            parts.append(part.append(f", mean of {mean.n:,}" if mean.n else "", colours.muted))
        found = self.own(prompt, example)
        own = None if isinstance(found, str) or token is None else found.get(token)
        if own is not None:
            part = Text().append(f"{printable(own.unit)} {exact(own.value)}", colours.strong)
            parts.append(part.append(f" in this {self.one}", colours.muted))
        elif isinstance(found, str):
            parts.append(Text(found, colours.muted))
        return parts

    def row_at(self, prompt: Prompt, example: int, token: int | None) -> tuple[str, int] | None:
        """The step, and the row of its table whose effect stands at a token."""
        layer = self.layer
        here = None if token is None else self.shown(prompt, example).get(token)
        if layer is None or here is None:
            return None
        at = ("unit", here.unit), ("metric", layer.metric), ("position", here.position)
        rows = self.tables[layer.step].with_row_index("#").filter(**dict(at))["#"]
        return (layer.step, int(rows[0])) if len(rows) else None

    @property
    def one(self) -> str:
        """What an example is called."""
        return "pair" if self.is_paired else "prompt"

    def remedy(self) -> str:
        """The line that would measure effects at the tokens of these prompts."""
        data = self.data
        paired = f"patch heads at each from {data}.corrupt into {data}.clean"
        step = paired if self.is_paired else f"ablate heads at each with zero on {data}"
        return f"no step has effects at its tokens. Add: step placed = {step} measure …"
