"""Where a run's numbers come from: what a reader needs to trust them, and to get them again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from interp_dsl.report.reading import Reading, as_json
from interp_dsl.runs.text import short_duration

Fact = tuple[str, str]


def provenance(reading: Reading) -> list[tuple[str, list[Fact]]]:
    """Groups of facts by heading; what the manifest does not hold is left out."""
    groups = [
        ("Run", list(_run(reading))),
        *((f"Model {name}", list(_model(held))) for name, held in _held(reading, "models")),
        *((f"Data {name}", list(_data(held))) for name, held in _held(reading, "data")),
        ("Versions", [(n, str(v or "not installed")) for n, v in _held(reading, "versions")]),
    ]
    return [(name, facts) for name, facts in groups if facts]


def command(reading: Reading) -> str | None:
    """The command that runs the same again, in the folder of the file; None for a typed-in text."""
    manifest = reading.manifest
    if not manifest.get("file"):
        return None
    parts = ["interp", "run", PurePath(str(manifest["file"])).name]
    for name, value in (manifest.get("params") or {}).items():
        parts += ["-p", f"{name}={as_json(value)}"]
    seed = (manifest.get("seeds") or {}).get("bootstrap", 0)
    parts += ["--seed", str(seed)] if seed else []
    return shlex.join([*parts, "--fresh"])


def _held(reading: Reading, kind: str) -> list[tuple[str, Any]]:
    return list((reading.manifest.get(kind) or {}).items())


def _run(reading: Reading) -> Iterator[Fact]:
    manifest = reading.manifest
    yield "folder", reading.folder.path.resolve().name
    for name in ("created", "started", "finished", "device"):
        if manifest.get(name):
            yield name, str(manifest[name]).replace("T", " ")
    for name, seconds in (manifest.get("seconds") or {}).items():
        yield f"time of {name}", short_duration(seconds)
    for kind, what in (("params", "parameter"), ("seeds", "seed of")):
        for name, value in (manifest.get(kind) or {}).items():
            yield f"{what} {name}", as_json(value)


def _model(held: Mapping[str, Any]) -> Iterator[Fact]:
    for name in ("fingerprint", "executor"):
        if held.get(name):
            yield name, str(held[name])
    if held.get("difference") is not None:
        yield "largest difference from the reference", f"{held['difference']:.2g}"
    if held.get("remark"):
        yield "remark", str(held["remark"])


def _data(held: Mapping[str, Any]) -> Iterator[Fact]:
    for name, said in _OF_DATA.items():
        if held.get(name) is not None:
            yield said, _without_folders(str(held[name]))


def _without_folders(text: str) -> str:
    """A report goes to others: of a path on this machine it tells the last part."""
    return PurePath(text).name if PurePath(text).is_absolute() else text


_OF_DATA = {
    "n": "examples",
    "fingerprint": "fingerprint",
    "dataset": "Hugging Face dataset",
    "config": "config",
    "split": "split",
    "revision": "revision",
}
