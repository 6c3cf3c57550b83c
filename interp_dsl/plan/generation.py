"""The task of continuing texts."""

from __future__ import annotations

from dataclasses import dataclass

from interp_dsl.plan.algebra import Run
from interp_dsl.plan.origin import Place

PLAIN = "plain"
"""The name of what is continued without any intervention of the step."""


def control(name: str) -> str:
    """The name of as long a change in a random direction beside an intervention."""
    return f"random({name})"


@dataclass(frozen=True, slots=True)
class Continuation:
    """A run whose prompts are continued, and its name in the tables. The interventions numbered in
    `turned` change as much, but in a random direction: the control of steering."""

    name: str
    run: Run
    turned: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Generate:
    """Continue each prompt by `tokens` tokens, or to the end of its text: plain, and in every other
    run; the result is a score table named `step`, with tables of texts and of tokens behind its
    name. Greedy where `temperature` is 0; else tokens are drawn, from the most likely ones that
    have `top_p` of the probability. `seed` is of what is drawn. `words` are counted in the texts.
    `batch` prompts are continued at once."""

    id: str
    step: str
    continuations: tuple[Continuation, ...]
    tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    words: tuple[str, ...] = ()
    batch: int | None = None
    key: str | None = None
    place: Place | None = None

    @property
    def run(self) -> Run:
        """What the others are compared with."""
        return self.continuations[0].run

    @property
    def streams(self) -> int:
        """Texts that go through the model for each prompt: all but the plain ones twice, once as
        the plain model reads them."""
        return 2 * len(self.continuations) - 1
