"""`interp tui` and `interp run --tui` before any screen is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Interp


def test_without_a_terminal_it_says_what_to_use(interp: Interp, place: Path) -> None:
    code, out, err = interp("tui")
    assert (code, out) == (3, "")
    assert "E717" in err and "interp show" in err


def test_running_with_screens_needs_a_terminal_too(interp: Interp, place: Path) -> None:
    Path("x.interp").write_text('model m = bundled("ioi-3l")\n')
    code, _, err = interp("run", "x.interp", "--tui")
    assert code == 3 and "E717" in err
    assert len(list(Path("runs").iterdir())) == 2  # nothing was run


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """A terminal, and screens that only note what they were asked to show."""
    from interp_dsl import tui

    asked: list[tuple[object, ...]] = []

    def main(*given: object) -> tui.Left:
        asked.append(given)
        return tui.Left(Path("runs/new"), None, True, 0)

    monkeypatch.setattr("interp_dsl.tui.main", main)
    monkeypatch.setattr("interp_dsl.cli.tui.require_terminal", lambda: None)
    return asked


def test_what_it_opens(terminal: list[tuple[object, ...]], interp: Interp, place: Path) -> None:
    newest = "ioi-20261121-101500"
    Path("x.interp").write_text("")
    for name, path in {
        "latest": Path("runs") / newest,
        newest: Path("runs") / newest,
        f"runs/{newest}": Path("runs") / newest,
        "runs": Path("runs"),
        "x.interp": Path("x.interp"),
    }.items():
        code, _, err = interp("tui", name, "-p", "n=4")
        assert code == 0 and "the run goes on" in err and "interp tui runs/new" in err
        assert terminal[-1][:3] == (path, Path("runs"), ("-p", "n=4"))
    assert interp("tui")[0] == 0
    assert terminal[-1][0] is None


def test_what_it_cannot_open(
    terminal: list[tuple[object, ...]], interp: Interp, place: Path
) -> None:
    assert "E701" in interp("tui", "nosuch")[2]
    assert "E700" in interp("tui", "nosuch.interp")[2]
    assert terminal == []
