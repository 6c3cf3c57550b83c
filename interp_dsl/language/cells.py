"""Text as a terminal shows it: tabs, wide and unprintable characters, counted in cells."""

from __future__ import annotations

from unicodedata import category, east_asian_width

TAB = 4


def clean(text: str) -> str:
    """Text that is safe to print: whatever could steer a terminal stands as a visible sign."""
    return text if text.isascii() and text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character in ("\t", "\n") or character.isprintable():
        return character
    point = ord(character)
    if point < 0x20:
        return chr(0x2400 + point)
    if character == "\x7f":
        return "␡"
    return " " if category(character) == "Zs" else "\N{REPLACEMENT CHARACTER}"


def width(character: str) -> int:
    """The cells of one character that is not a tab."""
    if category(character) in ("Mn", "Me"):
        return 0
    return 2 if east_asian_width(character) in ("W", "F") else 1


def cells(text: str) -> int:
    """The cells of a line from its start, tabs going to the next stop."""
    if text.isascii() and "\t" not in text:
        return len(text)
    total = 0
    for character in text:
        total += TAB - total % TAB if character == "\t" else width(character)
    return total


def expand(text: str) -> str:
    """A line with its tabs as spaces."""
    parts = text.split("\t")
    line = ""
    for part in parts[:-1]:
        line += part
        line += " " * (TAB - cells(line) % TAB)
    return line + parts[-1]
