"""Text of any origin inside XML."""

from __future__ import annotations

from xml.sax.saxutils import escape


def text(value: str) -> str:
    """`value` as it stands between tags and between double quotes; characters that XML 1.0 cannot
    hold become the replacement character."""
    return escape("".join(map(_allowed, value)), {'"': "&quot;", "\n": "&#10;", "\r": "&#13;"})


def _allowed(character: str) -> str:
    point = ord(character)
    fits = (
        character in "\t\n\r"
        or 0x20 <= point <= 0xD7FF
        or 0xE000 <= point <= 0xFFFD
        or point >= 0x10000
    )
    return character if fits else "\N{REPLACEMENT CHARACTER}"
