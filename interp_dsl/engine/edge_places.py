"""At which tokens of a run edges are told apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from interp_dsl.engine.state import State
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.edits import moved
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.places import ALL, Positions, Unit


def where(positions: Positions, run: Run, width: int, state: State) -> Tensor:
    """The tokens that positions name [n, T], on the run's device."""

    def make() -> Tensor:
        at = state.slots(run, positions)
        found = torch.zeros(len(at.index), width, dtype=torch.bool)
        found.scatter_(1, at.index, at.some[:, None].expand_as(at.index))
        return moved(found, state.device(run))

    return state.once(("edges at", run, positions), make)


def places_of(units: Iterable[Unit], run: Run, width: int, state: State) -> tuple[Positions, ...]:
    """The places of a graph by position in which units of edges are told apart: theirs, and behind
    them one of all tokens that are of none. None where units name no positions."""
    found = list(dict.fromkeys(t.positions for unit in units for t in unit.targets))
    if found in ([], [ALL]):
        return ()
    rest = _but(found)
    return (*found, rest) if bool(where(rest, run, width, state).any()) else tuple(found)


def marks(places: Sequence[Positions], run: Run, width: int, state: State) -> Tensor:
    """The tokens of each place [P, n, T]; padding counts to the first. Raises InterpError E658 for
    a token that is of two places, or of none."""
    at = torch.stack([where(place, run, width, state) for place in places])
    count = at.sum(0)
    lengths = moved(torch.from_numpy(state.side(run).lengths), at.device)
    is_real = torch.arange(width, device=at.device)[None] < lengths[:, None]
    wrong = (is_real & (count != 1)).nonzero()
    if len(wrong):
        raise _not_apart(places, at, wrong[0].tolist(), run)
    at[0] |= ~is_real
    at[1:] &= is_real
    return at


def _but(places: Sequence[Positions]) -> Positions:
    """All positions but these."""
    is_simple = len(places) == 1 and not places[0].parts
    out = places[0] if is_simple else Positions("union", parts=tuple(places))
    return Positions("minus", parts=(ALL, out))


def _not_apart(
    places: Sequence[Positions], at: Tensor, token: Sequence[int], run: Run
) -> InterpError:
    prompt, position = token
    held = [
        str(place)
        for place, is_there in zip(places, at[:, prompt, position], strict=True)
        if is_there
    ]
    which = f"token {position} of prompt {prompt} of {run.side}"
    if held:
        said, why = (
            f"{which} is of two places, {held[0]} and {held[1]}",
            "an edge there has one row",
        )
        remedy = "name every token once; together(…) makes one place of several"
    else:
        said, why = f"{which} is of no place of the circuit", "its edges are told by position"
        remedy = "evaluate it on prompts that have its positions and no others"
    return InterpError(Diagnostic("E658", said, notes=(why,), help=remedy), exit_code=1)
