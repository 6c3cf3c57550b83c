"""An `.interp` file as the screens see it before it is run: what is wrong, and the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.language.source import Source


@dataclass(frozen=True)
class Looked:
    """`plan` is what `interp plan` prints, None where the file has errors."""

    text: str
    diagnostics: tuple[Diagnostic, ...]
    plan: str | None
    n_tasks: int = 0

    @property
    def n_errors(self) -> int:
        return sum(found.severity == "error" for found in self.diagnostics)


@dataclass(frozen=True)
class Options:
    """What of the options of `interp run` the checker must know."""

    params: Mapping[str, str]
    allow: Sequence[Path] = ()
    trusted: bool = False
    device: str = "auto"


def options_of(words: Sequence[str]) -> Options:
    """The checker's part of a command line's options, as `interp tui` was given them."""
    params: dict[str, str] = {}
    allow: list[Path] = []
    device, trusted = "auto", "--trust" in words
    for word, value in pairwise([*words, ""]):
        match word:
            case "-p":
                name, _, text = value.partition("=")
                params[name.strip()] = text.strip()
            case "--allow":
                allow.append(Path(value))
            case "--device":
                device = value
    return Options(params, tuple(allow), trusted, device)


def look(path: Path, options: Options) -> Looked:
    """Check and plan a file; nothing is executed and no network is used."""
    from interp_dsl.check import check_source, plan_experiment
    from interp_dsl.plan.explain import explain

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = Diagnostic("E710", f"{path} cannot be read as text", notes=(str(error),))
        return Looked("", (found,), None)
    checked = check_source(Source(text, path), options.params, options.allow, options.trusted)
    if checked.experiment is None:
        return Looked(text, checked.diagnostics, None)
    try:
        plan = plan_experiment(checked.experiment, options.device)
    except InterpError as error:
        return Looked(text, (*checked.diagnostics, *error.diagnostics), None)
    return Looked(text, checked.diagnostics, explain(plan), len(plan.tasks))
