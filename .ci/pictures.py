"""Makes the pictures of the README: pages of reports, photographed by headless Chromium.

    pip install '.[test,plot]' && apt-get install chromium fonts-liberation
    python .ci/pictures.py            # writes examples/pictures/*.png

Every picture is of an example as it is run here, by the package that is installed."""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize, sync_playwright

import interp_dsl as interp
from interp_dsl.report.page import page

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PICTURES = EXAMPLES / "pictures"
MOST = 300_000
"""Bytes of a picture."""
NAMES = ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")


@dataclass(frozen=True)
class Shot:
    """A window on the page of an example: what stands at its top, and what is clicked before."""

    example: str
    top: str
    width: int = 1280
    height: int = 860
    scheme: str = "light"
    click: str | None = None


SHOTS = {
    "report-circuit.png": Shot(
        "ioi_circuit", "#step-2 h2", height=960, click="#step-2 [data-node='L2H0']"
    ),
    "report-dark.png": Shot("docstring", "#step-2 h2", scheme="dark"),
    "report-phone.png": Shot("ioi", "#step-2 h2", width=390, height=780),
}


def main() -> int:
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        print("no Chromium here: apt-get install chromium", file=sys.stderr)
        return 3
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as work, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, shot in SHOTS.items():
            _photograph(browser, shot, _written(shot.example, Path(work)), PICTURES / name)
        browser.close()
    return _checked()


def _photograph(browser: Browser, shot: Shot, path: Path, to: Path) -> None:
    window = ViewportSize(width=shot.width, height=shot.height)
    context = browser.new_context(
        viewport=window,
        color_scheme=shot.scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",
    )
    tab = context.new_page()
    tab.goto(path.as_uri())
    if shot.click:
        tab.locator(shot.click).first.click()
    top = "e => scrollTo(0, scrollY + e.getBoundingClientRect().top - 24)"
    tab.locator(shot.top).first.evaluate(top)
    tab.mouse.move(0, 0)
    tab.wait_for_timeout(100)  # the contents follow what is on the screen
    tab.screenshot(path=to)
    context.close()


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
