"""What numbers and strings of the language stand for."""

from __future__ import annotations

import re

_THOUSANDS = {"k": 3, "M": 6, "B": 9}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([\s\S]))")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}


def number(text: str) -> tuple[int | float, str]:
    """Value and suffix (`%`, `x` or nothing) of a number.

    `50M` and `1e6` are whole numbers, `1.0` is not. OverflowError when it is too large."""
    digits = text.replace("_", "").rstrip("kMBx%")
    suffix = text[-1] if text[-1] in "%x" else ""
    mantissa, _, exponent = digits.replace("E", "e").partition("e")
    if len(mantissa) > 1000 or len(exponent) > 5:
        raise OverflowError(text)
    shift = int(exponent or 0) + _THOUSANDS.get(text[-1], 0)
    if "." not in mantissa and shift == 0:
        return int(mantissa), suffix
    value = float(f"{mantissa}e{shift}")
    if value == float("inf"):
        raise OverflowError(text)
    return int(value) if shift > 0 and value.is_integer() else value, suffix


def string(literal: str) -> tuple[str, list[tuple[int, int]]]:
    """The text of a string literal (quotes included), and where its bad escapes are."""
    quotes = 3 if literal.startswith('"""') else 1
    bad: list[tuple[int, int]] = []

    def unescape(escape: re.Match[str]) -> str:
        found = _character(escape)
        if found is None:
            bad.append((escape.start() + quotes, escape.end() + quotes))
        return found or ""

    return _ESCAPE.sub(unescape, literal[quotes:-quotes]), bad


def _character(escape: re.Match[str]) -> str | None:
    digits = escape[1] or escape[2] or escape[3]
    if digits is None:
        return _ESCAPES.get(escape[4])
    point = int(digits, 16)
    return None if point > 0x10FFFF or 0xD800 <= point < 0xE000 else chr(point)
