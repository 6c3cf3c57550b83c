"""What a feature takes from one above when it is ablated (Balcells et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.engine.harvest import Harvest
from interp_dsl.engine.splice import splice
from interp_dsl.plan.dictionaries import Fitted

ON = 0.01
"""The share of its largest activation from which the upper feature counts as on."""


class Ablation:
    """A lower feature is taken out of the activation, x - f_i d_i, with what the dictionary leaves
    unexplained kept; the upper dictionary reads what the model makes of that."""

    def __init__(
        self, harvest: Harvest, below: Fitted, above: Fitted, dictionaries: Sequence[Dictionary]
    ) -> None:
        self.harvest = harvest
        self.lower, self.upper = below.target, above.target
        self.below, self.above = dictionaries
        self.examples: Tensor
        self._x: Tensor
        self._f: Tensor
        self._g: Tensor

    def see(self, examples: Tensor) -> None:
        """The prompts on which features are ablated, as they are."""
        self.examples = examples
        _, block = self.harvest.of(examples)
        self._x = block[self.lower]
        self._f, self._g = self.below.encode(self._x), self.above.encode(block[self.upper])

    def of(self, i: int, j: int) -> dict[str, float | int | None]:
        """The change of upper feature j without lower feature i, on tokens that j is on."""
        out = self._x - self._f[:, i : i + 1] * self.below.tensors["W_dec"][i]
        edits = splice(self.lower, self.harvest.kept(self.examples), out)
        _, block = self.harvest.of(self.examples, edits)
        before, after = self._g[:, j], self.above.encode(block[self.upper])[:, j]
        on = before > ON * before.max()
        n = int(on.sum())
        if not n:
            return {"effect": None, "std": None, "lost": None, "n": 0}
        change = (after - before)[on].double()
        effect = float(change.mean())
        return {
            "effect": effect,
            "std": float(change.std(correction=0)),
            "lost": -effect / float(before[on].double().mean()),
            "n": n,
        }
