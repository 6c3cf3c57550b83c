"""Commands that only read text import nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "transformer_lens", "polars", "textual", "rich")
PROBE = f"""
import sys
from interp_dsl.cli.app import main
code = main(sys.argv[1:])
loaded = [name for name in {HEAVY!r} if name in sys.modules]
print("LOADED", *loaded, file=sys.stderr)
sys.exit(code)
"""
TEXT = """model m = bundled("ioi-3l")
dataset ioi = task("ioi-3l", n=8)
metric gap = logit_diff()
step who = patch heads from ioi.corrupt into ioi.clean measure gap
step circuit = search edges by acdc(threshold=0.1) from ioi.corrupt into ioi.clean measure gap
step check = evaluate circuit on ioi measure faithfulness()
expect who[L0H0].gap > 0
"""


def loaded(*arguments: str, cwd: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()[-1].split()[1:]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["tui", "--help"],
        ["explain"],
        ["explain", "E700"],
        ["fmt", "x.interp"],
        ["check", "x.interp"],
        ["plan", "x.interp"],
        ["plan", "--json", "x.interp"],
        ["report", "--help"],
        ["serve", "--help"],
        ["runs"],
        ["models"],
        ["new", "y"],
    ],
)
def test_nothing_heavy_is_imported(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(TEXT)
    assert loaded(*arguments, cwd=tmp_path) == []


def test_the_probe_sees_what_is_imported(tmp_path: Path) -> None:
    from tests.runs.recorded import record

    record(tmp_path / "runs")
    assert loaded("show", cwd=tmp_path) == ["polars"]


def test_the_package_itself_is_light() -> None:
    code = (
        "import sys, interp_dsl; interp_dsl.run; interp_dsl.check; "
        f"print([n for n in {HEAVY!r} if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_signatures_need_no_numbers() -> None:
    code = "import sys; from interp_dsl.verbs import verbs; verbs(); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
