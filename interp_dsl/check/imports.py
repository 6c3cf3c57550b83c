"""The declarations of a file, and those of the files that it imports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from interp_dsl.check.paths import inside
from interp_dsl.check.scope import NOUNS, Declared, Rejected, Scope
from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.language.keywords import DECLARATIONS
from interp_dsl.language.parse import parse
from interp_dsl.language.source import Source, Span
from interp_dsl.language.suggest import suggest
from interp_dsl.language.tree import Declaration, Import, Name, Program, Sweep
from interp_dsl.models.sites import FAMILIES

_TAKEN = {
    **dict.fromkeys(FAMILIES, "a family of places"),
    **dict.fromkeys(("embed", "pos_embed", "logits"), "a place"),
    **dict.fromkeys(("all", "each", "first", "last"), "a position"),
    **dict.fromkeys(("zero", "blocked"), "a source"),
    **dict.fromkeys(("true", "false", "none"), "a plain value"),
    "lists": "the word lists",
}
_OPENING = re.compile(
    rf"^[ \t]*({'|'.join(DECLARATIONS)})[ \t]+([A-Za-z_]\w*)[ \t]*(?:=|in\b)", re.MULTILINE
)
_PLACE = re.compile(r"L\d+(H\d+)?")


def declare(program: Program, scope: Scope, chain: tuple[Path, ...]) -> None:
    """Enter the declarations of a file into its scope; `chain` are the files being imported."""
    scope.broken.update(_broken(program.source, scope))
    for statement in program.statements:
        match statement:
            case Import():
                try:
                    _import(statement, scope, chain)
                except Rejected:
                    scope.broken[statement.alias.id if statement.alias else ""] = "import"
            case Declaration(keyword=keyword):
                _declare(Declared(keyword, statement.name.id, statement, scope), scope)
            case Sweep():
                _declare(Declared("param", statement.name.id, statement, scope), scope)
    for name in scope.names:
        scope.broken.pop(name, None)


def _broken(source: Source, scope: Scope) -> Iterator[tuple[str, str]]:
    """What a file seems to declare: all that opens a statement, and the first words of every line
    that does not parse. What it does declare is taken from these."""
    yield from ((name, keyword) for keyword, name in _OPENING.findall(source.text))
    for found in scope.session.reported:
        if found.code.startswith("E1") and found.span and found.span.source is source:
            words = re.findall(r"[^\W\d]\w*", source.line_text(found.span.line))[:2]
            yield from ((word, "import") for word in ("", *words) if word or found.code == "E121")


def _declare(declared: Declared, scope: Scope) -> None:
    name, span = declared.name, declared.node.name.span
    taken = "a place" if _PLACE.fullmatch(name) else _TAKEN.get(name)
    if taken:
        scope.error(
            "E214",
            f"`{name}` is {taken} already",
            span,
            help=f"give {NOUNS[declared.keyword]} another name, as {name}_",
        )
        return
    if declared.keyword == "model":
        scope.session.declared_models.append(declared)
    _add(declared, scope, span)


def _add(declared: Declared, scope: Scope, span: Span) -> None:
    first = scope.names.get(declared.name)
    if first is declared:
        return
    if first is not None:
        _twice(declared.name, span, first.node.name.span, scope)
        return
    scope.names[declared.name] = declared
    if declared.keyword == "model":
        scope.models.append(declared)
    if declared.name in scope.aliases:
        _twice(declared.name, span, span, scope)


def _twice(name: str, span: Span, first: Span, scope: Scope) -> None:
    where = "" if first.source is span.source else f" of {first.source.name}"
    scope.error(
        "E202",
        f"`{name}` is declared twice",
        span,
        label="an import has this name" if first is span else f"also in line {first.line}{where}",
        help="give one of them another name",
    )


# ---- imports


def _import(statement: Import, scope: Scope, chain: tuple[Path, ...]) -> None:
    path = inside(statement.path.value, statement.path.span, scope)
    program = _read(path, statement, scope, chain)
    alias = statement.alias
    prefix = f"{scope.prefix}{alias.id}." if alias else scope.prefix
    key = (path.resolve(), prefix)
    inner = scope.session.files.get(key)
    if inner is None:
        inner = Scope(scope.session, path.parent, prefix)
        scope.session.files[key] = inner
        declare(program, inner, (*chain, path.resolve()))
    if alias:
        _alias(alias, inner, scope)
        return
    for declared in inner.names.values():
        _add(declared, scope, statement.path.span)
    scope.broken.update(inner.broken)
    for name, further in inner.aliases.items():
        scope.aliases.setdefault(name, further)


def _alias(alias: Name, inner: Scope, scope: Scope) -> None:
    first = scope.names.get(alias.id)
    if first is not None:
        _twice(alias.id, alias.span, first.node.name.span, scope)
    elif scope.aliases.setdefault(alias.id, inner) is not inner:
        _twice(alias.id, alias.span, alias.span, scope)


def _read(path: Path, statement: Import, scope: Scope, chain: tuple[Path, ...]) -> Program:
    span, real = statement.path.span, path.resolve()
    if real in chain:
        names = " → ".join(p.name for p in (*chain[chain.index(real) :], path))
        raise scope.reject(
            "E211",
            "these files import each other" if len(chain) > 1 else "this file imports itself",
            span,
            label=names,
            help="move what both need to a third file" if len(chain) > 1 else "delete the line",
        )
    programs = scope.session.programs
    if real not in programs:
        source = _text(path, statement, scope)
        programs[real], problems = parse(source)
        scope.session.reported.extend(problems)
    return programs[real]


def _text(path: Path, statement: Import, scope: Scope) -> Source:
    try:
        return Source(path.read_text("utf-8"), path)
    except (OSError, UnicodeError) as problem:
        reason = getattr(problem, "strerror", None) or "it is not UTF-8 text"
        raise scope.reject(
            "E211",
            f"cannot read `{statement.path.value}`",
            statement.path.span,
            label=str(reason).lower(),
            help=f"it is looked for at {path}",
        ) from None


# ---- the command line's parameters


def unknown_params(scope: Scope) -> None:
    """Report every `-p` that sets a parameter which no file has."""
    names = _params(scope)
    for name in scope.session.params:
        if name not in names and name not in scope.broken:
            near = suggest(name, names)
            listed = f"its parameters: {', '.join(names)}" if names else "it has no parameters"
            scope.session.reported.append(
                Diagnostic(
                    "E305",
                    f"`-p {name}=…` sets a parameter that this file does not have",
                    help=f"did you mean `{near}`?" if near else listed,
                )
            )


def _params(scope: Scope) -> list[str]:
    own = [d.id for d in scope.names.values() if d.keyword == "param"]
    behind = [name for inner in scope.aliases.values() for name in _params(inner)]
    return list(dict.fromkeys([*own, *behind]))
