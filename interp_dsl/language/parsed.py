"""Lark's parse trees: their children, and where they stand in the slice that was parsed."""

from __future__ import annotations

from typing import TypeAlias, cast

import lark

Parsed: TypeAlias = lark.Tree[lark.Token]


def start_of(parsed: Parsed) -> int:
    """Where the first token of a tree begins. No tree begins with one that may be empty."""
    child: Parsed | lark.Token = parsed
    while isinstance(child, lark.Tree):
        child = child.children[0]
    return cast(int, child.start_pos)


def end_of(parsed: Parsed) -> int:
    """Where the last token of a tree ends. A step without objects ends before their empty tree."""
    child: Parsed | lark.Token = parsed
    while isinstance(child, lark.Tree):
        *others, last = child.children
        child = last if isinstance(last, lark.Token) or last.children else others[-1]
    return cast(int, child.end_pos)


def subtrees(parsed: Parsed) -> list[Parsed]:
    return [child for child in parsed.children if isinstance(child, lark.Tree)]


def subtree(parsed: Parsed, index: int) -> Parsed:
    return cast(Parsed, parsed.children[index])


def token_at(parsed: Parsed, index: int) -> lark.Token:
    return cast(lark.Token, parsed.children[index])
