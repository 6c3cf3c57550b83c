"""Tests keep what the program keeps for its user (parsers, verdicts) in a folder of their own,
one for all workers."""

import os
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
# Workers share the processor: threads of their own would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
if "INTERP_TEST_CACHE" not in os.environ:
    os.environ["INTERP_TEST_CACHE"] = tempfile.mkdtemp(prefix="interp-cache-")
os.environ["XDG_CACHE_HOME"] = os.environ["INTERP_TEST_CACHE"]

import pytest
from hypothesis import settings

from tests.devices import device  # noqa: F401

# How long an example takes says more of the machine than of the program.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-grids", action="store_true", help="keep the screens of tests/tui as they are now"
    )
