"""What a watcher makes of events."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from interp_dsl.cli.live import Live
from interp_dsl.cli.output import Output
from interp_dsl.cli.watch import Lines
from interp_dsl.runs.folder import RunFolder


def event(kind: str, time: float = 0.0, **fields: Any) -> dict[str, Any]:
    return {"time": time, "event": kind, **fields}


ROW = {"unit": "L0H1[bold]\x1b", "metric": "gap", "effect": -1.25, "low": -1.5, "high": -1.0}
TASK: dict[str, Any] = {"task": "sweep:who", "step": "who"}
ABOUT: dict[str, Any] = {
    "threshold": 0.02, "done": 40, "total": 81, "kept": 47, "score": 0.01234, "left": [1.5, 65.0],
}  # fmt: skip
EVENTS = [
    event("run_started", tasks=[], resumed=False),
    event("imported", what=["torch", "transformer_lens"], seconds=6.125),
    event("task_started", task="model:m", step=None, total=None),
    event("task_finished", task="model:m", step=None, seconds=1.25, reused=False),
    event("task_finished", task="forward:1", step=None, seconds=0.0, reused=True),
    event("task_finished", task="selftest:data:ioi", step=None, seconds=0.0, reused=True),
    event("task_finished", task="keep:data:ioi", step=None, seconds=0.0, reused=True),
    event("task_started", **TASK, total=4),
    event("progress", time=1.0, task="sweep:who", done=1, total=4),
    event("progress", time=6.0, task="sweep:who", done=3, total=4),
    event("top", step="who", rows=[ROW]),
    event("note", text="half the\nbatch"),
    event("task_finished", **TASK, seconds=75.0, reused=True),
    event("claim", text="who > 0", ok=True),
    event("run_finished", status="done", seconds=3.0, imports=6.125),
]


def test_lines_say_what_happens_and_now_and_then_how_far(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watcher = Lines(Output())
    watcher.started(RunFolder(Path("runs/x")), resumed=True)
    for one in EVENTS:
        watcher.event(one)
    assert capsys.readouterr().err.splitlines() == [
        "going on in runs/x",
        "importing torch, transformer_lens: 6.1 s",
        "model m: done, 1.2 s",
        "forward 1: not needed",
        "self-test ioi: not needed",
        "keep examples of ioi: not needed",
        "who: 3 of 4 (75%)",
        "note: half the⏎batch",
        "who: taken over",
        "done in 3.0 s, and 6.1 s of imports",
    ]


def test_the_display_shows_bars_and_the_leading_components() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100, color_system=None)
    watcher = Live(Output(), console)
    watcher.started(RunFolder(Path("runs/[red]x")), resumed=False)
    for one in EVENTS[:11]:
        watcher.event(one)
    console.print(watcher._picture())
    while_it_ran = text.getvalue()
    watcher.event(EVENTS[12])
    console.print(watcher._picture())
    watcher.event(EVENTS[-1])
    watcher.close()
    shown = text.getvalue()
    assert "running in runs/[red]x" in shown
    assert "✓ model m: done, 1.2 s" in shown
    assert "importing torch, transformer_lens: 6.1 s" in shown
    assert "done in 3.0 s, and 6.1 s of imports" in shown
    assert "3/4" in shown and "who so far" in while_it_ran
    assert "who so far" not in shown[len(while_it_ran) :].split("who: taken over")[1]
    assert "L0H1[bold]" in shown and "\x1b[bold]" not in shown
    assert "-1.250" in shown and "[-1.500, -1.000]" in shown
    assert "L0H1[bold]\x1b" not in shown


def test_the_display_tells_how_a_search_goes() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100, color_system=None)
    watcher = Live(Output(), console)
    watcher.event(event("task_started", task="search:found", step="found", total=81))
    watcher.event(event("progress", task="search:found", done=40, total=81))
    watcher.event(event("edges", step="found", **ABOUT))
    watcher.event(event("edges", step="other", **ABOUT))
    console.print(watcher._picture())
    watcher.close()
    assert "found: 47 edges, score 0.01234" in text.getvalue()
    assert "40/81" in text.getvalue()
    assert "1.5 s to 1 min 05 s left" in text.getvalue()


def test_the_display_says_what_is_waited_for_before_the_first_step() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120, color_system=None)
    watcher = Live(Output(), console)
    watcher.started(RunFolder(Path("runs/x")), resumed=False)
    console.print(watcher._picture())
    assert "importing torch" in text.getvalue()
    watcher.event(event("task_started", task="fit:saes", step="saes", total=81))
    text.truncate(0)
    console.print(watcher._picture())
    assert "importing torch" not in text.getvalue()
    assert "saes: gathering activations" in text.getvalue()
    point = {"loss": 0.5, "l0": 8.0, "fvu": 0.4, "dead": 0}
    watcher.event(event("fit", step="saes", dictionary="k=8", **point))
    text.truncate(0)
    console.print(watcher._picture())
    watcher.close()
    assert "saes[k=8]: loss 0.5" in text.getvalue() and "gathering" not in text.getvalue()


def test_lines_tell_how_long_a_search_takes(capsys: pytest.CaptureFixture[str]) -> None:
    watcher = Lines(Output())
    searching = {"task": "search:found", "step": "found"}
    watcher.event(event("task_started", **searching, total=81))
    for time, left in enumerate([None, [1.5, 65.0], [2.0, 2.04]]):
        watcher.event(event("edges", step="found", **{**ABOUT, "left": left}))
        watcher.event(event("progress", 6.0 * (time + 1), **searching, done=40 + time, total=81))
    assert capsys.readouterr().err.splitlines() == [
        "found: 40 of 81 (49%)",
        "found: 41 of 81 (51%), 1.5 s to 1 min 05 s left",
        "found: 42 of 81 (52%), 2.0 s left",
    ]
