"""Whether models read the same data as the same tokens."""

from __future__ import annotations

from collections.abc import Mapping

from interp_dsl.data.alignment import side_by_side
from interp_dsl.data.types import Side
from interp_dsl.language.diagnostics import Diagnostic, InterpError


def require_same(data: str, read: Mapping[str, Side]) -> None:
    """Of a side of `data`, as each model by name reads it: the same tokens, prompt by prompt.
    Raises InterpError E426, which shows the numbers of the first prompt's tokens that differ."""
    (first, one), *others = read.items()
    for name, other in others:
        wrong = _differing(one, other)
        if wrong is None:
            continue
        notes = (f"one has {len(one.lengths):,} prompts, the other {len(other.lengths):,}",)
        if wrong < min(len(one.lengths), len(other.lengths)):
            ids = (_prompt(one, wrong), _prompt(other, wrong))
            said = side_by_side(ids, (first, name), str)
            notes = (f"prompt {wrong}, by the numbers of its tokens:\n{said}",)
        raise InterpError(
            Diagnostic(
                "E426",
                f"`{first}` and `{name}` read `{data}` as different tokens",
                notes=notes,
                help="take models of one tokenizer, and text that is not drawn from a vocabulary",
            ),
            exit_code=1,
        )


def _differing(one: Side, other: Side) -> int | None:
    """The first prompt that is not the same."""
    both = min(len(one.lengths), len(other.lengths))
    for i in range(both):
        if _prompt(one, i) != _prompt(other, i):
            return i
    return None if len(one.lengths) == len(other.lengths) else both


def _prompt(side: Side, i: int) -> list[int]:
    found: list[int] = side.tokens[i, : side.lengths[i]].tolist()
    return found
