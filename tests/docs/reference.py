"""The language reference as data: its snippets, sections and tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
LANGUAGE = REPOSITORY / "grammar" / "language.md"
README = REPOSITORY / "README.md"

_FENCE = re.compile(
    r"(?:^<!-- (?P<key>name|after): (?P<value>\w+) -->\n)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_CALL = re.compile(r"`(\w+)\(([\w, ]*)\)`")


@dataclass(frozen=True)
class Snippet:
    """A fenced block. `name` is what others follow, `after` the name of what it follows."""

    text: str
    language: str
    line: int
    name: str | None = None
    after: str | None = None


def snippets(path: Path) -> list[Snippet]:
    """The fenced blocks of a page."""
    page = path.read_text("utf-8")
    return [
        Snippet(
            found["text"],
            found["language"],
            page.count("\n", 0, found.start("text")) + 1,
            **({found["key"]: found["value"]} if found["key"] else {}),
        )
        for found in _FENCE.finditer(page)
    ]


def program(snippet: Snippet, others: list[Snippet]) -> str:
    """A snippet behind what it follows."""
    if snippet.after is None:
        return snippet.text
    before = next(s for s in others if s.name == snippet.after)
    return f"{before.text}\n{snippet.text}"


def section(title: str) -> str:
    """The text of a section of the language reference, subsections included."""
    page = LANGUAGE.read_text("utf-8")
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"the reference has no section {title}"
    return found[1]


def table(text: str, first: str) -> list[dict[str, str]]:
    """The rows of the table whose first column is headed `first`, cells by heading."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} |"))
    headings = _cells(lines[start])
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(headings, _cells(line), strict=True)))
    return rows


def _cells(line: str) -> list[str]:
    """The cells of a table's line; `\\|` is no border."""
    inner = re.split(r"(?<!\\)\|", line.strip())[1:-1]
    return [cell.strip().replace("`", "") for cell in inner]


def headed_calls(text: str) -> dict[str, list[str]]:
    """The functions that are headings of their own, with their arguments in order."""
    headings = [line for line in text.splitlines() if line.startswith("### ")]
    calls = [_CALL.search(line) for line in headings]
    return {c[1]: [a.strip() for a in c[2].split(",")] for c in calls if c}


def code_words(text: str) -> set[str]:
    """The words that stand in code, inline or fenced."""
    spans = re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL)
    return {word for span in spans for word in re.findall(r"\w+", span)}
