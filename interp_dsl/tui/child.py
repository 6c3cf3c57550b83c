"""A run that was started from here, in a process of its own: it outlives the screens."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from textual.message import Message

KEPT = 40
"""Lines of what the process said to its terminal that are kept."""


class ChildBegan(Message):
    """The process has its run folder."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path


class ChildEnded(Message):
    """The process has ended; `said` is the end of what it wrote to stderr."""

    def __init__(self, code: int, said: str, began: bool) -> None:
        super().__init__()
        self.code, self.said, self.began = code, said, began


class Child:
    """`interp run FILE --json` with options; tells by messages where it runs and how it ended."""

    def __init__(
        self, file: Path, options: Sequence[str], post: Callable[[Message], object]
    ) -> None:
        self._command = [sys.executable, "-m", "interp_dsl", "run", str(file), "--json", *options]
        self._post = post
        self._process: subprocess.Popen[str] | None = None
        self._said: deque[str] = deque(maxlen=KEPT)
        self._began = False

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C and a closed terminal are the screens' own
        )
        threading.Thread(target=self._read, name="child", daemon=True).start()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _read(self) -> None:
        """Find the folder in the first line; what follows stands in the folder's log as well."""
        process = self._process
        assert process is not None and process.stdout is not None and process.stderr is not None
        listener = threading.Thread(target=self._said.extend, args=(process.stderr,), daemon=True)
        listener.start()
        for line in process.stdout:
            if not self._began:
                self._begin(line)
        code = process.wait()
        listener.join(timeout=1.0)
        self._post(ChildEnded(code, "".join(self._said), self._began))

    def _begin(self, line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            return
        if isinstance(event, dict) and event.get("event") == "folder":
            self._began = True
            self._post(ChildBegan(Path(event["path"])))
