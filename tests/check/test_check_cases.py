"""Every error that the checker can raise, on a program that has it; and programs without any."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import interp_dsl.check
import interp_dsl.verbs
from interp_dsl.language.codes import all_codes
from interp_dsl.plan import serialise

from .cases import bad_cases, checked, explained, findings, good_cases, planned, rendered

CODE = re.compile(r'"(E[2-9]\d\d|W\d+)"')


def _raised() -> set[str]:
    """The codes in the source of the checker and the verbs; E1 are the parser's."""
    folders = [Path(str(m.__file__)).parent for m in (interp_dsl.check, interp_dsl.verbs)]
    texts = [path.read_text("utf-8") for folder in folders for path in folder.glob("*.py")]
    return {code for text in texts for code in CODE.findall(text)}


@pytest.mark.parametrize("path", bad_cases(), ids=lambda path: path.stem)
def test_error(path: Path) -> None:
    assert rendered(path) == path.with_suffix(".txt").read_text("utf-8")


@pytest.mark.parametrize("path", bad_cases(), ids=lambda path: path.stem)
def test_error_is_of_its_name_alone(path: Path) -> None:
    assert {found.code for found in findings(path)} == {path.stem.partition("_")[0]}


def test_every_code_raised_has_a_case() -> None:
    assert _raised() <= {path.stem.partition("_")[0] for path in bad_cases()}


def test_every_code_raised_is_registered() -> None:
    assert _raised() <= set(all_codes())


def test_every_case_is_of_a_registered_code() -> None:
    assert {path.stem.partition("_")[0] for path in bad_cases()} <= set(all_codes())


def test_every_registered_code_of_the_checker_is_raised() -> None:
    own = {code for code in all_codes() if code.startswith(("E2", "E3", "E50", "W"))}
    assert own == {code for code in _raised() if code.startswith(("E2", "E3", "E50", "W"))}


@pytest.mark.parametrize("path", good_cases(), ids=lambda path: path.stem)
def test_good(path: Path) -> None:
    assert checked(path).diagnostics == ()
    plan = planned(path)
    assert serialise.loads(serialise.dumps(plan)) == plan


PLANS = [path for path in good_cases() if path.with_suffix(".plan").exists()]


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_plan(path: Path) -> None:
    assert explained(path) == path.with_suffix(".plan").read_text("utf-8")


def test_there_are_plans() -> None:
    assert len(PLANS) >= 6
