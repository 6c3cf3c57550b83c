"""A program in a terminal of its own (Linux): what it paints is read, keys are pressed."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds after which a text that was waited for is given up."""


def interp(*args: object) -> list[str]:
    """The command line of `interp` in this interpreter."""
    return [sys.executable, "-m", "interp_dsl", *map(str, args)]


class Terminal:
    """Runs `command` in a terminal of `columns` × `rows`; it is killed on leaving."""

    def __init__(self, command: list[str], columns: int = 140, rows: int = 50) -> None:
        self.started = time.perf_counter()
        self.painted = b""
        self.pid, self.tty = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
            os.environ["PYTHONPATH"] = str(ROOT)
            os.execv(command[0], command)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def read(self, seconds: float) -> bool:
        """Take what was painted, waiting for it as long as that; False when nothing came."""
        if not select.select([self.tty], [], [], seconds)[0]:
            return False
        try:
            self.painted += os.read(self.tty, 1 << 16)
        except OSError as gone:
            raise RuntimeError(f"it ended: {self.painted[-500:]!r}") from gone
        return True

    def wait_for(self, text: str) -> float:
        """Seconds until a text was painted, in one style; later ones search after it."""
        start, sought = time.perf_counter(), text.encode()
        while (at := self.painted.find(sought)) < 0:
            if time.perf_counter() - start > PATIENCE:
                raise TimeoutError(f"{text!r} was not painted: {self.painted[-500:]!r}")
            self.read(1.0)
        self.painted = self.painted[at + len(sought) :]
        return time.perf_counter() - start

    def press(self, key: str, answer: str) -> tuple[float, float]:
        """Seconds from a key to the text that answers it, and seconds of processor in them."""
        while self.read(0.0):
            pass
        self.painted = b""
        before = self.busy()
        os.write(self.tty, key.encode())
        return self.wait_for(answer), self.busy() - before

    def rest(self, seconds: float) -> None:
        """Take what is painted for a while."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            self.read(left)

    def busy(self) -> float:
        """Seconds of processor that its threads have had so far."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) * 1e-9

    def has_loaded(self, library: str) -> bool:
        """Whether a library's own files are in its memory."""
        maps = Path(f"/proc/{self.pid}/maps").read_text()
        return any(f"/{library}/" in line for line in maps.splitlines())

    def kill(self) -> tuple[float, float]:
        """End it here and now: seconds since its start, and seconds of processor it has had."""
        if self.pid == 0:
            return 0.0, 0.0
        wall = time.perf_counter() - self.started
        os.kill(self.pid, signal.SIGKILL)
        usage = os.wait4(self.pid, 0)[2]
        os.close(self.tty)
        self.pid = 0
        return wall, usage.ru_utime + usage.ru_stime
