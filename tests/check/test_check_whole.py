"""Whole files: many statements, errors that cause no others, imports, parameters, cold start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from interp_dsl.check import check_file, check_source, plan_experiment
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.language.source import Source

HEAD = """model m = bundled("ioi-3l")
dataset ioi = template(n=16) {
  clean   "When {A@IO} and {B@S1} went to the store, {B@S2} gave a book to{@END}"
  corrupt "When {A@IO} and {B@S1} went to the store, {C@S2} gave a book to{@END}"
  answer  " {A}"
  wrong   " {B}"
  where   A, B, C in ["Mary", "John", "Anna", "Paul"]
}
"""


def _long(lines: int) -> list[str]:
    text = HEAD.splitlines()
    for i in range(lines):
        text += [
            f"metric gap{i} = logit_diff() - {i} * kl()",
            f"units late{i} = (heads layers 1..2) - {{L1H{i % 4}}} at END",
            f"let side{i} = ioi where index < {i % 15 + 1}",
            f"let push{i} = mean(L1.resid_pre of ioi.clean at END)",
            f"step who{i} = patch late{i} from ioi.corrupt into ioi.clean measure gap{i}",
            f"step few{i} = ablate L1.resid_pre with zero on side{i}.clean along push{i} "
            f"measure gap{i}",
            f"expect who{i}[L2H1].gap{i} > 0.5",
        ]
    return text[:lines]


def _codes(text: str) -> list[str]:
    return [found.code for found in check_source(Source(text)).diagnostics]


def test_three_errors_in_a_thousand_lines() -> None:
    text = _long(1000)
    assert check_source(Source("\n".join(text))).diagnostics == ()
    text[200] = "units wrong_head = {L7H0}"
    text[500] = "metric wrong_name = logit_dif()"
    text[900] = "step wrong_side = patch heads from ioi.corrupted into ioi.clean measure kl()"
    found = check_source(Source("\n".join(text))).diagnostics
    planted = [d for d in found if d.span and d.span.line in (201, 501, 901)]
    assert [(d.code, d.span.line, d.span.column) for d in planted if d.span] == [
        ("E201", 201, 21),
        ("E203", 501, 21),
        ("E206", 901, 40),
    ]


def test_planted_errors_cause_no_others() -> None:
    text = [*_long(999), ""]
    where = [i for i, line in enumerate(text) if line.startswith("expect")]
    text[where[10]] = "expect who10[L2H1].gap99 > 0.5"
    text[where[50]] = "expect who50[L0H1].gap50 > 0.5"
    text[where[90]] = "expect nobody[L2H1].gap90 > 0.5"
    found = check_source(Source("\n".join(text))).diagnostics
    assert [(d.code, d.span.line if d.span else 0) for d in found] == [
        ("E208", where[10] + 1),
        ("E311", where[50] + 1),
        ("E200", where[90] + 1),
    ]


USES = """step who = patch late from pairs.corrupt into pairs.clean under cut measure gap
step best = patch top(who, 2) from pairs.corrupt into pairs.clean measure gap
expect who[L0H0].gap > 0
show best as table
"""
DECLARATIONS = {
    "model": 'model m = bundled("induction-2l")',
    "dataset": "dataset pairs = repeated_tokens(pairs=4)",
    "units": "units late = heads layers 0..1",
    "metric": "metric gap = logit_diff()",
    "step": "step cut = ablate {L0H3} with zero",
}


@pytest.mark.parametrize("keyword", DECLARATIONS)
@pytest.mark.parametrize("wrong", ["= = 3", "= nothing_known(3)", "= bundled(induction-2l)"])
def test_a_broken_declaration_is_reported_once(keyword: str, wrong: str) -> None:
    lines = dict(DECLARATIONS)
    lines[keyword] = lines[keyword].partition("=")[0] + wrong
    assert len(_codes("\n".join([*lines.values(), USES]))) == 1


@pytest.mark.parametrize("keyword", DECLARATIONS)
def test_a_misspelt_keyword_is_reported_once(keyword: str) -> None:
    lines = dict(DECLARATIONS)
    lines[keyword] = lines[keyword].replace(keyword, keyword + "x", 1)
    assert len(_codes("\n".join([*lines.values(), USES]))) == 1


@pytest.mark.parametrize("keyword", DECLARATIONS)
def test_a_missing_name_is_reported_once(keyword: str) -> None:
    lines = dict(DECLARATIONS)
    lines[keyword] = f"{keyword} ={lines[keyword].partition('=')[2]}"
    assert _codes("\n".join([*lines.values(), USES])) == ["E121"]


def test_a_broken_import_is_reported_once() -> None:
    assert _codes('import "no_such_file.interp"\n' + USES) == ["E211"]


def test_a_broken_import_under_an_alias_is_reported_once() -> None:
    model = DECLARATIONS["model"] + "\n" + DECLARATIONS["dataset"] + "\n"
    step = "step who = patch far.late from pairs.corrupt into pairs.clean measure far.gap\n"
    assert _codes('import "no_such_file.interp" as far\n' + model + step) == ["E211"]


def test_an_error_in_an_import_stands_in_its_file(tmp_path: Path) -> None:
    (tmp_path / "far.interp").write_text("metric far = klee()\n")
    (tmp_path / "near.interp").write_text(
        'import "far.interp"\n' + DECLARATIONS["model"] + "\n" + DECLARATIONS["dataset"] + "\n"
        "step who = patch heads from pairs.corrupt into pairs.clean measure far\n"
    )
    (found,) = check_file(tmp_path / "near.interp").diagnostics
    assert found.span is not None
    assert (found.span.source.name, found.span.line, found.span.text) == ("far.interp", 1, "klee")


def test_places_of_an_import_are_of_the_only_model(tmp_path: Path) -> None:
    (tmp_path / "places.interp").write_text("units late = heads layers 1..1\n")
    text = 'import "places.interp"\n' + DECLARATIONS["model"] + "\n"
    (tmp_path / "near.interp").write_text(text + "let same = late\n")
    assert check_file(tmp_path / "near.interp").diagnostics == ()


def test_places_of_an_import_keep_its_own_model(tmp_path: Path) -> None:
    far = [DECLARATIONS["model"], DECLARATIONS["dataset"], "units late = heads layers 1"]
    (tmp_path / "far.interp").write_text("\n".join(far))
    (tmp_path / "near.interp").write_text(
        'import "far.interp" as far\nmodel own = bundled("ioi-3l")\n'
        "step who = patch far.late from far.pairs.corrupt into far.pairs.clean measure kl()\n"
        "expect who[L1H3].kl > who[L1H0].kl\nexpect who[L2H0].kl > 0\n"
    )
    found = check_file(tmp_path / "near.interp")
    (beyond,) = found.diagnostics
    assert (beyond.code, beyond.label) == ("E201", "far.m: the model has layers 0..1")


ABSENT = """model g = pretrained("nobody/no-such-model")
dataset pairs = repeated_tokens(pairs=4)
units late = heads layers 7..11
step who = patch late from pairs.corrupt into pairs.clean measure kl()
step one = patch L0H1 from pairs.corrupt into pairs.clean measure kl()
let best = top(who, 2)
show who as heatmap
expect who[L9H9].kl > 0 and size(best) == 2
"""


def test_families_wait_for_a_configuration_that_is_not_at_hand() -> None:
    found = check_source(Source(ABSENT))
    assert found.diagnostics == ()
    assert found.waiting[1] == (
        "not checked before that: `heads` in line 3, and what needs them: `late`, `who`, `best`"
    )
    assert found.experiment is not None
    with pytest.raises(InterpError) as raised:
        plan_experiment(found.experiment)
    assert [(d.code, d.span and d.span.text) for d in raised.value.diagnostics] == [
        ("E308", "heads")
    ]


def test_what_waits_hides_no_error() -> None:
    assert _codes(ABSENT + "metric wrong = klee()\n") == ["E203"]


@pytest.mark.parametrize(
    ("own", "given"),
    [
        ("4", "8"),
        ("4", "1k"),
        ("0.5", "2"),
        ("0.5", "50%"),
        ('"a"', "anything = at all"),
        ("true", "false"),
        ("[1]", "[2, 3]"),
        ("[1]", "2..4"),
    ],
)
def test_parameters_take_their_kind(own: str, given: str) -> None:
    assert check_source(Source(f"param value = {own}\n"), {"value": given}).diagnostics == ()


@pytest.mark.parametrize(
    ("own", "given"),
    [
        ("4", "4.5"),
        ("4", "true"),
        ("4", ""),
        ("0.5", "half"),
        ("true", "1"),
        ("[1]", "1"),
        ("4", "4\nstep x = y"),
    ],
)
def test_parameters_refuse_other_kinds(own: str, given: str) -> None:
    found = check_source(Source(f"param value = {own}\n"), {"value": given}).diagnostics
    assert [d.code for d in found] == ["E305"]


HEAVY = ("torch", "transformers", "transformer_lens", "textual", "polars", "numpy", "tokenizers")


def test_importing_the_checker_imports_nothing_heavy() -> None:
    code = "import sys, interp_dsl.check; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(HEAVY) & set(done.stdout.split()) == set()


def test_checking_imports_no_executor(tmp_path: Path) -> None:
    (tmp_path / "study.interp").write_text("\n".join([*DECLARATIONS.values(), USES]))
    code = (
        "import sys; from pathlib import Path; from interp_dsl.check import *;"
        f"found = check_file(Path({str(tmp_path / 'study.interp')!r}));"
        "plan_experiment(found.experiment); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(HEAVY[:5]) & set(done.stdout.split()) == set()
    assert "numpy" in done.stdout.split()
