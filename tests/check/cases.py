"""The case files of tests/cases: programs, and what the checker says of them.

`python -m tests.check.cases` writes the expected outputs anew; read the difference before keeping
it."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path

from interp_dsl.check import Checked, check_source, plan_experiment
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.language.render import render
from interp_dsl.language.source import Source
from interp_dsl.plan.explain import explain
from interp_dsl.plan.tasks import Plan

FOLDER = Path(__file__).parent.parent / "cases"
PREFIXES = ("E2", "E3", "E4", "E5", "E6", "E72", "W")


def bad_cases() -> list[Path]:
    """Programs with an error or a warning that the checker finds; E1 are the parser's."""
    found = (FOLDER / "err").glob("*.interp")
    return sorted(path for path in found if path.name.startswith(PREFIXES))


def good_cases() -> list[Path]:
    return sorted((FOLDER / "ok").glob("*.interp"))


def checked(path: Path) -> Checked:
    """A case checked in its own folder; its first line may set parameters: `# -p n=4`."""
    text = path.read_text("utf-8")
    first = text.partition("\n")[0]
    settings = first.split("-p ")[1:] if first.startswith("#") else []
    params = dict(s.strip().split("=", 1) for s in settings)
    with chdir(path.parent):
        return check_source(Source(text, Path(path.name)), params)


def findings(path: Path) -> tuple[Diagnostic, ...]:
    """What is wrong with a case, found in checking or, where that finds nothing, in planning."""
    found = checked(path)
    if found.experiment is None:
        return found.diagnostics
    try:
        plan_experiment(found.experiment)
    except InterpError as problem:
        return problem.diagnostics
    return found.diagnostics


def rendered(path: Path) -> str:
    text = render(findings(path), "text")
    return text.replace(str(path.parent), "FOLDER") + "\n"


def planned(path: Path) -> Plan:
    found = checked(path)
    assert found.experiment is not None, render(found.diagnostics, "short")
    return plan_experiment(found.experiment, "cpu")


def explained(path: Path) -> str:
    return explain(planned(path)).replace(str(path.parent), "FOLDER") + "\n"


def main() -> None:
    for path in bad_cases():
        path.with_suffix(".txt").write_text(rendered(path), "utf-8")
    for path in good_cases():
        if path.with_suffix(".plan").exists():
            path.with_suffix(".plan").write_text(explained(path), "utf-8")


if __name__ == "__main__":
    main()
