"""Where everything that the command line says goes out: data to stdout, the rest to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import IO, Any, Literal

from interp_dsl.language.diagnostics import Diagnostic

Style = Literal["text", "short", "json"]
Tone = Literal["good", "bad", "dim", "bold"]
TONES: dict[Tone, str] = {"good": "32", "bad": "31", "dim": "2", "bold": "1"}


class Output:
    """The two streams of a command."""

    def write(self, text: str) -> None:
        """Data, and a line's end."""
        sys.stdout.write(text + "\n")

    def write_json(self, value: Any, indent: int | None = 1) -> None:
        """Data as JSON; one line where `indent` is None."""
        from interp_dsl.runs.files import plain

        self.write(json.dumps(plain(value), indent=indent, ensure_ascii=False))

    def write_bytes(self, data: bytes) -> None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)

    def message(self, text: str) -> None:
        """A line for the person at the terminal."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def diagnostics(self, found: Sequence[Diagnostic], style: Style = "text") -> None:
        """Findings for the person at the terminal."""
        if found:
            self.message(self.rendered(found, style, is_colored(sys.stderr)))

    def rendered(self, found: Sequence[Diagnostic], style: Style, color: bool) -> str:
        from interp_dsl.language.render import render

        return render(found, style=style, color=color).rstrip("\n")

    @property
    def is_terminal(self) -> bool:
        """Whether data goes to a terminal."""
        return sys.stdout.isatty()

    def toned(self, text: str, tone: Tone) -> str:
        """Data in a tone, where stdout is a terminal that wants colour."""
        return f"\x1b[{TONES[tone]}m{text}\x1b[0m" if is_colored(sys.stdout) else text


def is_colored(stream: IO[str]) -> bool:
    """Whether colour may go to a stream: a terminal, and nobody said no (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()
