"""The registry of diagnostic codes: one text file a code in this folder, `E201.txt`.

The first line is the title; the rest tells what the code means, why it is an error and how to
mend it, with an example. `interp explain E201` prints it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Code:
    code: str
    title: str
    text: str


def all_codes() -> list[str]:
    """Every registered code, sorted."""
    return sorted(f.name[:-4] for f in files(__package__).iterdir() if f.name.endswith(".txt"))


def lookup(code: str) -> Code | None:
    """The entry of a code, None when there is none."""
    if code not in all_codes():
        return None
    title, _, text = files(__package__).joinpath(f"{code}.txt").read_text("utf-8").partition("\n")
    return Code(code, title.strip(), text.strip())
