"""The screens never import torch, polars and numpy only when a table is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.tui import made
from tests.tui.fitted import finished

HEAVY = ("torch", "transformers", "transformer_lens", "interp_dsl.engine", "interp_dsl.session")
PROBE = f"""
import asyncio, sys
from pathlib import Path
from interp_dsl.tui.app import InterpApp

async def main():
    app = InterpApp(Path(sys.argv[1]))
    async with app.run_test(size=(140, 50)) as pilot:
        before = bool({{"polars", "numpy"}} & sys.modules.keys())
        for key in sys.argv[2:]:
            await pilot.press(key)
            await pilot.pause(0.3)
    print("BEFORE" if before else "AFTER")

asyncio.run(main())
print(*[name for name in sys.modules if name.split(":")[0] in {HEAVY!r}])
"""


def probed(folder: Path, *keys: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(folder), *keys], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_view_without_torch(tmp_path: Path) -> None:
    folder = made.done(tmp_path)
    made.done(tmp_path, made.WHEN.replace(day=19))
    keys = (
        "w",
        "r",
        "slash",
        "h",
        "escape",
        "enter",
        "escape",
        "d",
        "l",
        "g",
        "u",
        "question_mark",
    )
    assert probed(folder.path, *keys)[1:] == [""]


def test_features_without_torch(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    keys = ("i", "down", "t", "slash", "d", "enter", "r", "right_square_bracket", "enter")
    assert probed(folder.path, *keys)[1:] == [""]


def test_how_a_run_goes_is_shown_without_polars_and_numpy(tmp_path: Path) -> None:
    folder = made.died(tmp_path)
    assert probed(folder.path, "w")[0] == "AFTER"


def test_a_file_is_checked_without_torch(tmp_path: Path) -> None:
    path = tmp_path / "x.interp"
    path.write_text(made.TEXT)
    assert probed(path, "t", "t")[1:] == [""]
