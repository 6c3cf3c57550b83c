"""What this machine has: versions, devices, the hub's cache, and whether the models of the
package load."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from interp_dsl.cli.output import Output
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.runs.text import file_size, printable
from interp_dsl.runs.versions import versions


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `ok` is false where experiments would fail for it."""

    name: str
    text: str
    ok: bool = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true")


def command(args: argparse.Namespace, output: Output) -> int:
    """0 where everything needed is there, 3 otherwise."""
    found = [*_versions(), *_devices(), _hub(), *_bundled()]
    if args.json:
        output.write_json([{"name": f.name, "text": f.text, "ok": f.ok} for f in found])
    else:
        width = max(len(f.name) for f in found)
        for f in found:
            mark = output.toned("✓", "good") if f.ok else output.toned("✗", "bad")
            output.write(f"{mark} {f.name:<{width}}  {printable(f.text)}")
    return 0 if all(f.ok for f in found) else 3


def _versions() -> list[Finding]:
    return [
        Finding(name, version or "not installed", version is not None)
        for name, version in versions().items()
    ]


def _devices() -> list[Finding]:
    import os

    import torch

    build = torch.version.cuda or torch.version.hip
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    threads = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    found = [
        Finding("torch build", f"for {build}" if build else "for the CPU alone"),
        _device("cpu", threads, memory),
    ]
    for number in range(torch.cuda.device_count()):
        facts: Any = torch.cuda.get_device_properties(number)
        found.append(_device(f"cuda:{number}", facts.name, facts.total_memory))
    if torch.backends.mps.is_available():
        found.append(_device("mps", "Apple GPU", torch.mps.recommended_max_memory()))
    return found


def _device(name: str, about: str, memory: int) -> Finding:
    """A device, its memory in bytes, and the values of `dtype` that it runs."""
    import torch

    from interp_dsl.models.precision import supported

    dtypes = ", ".join(supported(torch.device(name)))
    return Finding(name, f"{about}, {file_size(memory)}; {dtypes}")


def _hub() -> Finding:
    from interp_dsl.models.files import cached_models, hub_cache

    names = [name for name, _ in cached_models()]
    held = f"{len(names)} models: {', '.join(names[:4])}" if names else "no models"
    return Finding("hub cache", f"{hub_cache()}, {held}")


def _bundled() -> list[Finding]:
    from interp_dsl.models.catalogue import bundled_names
    from interp_dsl.models.load import load

    found = []
    for name in bundled_names():
        try:
            load({"kind": "bundled", "name": name}, device="cpu")
        except InterpError as error:
            found.append(Finding(name, str(error), ok=False))
        else:
            found.append(Finding(name, "loads"))
    return found or [Finding("bundled models", "none in this installation", ok=False)]
