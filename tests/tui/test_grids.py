"""Every screen in every state as a grid of characters, against the files in `grids/`.

`pytest tests/tui/test_grids.py --update-grids` writes them anew; look at the differences before
they are kept."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tui import made
from tests.tui.screens import SIZES, after, driven

GRIDS = Path(__file__).parent / "grids"
SHOTS: dict[str, tuple[str, list[str]]] = {
    "watch-empty": ("empty", []),
    "watch-running": ("running", []),
    "watch-failed": ("failed", []),
    "watch-died": ("died", []),
    "watch-done": ("done", ["w"]),
    "watch-claims": ("done", ["w", "t", "t"]),
    "watch-hostile": ("hostile", []),
    "rank-done": ("done", ["r"]),
    "rank-circuit": ("done", ["r", "right_square_bracket"]),
    "rank-huge": ("huge", ["r", "end"]),
    "rank-filter": ("done", ["r", "slash", "'heads layers 1..1", "enter"]),
    "rank-wrong-filter": ("done", ["r", "slash", "'heads layers 7..9", "enter"]),
    "rank-marked": ("done", ["r", "space", "space", "down"]),
    "rank-metric": ("done", ["r", "full_stop"]),
    "rank-examples": ("done", ["r", "enter"]),
    "rank-hostile": ("hostile", ["r"]),
    "plan-done": ("done", ["l"]),
    "log-failed": ("failed", ["g"]),
    "help-rank": ("done", ["r", "question_mark"]),
    "runs": ("done", ["u"]),
    "pause-running": ("running", ["space"]),
    "cancel-running": ("running", ["X"]),
}


def same(text: str, name: str, request: pytest.FixtureRequest) -> None:
    """The grid is the one that was kept; sizes on disk, which differ from machine to machine, are
    left out."""
    text = re.sub(r"[\d.]+ kB", lambda size: "?".rjust(len(size[0]) - 3) + " kB", text) + "\n"
    path = GRIDS / f"{name}.txt"
    if request.config.getoption("--update-grids"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"{path.name} was never kept: --update-grids keeps it"
    assert text == path.read_text(encoding="utf-8"), f"{path.name} looks different"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shot", SHOTS)
def test_grid(shot: str, size: str, place: Path, request: pytest.FixtureRequest) -> None:
    state, keys = SHOTS[shot]
    folder = made.STATES[state](Path("runs"))
    try:
        found = driven(folder.path, after(keys), SIZES[size])
    finally:
        folder.log.close()
        folder._lock.release()
    same(found, f"{shot}-{size}", request)


@pytest.mark.parametrize("size", SIZES)
def test_compare(size: str, place: Path, request: pytest.FixtureRequest) -> None:
    made.done(Path("runs"))
    folder = made.done(Path("runs"), made.WHEN.replace(day=21), shift=6.0)
    for shot, keys in (("compare", ["d"]), ("compare-circuit", ["d", "right_square_bracket"])):
        same(driven(folder.path, after(keys), SIZES[size]), f"{shot}-{size}", request)


@pytest.mark.parametrize("size", SIZES)
def test_a_folder_of_runs(size: str, place: Path, request: pytest.FixtureRequest) -> None:
    made.failed(Path("runs"))
    made.died(Path("runs"))
    found = driven(Path("runs"), after([]), SIZES[size])
    same(found, f"folder-{size}", request)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["good", "bad"])
def test_a_file(size: str, name: str, place: Path, request: pytest.FixtureRequest) -> None:
    text = made.TEXT if name == "good" else made.TEXT.replace("L1H3", "L7H3")
    (place / "mine.interp").write_text(text, encoding="utf-8")
    found = driven(Path("mine.interp"), after([]), SIZES[size])
    same(found, f"file-{name}-{size}", request)


def test_no_runs_at_all(place: Path, request: pytest.FixtureRequest) -> None:
    found = driven(None, after([]))
    same(found, "nothing-80x24", request)
