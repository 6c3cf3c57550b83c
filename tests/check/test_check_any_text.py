"""No text makes the checker fail: it finds errors, or an experiment that has a plan."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from interp_dsl.check import check_source, plan_experiment
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.language.render import render
from interp_dsl.language.source import Source
from interp_dsl.plan import serialise

from .cases import FOLDER
from .mutations import mutated

ANY = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


def _survives(text: str) -> None:
    with chdir(FOLDER / "ok"):
        found = check_source(Source(text, Path("mutated.interp")))
    shown = render(found.diagnostics)
    assert shown.count("error[") >= len(found.diagnostics)
    if found.experiment is None:
        assert found.diagnostics
        return
    try:
        plan = plan_experiment(found.experiment)
    except InterpError as problem:
        assert {d.code for d in problem.diagnostics} <= {"E308", "E503"}
        return
    assert serialise.loads(serialise.dumps(plan)) == plan


@settings(max_examples=800, derandomize=True, **ANY)
@given(mutated())
def test_mutated_programs(text: str) -> None:
    _survives(text)


@pytest.mark.slow
@settings(max_examples=6000, **ANY)
@given(mutated())
def test_many_mutated_programs(text: str) -> None:
    _survives(text)
