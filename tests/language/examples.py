"""Programs that several tests read, each a fixed point of the formatter."""

from __future__ import annotations

from pathlib import Path

SAMPLES = {
    path.stem: path.read_text("utf-8")
    for path in sorted((Path(__file__).parent / "samples").glob("*.interp"))
}
