"""The registry of diagnostic codes: a title and the long explanation of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """`title` names the fault in a few words; `text` explains it and how to mend it."""

    code: str
    title: str
    text: str


CODES: dict[str, Code] = {}


def register(code: str, title: str, text: str) -> None:
    if code in CODES:
        raise ValueError(f"code {code} is registered twice")
    CODES[code] = Code(code, title, text)
