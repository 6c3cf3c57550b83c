"""Makes the pictures of the README: pages of reports, photographed by headless Chromium.

    pip install '.[test,plot]' && apt-get install chromium fonts-liberation
    python .ci/pictures.py            # writes examples/pictures/*.png

Every picture is of an example as it is run here, by the package that is installed."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

import interp_dsl as interp
from interp_dsl.report.page import page

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PICTURES = EXAMPLES / "pictures"
MOST = 300_000
"""Bytes of a picture."""
NAMES = ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")

SHOTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "report.png": ("induction", "#top", {"width": 1280, "height": 860}),
    "report-circuit.png": ("ioi_circuit", "#step-1", {"width": 1280, "height": 860}),
    "report-dark.png": ("docstring", "#step-2", {"width": 1280, "height": 860}),
    "report-phone.png": ("ioi", "#step-2", {"width": 390, "height": 780}),
}
"""What each picture shows: an example, the place it is scrolled to, the size of the window."""


def main() -> int:
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        print("no Chromium here: apt-get install chromium", file=sys.stderr)
        return 3
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as work, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        pages = {name: _written(name, Path(work)) for name, _, _ in SHOTS.values()}
        for picture, (name, place, size) in SHOTS.items():
            scheme = "dark" if "dark" in picture else "light"
            context = browser.new_context(viewport=size, color_scheme=scheme)
            tab = context.new_page()
            tab.goto(f"{pages[name].as_uri()}{place}")
            if name == "ioi_circuit":
                tab.locator(".graph [data-node='L1H2'], .graph .node.head").first.click()
            tab.screenshot(path=PICTURES / picture)
            context.close()
        browser.close()
    return _checked()


def _written(name: str, work: Path) -> Path:
    """The page of an example's run."""
    ran = interp.run(EXAMPLES / f"{name}.interp", runs=work / "runs")
    path = work / f"{name}.html"
    path.write_text(page(ran.folder), encoding="utf-8")
    return path


def _checked() -> int:
    """1 where a picture is too large to be kept in the repository."""
    large = [p for p in PICTURES.glob("*.png") if p.stat().st_size > MOST]
    for path in sorted(PICTURES.glob("*.png")):
        print(f"{path.relative_to(EXAMPLES.parent)}  {path.stat().st_size:,} bytes")
    return 1 if large else 0


if __name__ == "__main__":
    sys.exit(main())
