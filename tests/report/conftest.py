"""A run made by hand and its page."""

from __future__ import annotations

import pytest

from interp_dsl.report.page import page
from interp_dsl.runs.folder import RunFolder
from tests.cli.conftest import interp  # noqa: F401 - a fixture here too
from tests.report import made
from tests.report.dom import Node, parse


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return RunFolder.open(made.write(tmp_path_factory.mktemp("runs") / "made-20261120-101500"))


@pytest.fixture(scope="session")
def html(run: RunFolder) -> str:
    return page(run)


@pytest.fixture(scope="session")
def document(html: str) -> Node:
    return parse(html)
