"""The language's text with its words in tones: what opens statements, clauses, strings, remarks."""

from __future__ import annotations

import re

from rich.style import Style
from rich.text import Text

from interp_dsl.language.cells import clean
from interp_dsl.language.keywords import CLAUSES, OPERATORS, STATEMENTS
from interp_dsl.tui.tones import Tones

_TOKEN = re.compile(
    r'(?P<comment>\#[^\n]*)|(?P<string>"""(?s:.*?)"""|"[^"\n]*")'
    rf"|(?P<statement>^[ \t]*(?:{'|'.join(STATEMENTS)})\b)"
    rf"|(?P<clause>\b(?:{'|'.join((*CLAUSES, *OPERATORS))})\b)"
    r"|(?P<number>(?<![\w.])\d[\d_]*(?:\.\d+)?(?:e[+-]?\d+)?[kMBx%]?(?!\w))",
    re.MULTILINE,
)


def highlighted(text: str, tones: Tones) -> Text:
    """An experiment's text; characters that could steer a terminal are made visible."""
    shown = Text(clean(text), no_wrap=False)
    styles: dict[str, Style] = {
        "comment": tones.muted + Style(italic=True),
        "string": tones.good,
        "statement": tones.primary + tones.strong,
        "clause": tones.accent,
        "number": tones.warn,
    }
    for found in _TOKEN.finditer(shown.plain):
        shown.stylize(styles[str(found.lastgroup)], *found.span())
    return shown


def planned(text: str, tones: Tones) -> Text:
    """A plan as `explain` prints it: the tasks stand out from their details."""
    shown = Text()
    for line in clean(text).split("\n"):
        is_task = line.startswith(("├─", "└─"))
        is_total = line.startswith(("total", "plan", "note", "claim"))
        shown.append(line + "\n", tones.strong if is_task or is_total else tones.muted)
    return shown
