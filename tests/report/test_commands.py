"""`interp report`, `interp show --plot`, `interp serve`."""

from __future__ import annotations

import asyncio
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

from interp_dsl.cli.app import main
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.runs.find import latest
from tests.cli.conftest import Interp
from tests.report import made
from tests.report.dom import parse

PROBE = """
import sys
from interp_dsl.cli.app import main
code = main(sys.argv[1:])
print(code, *(name for name in ("torch", "textual", "transformers") if name in sys.modules))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a run in `runs`."""
    monkeypatch.chdir(tmp_path)
    made.write(tmp_path / "runs" / "made-20261120-101500")
    return tmp_path


# ** report **


def test_the_page_goes_into_the_runs_folder(place: Path, interp: Interp) -> None:
    code, out, err = interp("report", "latest")
    page = place / "runs" / "made-20261120-101500" / "report.html"
    assert (code, out) == (0, "") and err == f"wrote {page.relative_to(place)}\n"
    assert parse(page.read_text()).one("h1").text == "made"


def test_the_page_goes_where_it_is_told_to(place: Path, interp: Interp) -> None:
    assert interp("report", "-o", "x/y.html")[0] == 0
    assert (place / "x" / "y.html").is_file()


def test_open_shows_the_page(place: Path, interp: Interp, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    assert interp("report", "-o", "a.html", "--open")[0] == 0
    assert shown == [(place / "a.html").as_uri()]


def test_nothing_heavy_is_imported_for_a_report(place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, "report"], capture_output=True, text=True, cwd=place,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.stdout == "0\n", done.stderr


def test_a_run_that_is_not_there(place: Path, interp: Interp) -> None:
    code, _, err = interp("report", "nothing")
    assert code == 3 and "E701" in err


# ** show --plot **


@pytest.mark.parametrize(
    ("arguments", "classes"),
    [
        (("who",), {"cell"}),
        (("who", "--metric", "kl", "--as", "bars"), {"whisker"}),
        (("flow",), {"cell"}),
        (("wire",), {"edge", "node"}),
        (("test",), {"whisker"}),
    ],
)
def test_a_step_is_drawn_as_what_it_makes(
    arguments: tuple[str, ...], classes: set[str], place: Path, interp: Interp
) -> None:
    code, out, err = interp("show", "latest", *arguments, "--plot", "f.svg")
    assert (code, out, err) == (0, "", "wrote f.svg\n")
    root = ElementTree.parse(place / "f.svg").getroot()
    found = {name for e in root.iter() for name in (e.get("class") or "").split()}
    assert classes <= found
    assert [e for e in root.iter() if e.tag.endswith("}text")], "text stays text"


@pytest.mark.parametrize(("name", "magic"), [("f.png", b"\x89PNG"), ("f.pdf", b"%PDF")])
def test_pictures_in_other_formats(name: str, magic: bytes, place: Path, interp: Interp) -> None:
    pytest.importorskip("vl_convert", reason="PNG and PDF need the extra `plot`")
    assert interp("show", "latest", "who", "--plot", name)[0] == 0
    assert (place / name).read_bytes().startswith(magic)


def test_a_missing_package_is_named_with_its_remedy(
    place: Path, interp: Interp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    code, _, err = interp("show", "latest", "who", "--plot", "f.png")
    assert code == 3 and "E741" in err and "pip install 'interp-dsl[plot]'" in err
    assert not (place / "f.png").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("who", "--plot", "f.gif"), "a figure is no .gif"),
        (("who", "--plot", "f"), "file without an ending"),
        (("test", "--plot", "f.svg", "--as", "heatmap"), "step test makes no heatmap"),
        (("who", "--plot", "f.svg", "--as", "graph"), "step who has found no circuit"),
        (("who", "--plot", "f.svg", "--metric", "gapp"), "did you mean gap?"),
        (("--plot", "f.svg"), "4 steps, and a figure shows one"),
    ],
)
def test_figures_that_cannot_be(
    arguments: tuple[str, ...], told: str, place: Path, interp: Interp
) -> None:
    code, _, err = interp("show", "latest", *arguments)
    assert code == 2 and told in err
    assert not list(place.glob("f*"))


