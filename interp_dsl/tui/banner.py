"""What must be said first of a run that did not go well: why, and how to go on."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.text import Text

from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.live import RunLive, Status
from interp_dsl.runs.text import printable
from interp_dsl.tui.tones import Tones

WORDS: dict[Status, str] = {
    "interrupted": "interrupted; what was finished is kept",
    "cancelled": "cancelled; what was finished is kept",
}


def banner(folder: RunFolder, status: Status, live: RunLive, tones: Tones) -> Text:
    """One to three lines, nothing for a run that goes on or has ended well."""
    text = Text()
    match status:
        case "died":
            manifest = folder.manifest
            text.append("✗ died ", tones.bad)
            text.append(
                printable(
                    f"process {manifest.get('pid')} on {manifest.get('host')} is gone without a "
                    "word; what was finished is kept"
                )
            )
        case "failed":
            for found in live.failures[:1]:
                text.append(f"✗ {found.get('code') or 'failed'} ", tones.bad)
                text.append(printable(str(found["message"])))
                for more in (*found.get("notes", ()), found.get("help")):
                    if more:
                        text.append(f"\n  {printable(str(more))}", tones.muted)
            if not live.failures:
                text.append("✗ failed", tones.bad)
        case "interrupted" | "cancelled":
            text.append("■ ", tones.warn)
            text.append(WORDS[status])
        case _:
            return text
    text.append("\n  go on with: ", tones.muted)
    text.append(printable(go_on(folder)), tones.accent)
    return text


def go_on(folder: RunFolder) -> str:
    """The command that goes on with a stopped run, from the current folder."""
    manifest = folder.manifest
    words = ["interp", "run", _near(str(manifest.get("file") or f"{folder.stem}.interp"))]
    words += [w for n, v in manifest.get("params", {}).items() for w in ("-p", f"{n}={v}")]
    runs = _near(str(folder.path.parent))
    return shlex.join([*words, *(["--runs", runs] if runs != "runs" else [])])


def _near(path: str) -> str:
    """A path without what the current folder says already."""
    full = Path(path).absolute()
    return str(full.relative_to(Path.cwd())) if full.is_relative_to(Path.cwd()) else path
