"""Makes the pictures of the README: pages of reports and screens of the terminal, of examples as
they are run here by the package that is installed. Headless Chromium draws both.

    pip install '.[test]' && apt-get install chromium fonts-liberation fonts-dejavu-core
    python .ci/pictures.py            # writes examples/pictures/*.png"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize, sync_playwright

import interp_dsl as interp
from interp_dsl.report.page import page
from interp_dsl.tui.app import InterpApp

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PICTURES = EXAMPLES / "pictures"
WORK = Path(tempfile.mkdtemp(prefix="interp-pictures-"))
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


@dataclass(frozen=True)
class Screen:
    """A screen of the terminal on an example's run: the keys that lead there, its cells."""

    example: str
    keys: tuple[str, ...]
    size: tuple[int, int] = (120, 34)


SHOTS = {
    "report-circuit.png": Shot(
        "ioi_circuit", "#step-2 h2", height=960, click="#step-2 [data-node='L2H0']"
    ),
    "report-dark.png": Shot("docstring", "#step-2 h2", scheme="dark"),
    "report-phone.png": Shot("ioi", "#step-2 h2", width=390, height=780),
}
SCREENS = {
    "tui-rank.png": Screen("docstring", ("r", "]")),
    "tui-circuit.png": Screen("ioi_circuit", ("c",)),
    "tui-prompt.png": Screen("ioi", ("p",)),
}


def main() -> int:
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        print("no Chromium here: apt-get install chromium", file=sys.stderr)
        return 3
    PICTURES.mkdir(exist_ok=True)
    drawn = {name: asyncio.run(_drawn(screen)) for name, screen in SCREENS.items()}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, shot in SHOTS.items():
            _photograph(browser, shot, PICTURES / name)
        for name, svg in drawn.items():
            _draw(browser, svg, PICTURES / name)
        browser.close()
    shutil.rmtree(WORK)
    return _checked()


@cache
def _run(example: str) -> Path:
    """The folder of an example's run."""
    return interp.run(EXAMPLES / f"{example}.interp", runs=WORK / "runs").path


def _photograph(browser: Browser, shot: Shot, to: Path) -> None:
    path = WORK / f"{shot.example}.html"
    path.write_text(page(interp.open_run(_run(shot.example)).folder), encoding="utf-8")
    context = browser.new_context(
        viewport=ViewportSize(width=shot.width, height=shot.height),
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


async def _drawn(screen: Screen) -> str:
    """A screen as SVG, in a font that is on this machine."""
    app = InterpApp(_run(screen.example), WORK / "runs")
    async with app.run_test(size=screen.size) as pilot:
        await pilot.pause(1.0)
        for key in screen.keys:
            await pilot.press(key)
            await pilot.pause(0.6)
        svg = app.export_screenshot()
    plain = re.sub(r"@font-face\s*{.*?}", "", svg, flags=re.DOTALL)
    return plain.replace("Fira Code", "DejaVu Sans Mono")


def _draw(browser: Browser, svg: str, to: Path) -> None:
    _, _, width, height = re.findall(r'viewBox="(.*?)"', svg)[0].split()
    tab = browser.new_page(
        viewport=ViewportSize(width=round(float(width)), height=round(float(height)))
    )
    tab.set_content(f"<style>body {{ margin: 0 }} svg {{ display: block }}</style>{svg}")
    tab.screenshot(path=to, omit_background=True)
    tab.close()


def _checked() -> int:
    """1 where a picture is too large to be kept in the repository."""
    large = [p for p in PICTURES.glob("*.png") if p.stat().st_size > MOST]
    for path in sorted(PICTURES.glob("*.png")):
        print(f"{path.relative_to(EXAMPLES.parent)}  {path.stat().st_size:,} bytes")
    return 1 if large else 0


if __name__ == "__main__":
    sys.exit(main())
