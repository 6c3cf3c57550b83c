"""Plans rewritten from the inside: one kind of part replaced wherever it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

T = TypeVar("T")


def rewritten(value: T, kind: type, change: Callable[[Any], Any]) -> T:
    """The value with every part of a kind changed, inner parts first. Parts that stay the same are
    the same objects."""
    found: Any = value
    if isinstance(value, tuple):
        items = tuple(rewritten(item, kind, change) for item in value)
        found = value if all(a is b for a, b in zip(items, value, strict=True)) else items
    elif is_dataclass(value) and not isinstance(value, type):
        held = {f.name: getattr(value, f.name) for f in fields(value)}
        new = {name: rewritten(part, kind, change) for name, part in held.items()}
        changed = {name: part for name, part in new.items() if part is not held[name]}
        found = replace(value, **changed) if changed else value
    made: T = change(found) if isinstance(found, kind) else found
    return made


def parts(value: object, kind: type[T]) -> Iterator[T]:
    """Every part of a kind, inner ones too."""
    if isinstance(value, kind):
        yield value
    if isinstance(value, tuple):
        for item in value:
            yield from parts(item, kind)
    elif is_dataclass(value) and not isinstance(value, type):
        for f in fields(value):
            yield from parts(getattr(value, f.name), kind)
