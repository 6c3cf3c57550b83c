"""Which steps of a run relate features, and which feature is looked at."""

from __future__ import annotations

from dataclasses import dataclass, field

from interp_dsl.runs.bases import Node
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.relations import Meanings, Neighbour, Relations, relations
from interp_dsl.tui.plans import read_plan
from interp_dsl.tui.stepped import kept


@dataclass
class Related:
    """`step`, `measure` and `node` say what is looked at; `whence` are the features that one came
    from."""

    folder: RunFolder
    step: str = ""
    measure: str = ""
    node: Node = ("", 0)
    steps: list[str] = field(default_factory=list)
    whence: list[Node] = field(default_factory=list)
    _relations: dict[str, Relations] = field(default_factory=dict)
    _meanings: dict[str, Meanings] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def read(self) -> bool:
        """See which steps there are now; whether there is a new one."""
        new = [s for s in self.folder.steps if s.endswith(".pairs") and s not in self._seen]
        self._seen |= {*new}
        before = len(self.steps)
        for name in new:
            step = name.removesuffix(".pairs")
            found = relations(self.folder, step)
            if found is not None:
                self._relations[step] = found
                self.steps.append(step)
        self._meanings.clear()
        if self.steps and not self.step:
            self.choose(step=self.steps[0])
        return len(self.steps) > before

    def choose(self, step: str) -> None:
        """Another step; the feature stays where it has it."""
        self.step = step
        self.measure = kept(self.measure, self.relations.measures)
        if not any(k == self.node[1] for k, _ in self._features(self.node[0])):
            self.go_to_layer(kept(self.node[0], self.relations.layers))

    def go_to_layer(self, layer: str) -> None:
        """The best related feature of a place."""
        self.node = (layer, self._features(layer)[0][0])

    def walk(self, node: Node) -> None:
        self.whence.append(self.node)
        self.node = node

    def back(self) -> bool:
        """Back to where one came from; whether there is such a feature."""
        if self.whence:
            self.node = self.whence.pop()
            return True
        return False

    @property
    def relations(self) -> Relations:
        return self._relations[self.step]

    @property
    def meanings(self) -> Meanings:
        """What is known of the features' meaning by now."""
        if self.step not in self._meanings:
            plan = read_plan(self.folder)
            self._meanings[self.step] = Meanings(self.folder, plan, self.step)
        return self._meanings[self.step]

    @property
    def features(self) -> list[tuple[int, float]]:
        return self._features(self.node[0])

    def _features(self, layer: str) -> list[tuple[int, float]]:
        known = layer in self.relations.layers
        return self.relations.features(layer, self.measure) if known else []

    @property
    def below(self) -> list[Neighbour]:
        return self.relations.neighbours(self.node, self.measure, above=False)

    @property
    def above(self) -> list[Neighbour]:
        return self.relations.neighbours(self.node, self.measure, above=True)

    def place(self, name: str) -> str:
        """The place of a list: below, here or above; empty where there is none."""
        layers = self.relations.layers
        at = layers.index(self.node[0]) + {"below": -1, "here": 0, "above": 1}[name]
        return layers[at] if 0 <= at < len(layers) else ""
