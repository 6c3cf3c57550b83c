"""A folder with recorded runs, and the command line within it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from interp_dsl.cli.app import main
from tests.runs.recorded import WHEN, record

Interp = Callable[..., tuple[int, str, str]]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with two recorded runs in `runs`."""
    monkeypatch.chdir(tmp_path)
    record(Path("runs"))
    record(Path("runs"), WHEN + timedelta(days=1), shift=1.0)
    return tmp_path


@pytest.fixture
def interp(capfd: pytest.CaptureFixture[str]) -> Interp:
    """`interp` in this process: exit code, stdout, stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capfd.readouterr()
        return code, out, err

    return call
