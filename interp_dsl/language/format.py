"""The formatter: one layout for every file, comments kept, nothing to choose.

A statement stays on one line where it fits; a longer one breaks before its clauses, then at the
commas and operators of a part that is still too long. Declarations that stand together are
aligned. The tokens themselves never change, so a formatted file means what it meant."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from interp_dsl.language import tree
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.language.layout import STEP, Lines, fill
from interp_dsl.language.parse import parse
from interp_dsl.language.pieces import Landmarks, pieces
from interp_dsl.language.scan import Token, tokens
from interp_dsl.language.source import Source

_BODY = 2


def format_source(source: Source) -> str:
    """The file in its one layout; raises InterpError, with all errors, where it does not parse."""
    program, problems = parse(source)
    if problems:
        raise InterpError(*problems)
    _, items = _items(source.text, 0, program.statements, program.comments)
    writer = _Writer(program)
    for run in _runs(items):
        writer.run(run)
    return writer.lines.text()


# ---- what stands in a file, and in a dataset's body


@dataclass(frozen=True)
class _Item:
    """A statement or an entry of a body with the comment behind it, or a comment by itself."""

    node: tree.Node | tree.Comment
    blank_before: bool
    trailing: tree.Comment | None = None


def _items(
    text: str, start: int, nodes: Sequence[tree.Node], comments: Iterable[tree.Comment]
) -> tuple[tree.Comment | None, list[_Item]]:
    """The nodes and the comments around them; first the comment behind what opens them all."""
    opening: tree.Comment | None = None
    items: list[_Item] = []
    end = start
    for thing in _in_order(nodes, comments):
        lines = text.count("\n", end, thing.span.start)
        end = thing.span.end
        if not isinstance(thing, tree.Comment) or thing.own_line:
            items.append(_Item(thing, lines > 1 and bool(items)))
        elif items:
            items[-1] = replace(items[-1], trailing=thing)
        else:
            opening = thing
    return opening, items


def _in_order(
    nodes: Sequence[tree.Node], comments: Iterable[tree.Comment]
) -> list[tree.Node | tree.Comment]:
    """Nodes and comments by place, without the comments inside a node."""
    starts = [node.span.start for node in nodes]
    outside = []
    for comment in comments:
        i = bisect_right(starts, comment.span.start) - 1
        if i < 0 or nodes[i].span.end <= comment.span.start:
            outside.append(comment)
    return sorted((*nodes, *outside), key=lambda thing: thing.span.start)


# ---- columns


def _runs(items: list[_Item]) -> Iterator[list[_Item]]:
    """Items that share columns: a blank line or a dataset's body parts them."""
    run: list[_Item] = []
    for item in items:
        if run and (item.blank_before or _body(item) or _body(run[-1])):
            yield run
            run = []
        run.append(item)
    if run:
        yield run


def _body(item: _Item) -> tree.Body | None:
    return item.node.body if isinstance(item.node, tree.Declaration) else None


def _head(node: tree.Node | tree.Comment) -> tuple[str, ...]:
    """What of a statement stands in columns."""
    match node:
        case tree.Declaration():
            return node.keyword, node.name.id, "="
        case tree.Sweep():
            return "param", node.name.id, "in"
        case tree.Import() | tree.Show() | tree.Expect():
            return (type(node).__name__.lower(),)
        case _:
            return ()


# ---- writing


class _Writer:
    def __init__(self, program: tree.Program) -> None:
        self.lines = Lines()
        self.text = program.source.text
        self.comments = {comment.span.start: comment for comment in program.comments}

    def run(self, items: list[_Item]) -> None:
        heads = [_head(item.node) for item in items]
        keyword = max(len(head[0]) if head else 0 for head in heads)
        name = max(len(head[1]) if len(head) > 1 else 0 for head in heads)
        for item, head in zip(items, heads, strict=True):
            if item.blank_before:
                self.lines.blank()
            if isinstance(item.node, tree.Comment):
                self.lines.comment(item.node, 0)
            else:
                self.lines.start(0)
                self.statement(item.node, head, (keyword + 1, keyword + name + 2))
            self.trail(item.trailing)

    def trail(self, comment: tree.Comment | None) -> None:
        if comment is not None:
            self.lines.comment(comment, 0)

    def statement(self, node: tree.Node, head: tuple[str, ...], columns: tuple[int, int]) -> None:
        body = node.body if isinstance(node, tree.Declaration) else None
        found = self.tokens(node.span.start, body.span.start if body else node.span.end)
        marks = Landmarks.of(node)
        places = iter((*columns, 0))
        for _ in head:
            while found[0].kind == "comment":
                self.lines.comment(self.comments[found.pop(0).start], STEP)
            self.lines.add(found.pop(0).text)
            self.lines.space_to(max(next(places), self.lines.column + 1))
        fill(self.lines, list(pieces(found, marks, self.comments)), self.lines.next_column)
        if body:
            self.body(body, marks)

    def body(self, body: tree.Body, marks: Landmarks) -> None:
        start, end = body.span.start + 1, body.span.end - 1
        comments = [c for place, c in self.comments.items() if start <= place < end]
        opening, items = _items(self.text, start, body.entries, comments)
        self.lines.add("{", True)
        self.trail(opening)
        found = [self.tokens(item.node.span.start, item.node.span.end) for item in items]
        words = [entry[0] for entry in found if entry[0].kind == "word"]
        column = _BODY + max((len(word.text) for word in words), default=0) + 1
        for item, (word, *values) in zip(items, found, strict=True):
            if item.blank_before:
                self.lines.blank()
            if isinstance(item.node, tree.Comment):
                self.lines.comment(item.node, _BODY)
            else:
                self.lines.start(_BODY)
                self.lines.add(word.text)
                self.lines.space_to(column)
                # Values go on below the first of them, not a step further in.
                fill(self.lines, list(pieces(values, marks, self.comments)), column - STEP)
            self.trail(item.trailing)
        if items or opening:
            self.lines.start(0)
        self.lines.add("}")

    def tokens(self, start: int, end: int) -> list[Token]:
        return list(tokens(self.text, start, end))
