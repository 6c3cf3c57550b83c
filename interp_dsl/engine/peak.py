"""How much memory a task holds at most, beyond what the process held once models were loaded."""

from __future__ import annotations

from pathlib import Path

import torch

_STATUS, _REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak:
    """On CUDA what the allocator has given out, else the process's resident memory (Linux; None
    elsewhere)."""

    def __init__(self) -> None:
        self._before: int | None = None
        self._devices: set[torch.device] = set()

    def loaded(self, device: torch.device) -> None:
        """A model is there: what is held now is not counted."""
        if device.type == "cuda":
            self._devices.add(device)
        self._before = None

    def start(self) -> None:
        """A task begins."""
        if self._before is None:
            self._before = self._held("VmRSS")
        if self._devices:
            for device in self._devices:
                torch.cuda.reset_peak_memory_stats(device)
        elif _REFERENCES.exists():
            try:
                _REFERENCES.write_text("5")
            except OSError:  # a process that may not: the peak is then that of the whole run
                return

    def bytes(self) -> int | None:
        """The most that was held since then."""
        most = self._held("VmHWM")
        return None if most is None or self._before is None else max(0, most - self._before)

    def _held(self, field: str) -> int | None:
        if self._devices:
            of_peak = field == "VmHWM"
            read = torch.cuda.max_memory_allocated if of_peak else torch.cuda.memory_allocated
            return sum(read(device) for device in self._devices)
        if not _STATUS.is_file():
            return None
        found = (line for line in _STATUS.read_text().splitlines() if line.startswith(field))
        return next((int(line.split()[1]) * 1024 for line in found), None)
