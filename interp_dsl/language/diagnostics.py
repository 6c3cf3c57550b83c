"""Diagnostics: what is wrong, where, why, and what to write instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from interp_dsl.language.source import Span

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Diagnostic:
    """One finding. `code` is in the registry (language/codes.py): E1xx syntax, E2xx names,
    E3xx types and ranges, E4xx data, E5xx plan and resources, E6xx run time, W lints.

    `message` is a plain sentence, lower case, without full stop; `label` stands under the carets;
    `notes` tell why; `help` says what to write instead."""

    code: str
    message: str
    span: Span | None = None
    label: str = ""
    notes: tuple[str, ...] = ()
    help: str | None = None

    @property
    def severity(self) -> Severity:
        return {"E": "error", "W": "warning", "I": "info"}[self.code[0]]  # type: ignore[return-value]


class InterpError(Exception):
    """A failure the user can mend; carries the diagnostics. `exit_code` as the command line's:
    1 a run or a claim failed, 2 a bad program, 3 environment."""

    def __init__(self, *diagnostics: Diagnostic, exit_code: int = 2) -> None:
        super().__init__("; ".join(f"{d.code}: {d.message}" for d in diagnostics))
        self.diagnostics = diagnostics
        self.exit_code = exit_code
