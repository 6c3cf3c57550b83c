"""The grammar's files, its tables, and the cache of the built parser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lark
import pytest

from interp_dsl.language import grammar
from interp_dsl.language.grammar import grammar_directory, parser
from interp_dsl.language.suggest import suggest


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    parser.cache_clear()
    yield tmp_path / "interp"
    parser.cache_clear()


def parsed() -> str:
    return parser().parse("step a = patch {L0H1} from -x into y").pretty()


def test_the_grammar_has_no_conflicts(caplog: pytest.LogCaptureFixture) -> None:
    """Lark raises on two reductions, and settles a shift against one with a note in its log."""
    directory = grammar_directory()
    level = lark.logger.level
    lark.logger.setLevel("DEBUG")
    try:
        lark.Lark(
            (directory / "interp.lark").read_text("utf-8"),
            import_paths=[str(directory)],
            parser="lalr",
            debug=True,
        )
    finally:
        lark.logger.setLevel(level)
    assert [record.message for record in caplog.records if "onflict" in record.message] == []


def test_the_built_parser_is_kept_and_read_again(cache: Path) -> None:
    first = parsed()
    (kept,) = cache.iterdir()
    content = kept.read_bytes()
    parser.cache_clear()
    kept.touch()
    assert parsed() == first
    assert [path.read_bytes() for path in cache.iterdir()] == [content]


@pytest.mark.parametrize("damage", [b"", b"\x00" * 100, None])
def test_a_damaged_cache_is_built_anew(cache: Path, damage: bytes | None) -> None:
    first = parsed()
    (kept,) = cache.iterdir()
    content = kept.read_bytes()
    kept.write_bytes(content[:-1] + b"\x00" if damage is None else damage)
    parser.cache_clear()
    assert parsed() == first
    parser.cache_clear()
    assert kept.read_bytes()[32:] != content[32:-1] + b"\x00"


def test_a_cache_folder_that_cannot_be_written_does_no_harm(cache: Path) -> None:
    cache.write_text("a file where the folder would be")
    assert "step" in parsed()


def test_the_grammar_is_found_in_a_package_and_beside_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(grammar, "_PACKAGE", tmp_path / "interp_dsl")
    assert grammar_directory() == tmp_path / "grammar"
    inside = tmp_path / "interp_dsl" / "grammar"
    inside.mkdir(parents=True)
    (inside / "interp.lark").touch()
    assert grammar_directory() == inside


def test_reading_programs_imports_nothing_heavy() -> None:
    code = (
        "import sys, interp_dsl.language.format, interp_dsl.language.render;"
        "sys.exit(any(name in sys.modules for name in"
        " ('torch', 'polars', 'transformers', 'numpy', 'rich', 'textual')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("word", "expected"),
    [("stpe", "step"), ("STEP", "step"), ("metrics", "metric"), ("qqq", None), ("", None)],
)
def test_suggestions(word: str, expected: str | None) -> None:
    assert suggest(word, ["step", "metric", "model"]) == expected
