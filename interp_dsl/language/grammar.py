"""The grammar's files and the parser built from them."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from functools import cache
from io import BytesIO
from pathlib import Path

import lark

_PACKAGE = Path(__file__).resolve().parent.parent
_DIGEST = hashlib.sha256().digest_size


def grammar_directory() -> Path:
    """The folder of the grammar files: in an installed package, or beside it in a checkout."""
    installed = _PACKAGE / "grammar"
    return installed if (installed / "interp.lark").exists() else _PACKAGE.parent / "grammar"


@cache
def parser() -> lark.Lark:
    """The parser of one statement, from the user's cache where it holds this grammar's."""
    path = _cache_path()
    cached = _load(path) if path else None
    if cached is not None:
        return cached
    built = lark.Lark(
        (grammar_directory() / "interp.lark").read_text("utf-8"),
        import_paths=[str(grammar_directory())],
        source_path=str(grammar_directory() / "interp.lark"),
        parser="lalr",
        lexer="contextual",
        maybe_placeholders=False,
    )
    if path:
        _store(built, path)
    return built


def _cache_path() -> Path | None:
    """Where the built parser is kept; None when the user has no cache folder."""
    key = hashlib.sha256(f"{lark.__version__} {sys.version}".encode())
    for file in sorted(grammar_directory().glob("*.lark")):
        key.update(file.read_bytes())
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        try:
            base = Path.home() / ".cache"
        except RuntimeError:
            return None
    return base / "interp" / f"grammar-{key.hexdigest()[:24]}.bin"


def _load(path: Path) -> lark.Lark | None:
    try:
        content = path.read_bytes()
        digest, payload = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(payload).digest() != digest:
            return None
        return lark.Lark.load(BytesIO(payload))
    except Exception:
        # Whatever a damaged or foreign file does to the unpickler, building anew mends it.
        return None


def _store(built: lark.Lark, path: Path) -> None:
    payload = BytesIO()
    built.save(payload)
    content = payload.getvalue()
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        os.replace(temporary, path)
    except OSError:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