def test_a_step_without_any_figure(place: Path, interp: Interp) -> None:
    import polars as pl

    folder = latest(Path("runs"))
    assert folder is not None
    folder.write_table("words", pl.DataFrame({"token": ["a", "b"]}))
    code, _, err = interp("show", "latest", "words", "--plot", "f.svg")
    assert code == 2 and "step words makes no figure" in err and "words prints it" in err


# ** serve **


class Served(Exception):
    """A server that says how it was made, and ends."""


def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    class Server:
        def __init__(self, command: str, **options: Any) -> None:
            self.made = {"command": command, **options}

        def serve(self) -> None:
            raise Served(self.made)

    package, module, aiohttp = (ModuleType(n) for n in ("textual_serve", "server", "aiohttp"))
    module.Server = Server  # type: ignore[attr-defined]
    aiohttp.web = ModuleType("web")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "textual_serve", package)
    monkeypatch.setitem(sys.modules, "textual_serve.server", module)
    monkeypatch.setitem(sys.modules, "aiohttp", aiohttp)


def served(*arguments: str) -> dict[str, Any]:
    with pytest.raises(Served) as caught:
        main([*arguments, "--debug"])
    held: dict[str, Any] = caught.value.args[0]
    return held


def test_the_screens_are_served_to_this_machine(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stub(monkeypatch)
    held = served("serve", "made")
    assert (held["host"], held["public_url"]) == ("localhost", "http://localhost:8000")
    command = shlex.split(held["command"])
    assert command[:4] == [sys.executable, "-m", "interp_dsl", "tui"]
    assert command[4:] == ["runs/made-20261120-101500", "--runs", "runs"]
    assert "anyone" not in capfd.readouterr().err
    assert shlex.split(served("serve")["command"])[4:] == ["--runs", "runs"]


def test_the_screens_need_no_terminal_where_a_browser_shows_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """textual-serve names its driver in the environment of the screens."""
    from interp_dsl.cli.tui import require_terminal

    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.delenv("TEXTUAL_DRIVER", raising=False)
    with pytest.raises(InterpError, match="E717"):
        require_terminal()
    monkeypatch.setenv("TEXTUAL_DRIVER", "textual.drivers.web_driver:WebDriver")
    require_terminal()


def test_serving_to_others_is_warned_of(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stub(monkeypatch)
    held = served("serve", "--host", "0.0.0.0", "--port", "9000", "--url", "https://lab.example")
    assert (held["port"], held["public_url"]) == (9000, "https://lab.example")
    assert "anyone who can reach 0.0.0.0:9000 can see the runs" in capfd.readouterr().err


def test_no_other_page_opens_a_connection_or_is_asked_for_anything() -> None:
    """The real server: its page forbids fonts from elsewhere, its socket refuses other origins."""
    pytest.importorskip("textual_serve", reason="needs the extra `serve`")
    from aiohttp.test_utils import TestClient, TestServer

    from interp_dsl.cli.serve import _server_class

    async def answers() -> dict[str | None, int]:
        server = _server_class()("true", public_url="http://localhost:8000")
        async with TestClient(TestServer(await server._make_app())) as client:
            page = await client.get("/")
            assert page.headers["Content-Security-Policy"].startswith("style-src 'self'")
            found: dict[str | None, int] = {}
            for origin in (None, "http://evil.example", "null", "http://localhost:8000"):
                headers = {
                    "Connection": "Upgrade",
                    "Upgrade": "websocket",
                    "Sec-WebSocket-Version": "13",
                    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                    **({"Origin": origin} if origin else {}),
                }
                async with client.get("/ws", headers=headers) as answer:
                    found[origin] = answer.status
            return found

    refused = {None: 403, "http://evil.example": 403, "null": 403}
    assert asyncio.run(answers()) == {**refused, "http://localhost:8000": 101}


def test_serving_without_its_package(
    place: Path, interp: Interp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "textual_serve.server", None)
    code, _, err = interp("serve")
    assert code == 3 and "pip install 'interp-dsl[serve]'" in err
