"""Setting pieces of text in lines of bounded width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from interp_dsl.language import tree
from interp_dsl.language.pieces import Piece

WIDTH = 120
STEP = 4


class Lines:
    """Lines under construction. Spaces wait for what follows them, so none ends a line; what
    follows a comment goes to a line of its own."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._gap = 0
        self._after_comment = False
        self.column = 0
        self._indent = 0

    def start(self, indent: int) -> None:
        """Begin a line, unless nothing stands yet."""
        if self._parts:
            self._parts.append("\n")
        self.column, self._gap, self._after_comment = 0, indent, False

    def blank(self) -> None:
        """Leave a line empty; one is begun after it as usual."""
        self._parts.append("\n")

    def space_to(self, column: int) -> None:
        """Let what follows stand at a column."""
        self._gap = max(0, column - self.column)

    @property
    def next_column(self) -> int:
        """Where what follows would stand."""
        return self._indent if self._after_comment else self.column + self._gap

    def add(self, text: str, space: bool = False) -> None:
        """Put text, behind a space or not."""
        if self._after_comment:
            self.start(self._indent)
        elif space:
            self._gap = max(self._gap, 1)
        self._parts.append(" " * self._gap + text)
        _, newline, last = text.rpartition("\n")
        self.column = len(last) if newline else self.column + self._gap + len(text)
        self._gap = 0

    def comment(self, comment: tree.Comment, indent: int) -> None:
        """Put a comment behind what stands on this line, or on its own; lines begin at `indent`."""
        self._indent = indent
        if comment.own_line:
            self.start(indent)
        else:
            self._gap = 2
        self.add(comment.text)
        self._after_comment = True

    def fits(self, width: int) -> bool:
        return self.next_column + width <= WIDTH

    def text(self) -> str:
        return "".join([*self._parts, "\n"]) if self._parts else ""


def fill(lines: Lines, pieces: Sequence[Piece], indent: int) -> None:
    """Put pieces where the current line stands; lines that they need begin at `indent`."""
    runs = list(_between_comments(pieces))
    for run, following in zip(runs, [*runs[1:], None], strict=True):
        comment = run[0].comment
        if comment is None:
            _place(lines, run, indent, 0)
        else:
            goes_on = following is not None and following[0].level not in (None, 0)
            lines.comment(comment, indent + STEP if goes_on else indent)


def _between_comments(pieces: Sequence[Piece]) -> Iterator[Sequence[Piece]]:
    start = 0
    for i, piece in enumerate(pieces):
        if piece.comment is not None:
            if start < i:
                yield pieces[start:i]
            yield pieces[i : i + 1]
            start = i + 1
    if start < len(pieces):
        yield pieces[start:]


def _place(lines: Lines, run: Sequence[Piece], indent: int, level: int) -> None:
    """Put a run on the line if it fits there, else break it where `level` says, each part anew."""
    deepest = max(piece.level or 0 for piece in run)
    if lines.fits(_width(run)) or level > deepest:
        for piece in run:
            lines.add(piece.text, piece.space)
        return
    parts = list(_parts(run, level))
    fresh = indent + STEP if level else indent
    was_broken = False
    for i, part in enumerate(parts):
        width = _width(part)
        if i and (was_broken or not lines.fits(width)):
            lines.start(fresh)
        was_broken = not lines.fits(width)
        _place(lines, part, fresh if len(parts) > 1 else indent, level + 1)


def _parts(run: Sequence[Piece], level: int) -> Iterator[Sequence[Piece]]:
    start = 0
    for i in range(1, len(run)):
        if run[i].level == level:
            yield run[start:i]
            start = i
    yield run[start:]


def _width(run: Sequence[Piece]) -> int:
    """The cells of a run up to the end of its first line."""
    width = 0
    for piece in run:
        head, newline, _ = piece.text.partition("\n")
        width += piece.space + len(head)
        if newline:
            break
    return width
