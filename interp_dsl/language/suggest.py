"""The nearest known name to one that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def suggest(name: str, candidates: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The candidate most like `name`, None when none is near: no hint beats a poor one."""
    known = {candidate.lower(): candidate for candidate in sorted(set(candidates), reverse=True)}
    found = get_close_matches(name.lower()[:100], known, n=1, cutoff=cutoff)
    return known[found[0]] if found else None
