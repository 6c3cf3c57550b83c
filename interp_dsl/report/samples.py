"""The texts of `generate` for a page: behind each prompt all of them, what the plain one has not
marked."""

from __future__ import annotations

from dataclasses import dataclass

from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.samples import Sample, Samples
from interp_dsl.runs.text import number

MOST = 12
"""Prompts in a page."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt and what was written behind it; `numbers` of each text as they are shown."""

    before: str
    samples: tuple[tuple[Sample, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Texts:
    """The first prompts of a step; `left_out` are not among them."""

    prompts: tuple[Prompt, ...]
    left_out: int


def texts(folder: RunFolder, step: str) -> Texts:
    """What a step of `generate` has written."""
    held = Samples(folder, step)
    shown = range(min(MOST, len(held)))
    prompts = tuple(
        Prompt(held.before(i), tuple((s, _numbers(s)) for s in held.samples(i))) for i in shown
    )
    return Texts(prompts, len(held) - len(prompts))


def _numbers(sample: Sample) -> tuple[str, ...]:
    return tuple(
        number(v, 3, signed=False) for v in (sample.logprob, sample.own_logprob, sample.kl)
    )
