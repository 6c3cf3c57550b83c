"""Circuits as JSON: grammar/circuit.md says what a file holds. Read strictly, for what is passed
over in silence may change what the circuit is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.language.suggest import suggest
from interp_dsl.runs.circuit import Circuit, Fingerprint, GraphSize, Method
from interp_dsl.runs.circuit_table import POSITION, REQUIRED, edge_columns, fault, meant
from interp_dsl.runs.names import safe
from interp_dsl.runs.schema import polars_types
from interp_dsl.runs.text import printable

FORMAT = "interp circuit"
VERSION = 1

_HEAD = {
    "format": "text",
    "version": "integer",
    "model": "object",
    "data": "object?",
    "graph": "object",
    "method": "object",
    "thresholds": "list",
    "metric": "text?",
    "ablation": "text?",
    "edges": "list",
}
_FINGERPRINT = {"name": "text", "sha256": "text"}
_GRAPH = {"n_layers": "integer", "n_heads": "integer", "n_edges": "integer"}
_METHOD = {"name": "text", "options": "object"}
_TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "integer": (int,),
    "number": (int, float),
    "truth": (bool,),
    "object": (dict,),
    "list": (list,),
}
_SAID = {
    "text": "a text",
    "integer": "an integer",
    "number": "a number",
    "truth": "true or false",
    "object": "an object",
    "list": "a list",
}


def circuit_path(run: Path, step: str, threshold: float | None = None) -> Path:
    """Where a run's folder has the circuit that a step found; for a threshold, where it found
    several: `circuit-0.02.circuit.json`."""
    which = "" if threshold is None else f"-{threshold!r}"
    return run / f"{safe(step)}{which}.circuit.json"


def circuit_paths(run: Path, step: str) -> list[Path]:
    """The circuits that a step has left in a run's folder."""
    whole = circuit_path(run, step)
    return [whole] if whole.exists() else sorted(run.glob(f"{safe(step)}-*.circuit.json"))


def circuits_of(run: Path, step: str) -> dict[float | None, Circuit]:
    """A step's circuits by threshold, the lowest first; by None where it found one."""
    found = list(map(read, circuit_paths(run, step)))
    if len(found) == 1:
        return {None: found[0]}
    return {c.thresholds[0]: c for c in sorted(found, key=lambda c: c.thresholds)}


def to_json(circuit: Circuit) -> str:
    """The file's text, one edge a line."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "model": asdict(circuit.model),
        "data": asdict(circuit.data) if circuit.data else None,
        "graph": asdict(circuit.graph),
        "method": {"name": circuit.method.name, "options": circuit.method.options},
        "thresholds": circuit.thresholds,
        "metric": circuit.metric,
        "ablation": circuit.ablation,
    }
    top = json.dumps(head, indent=1, allow_nan=False).removesuffix("\n}")
    edges = ",".join(
        "\n  " + json.dumps(row, allow_nan=False) for row in circuit.table.iter_rows(named=True)
    )
    return f'{top},\n "edges": [{edges}\n ]\n}}\n'


def read(path: Path) -> Circuit:
    """The circuit of a file; InterpError E720 to E724, the message naming file and place."""
    try:
        return from_json(_text(path))
    except InterpError as error:
        named = (
            replace(d, message=f"{printable(str(path))}: {d.message}") for d in error.diagnostics
        )
        raise InterpError(*named, exit_code=3) from None


def from_json(text: str) -> Circuit:
    """The circuit of a file's text; InterpError E720 to E724, the message naming the place."""
    import polars as pl

    held = _parsed(text)
    _check_version(held)
    head = _fields(held, "", _HEAD)
    graph = _fields(head["graph"], "graph", _GRAPH)
    method = _fields(head["method"], "method", _METHOD)
    by_position = any(isinstance(row, dict) and POSITION in row for row in head["edges"])
    kinds = edge_columns(by_position)
    wanted = {n: kind if n in (*REQUIRED, POSITION) else f"{kind}?" for n, kind in kinds.items()}
    rows = [_fields(row, f"edges[{i}]", wanted) for i, row in enumerate(head["edges"])]
    columns = {name: [row[name] for row in rows] for name in kinds}
    for i, value in enumerate(head["thresholds"]):
        _check_kind(value, f"thresholds[{i}]", "number")
    return Circuit(
        pl.DataFrame(columns, schema=polars_types(kinds), strict=False),
        GraphSize(**graph),
        Method(**method),
        Fingerprint(**_fields(head["model"], "model", _FINGERPRINT)),
        Fingerprint(**_fields(head["data"], "data", _FINGERPRINT)) if head["data"] else None,
        head["metric"],
        head["ablation"],
        tuple(head["thresholds"]),
    )


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        remedy = "name a file that `save` or a run wrote: RUN/STEP.circuit.json"
        raise fault("E720", "the file cannot be read", remedy, why or "it is no text") from None


def _parsed(text: str) -> Any:
    try:
        return json.loads(
            text,
            object_pairs_hook=_once,
            parse_constant=_refuse,
            parse_float=_finite,
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}: "
        raise fault("E720", f"{place}this is no JSON", note=error.msg) from None
    except (ValueError, RecursionError) as error:
        raise fault("E720", "this is no JSON for a circuit", note=str(error)) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    held = dict(pairs)
    if len(held) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{printable(twice)} stands twice in one object")
    return held


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON number: leave what was not measured null")


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _refuse(digits[:20])


def _check_version(held: Any) -> None:
    found = held.get("format") if isinstance(held, dict) else None
    if found != FORMAT:
        remedy = f'a circuit\'s file begins with "format": "{FORMAT}"'
        raise fault("E721", "format: this is no file of a circuit", remedy)
    version = held.get("version")
    if version != VERSION or isinstance(version, bool):
        remedy = "write the circuit anew with this version, or read it with the one that wrote it"
        said = f"version {printable(json.dumps(version)[:20])} of the format"
        note = f"this version of interp reads version {VERSION}"
        raise fault("E721", f"version: {said} is not known", remedy, note)


def _fields(value: Any, at: str, kinds: Mapping[str, str]) -> dict[str, Any]:
    """The fields of an object, all there, none unknown, each of its kind."""
    _check_kind(value, at, "object")
    inside = f"{at}." if at else ""
    for name in value:
        if name not in kinds:
            near = meant(suggest(name, kinds)) or f"its fields: {', '.join(kinds)}"
            raise fault("E722", f"{inside}{printable(name)}: there is no such field", near)
    for name, kind in kinds.items():
        if name not in value:
            raise fault("E722", f"{inside}{name} is missing", f"it is {_SAID[kind.rstrip('?')]}")
        if not (value[name] is None and kind.endswith("?")):
            _check_kind(value[name], f"{inside}{name}", kind.rstrip("?"))
    return dict(value)


def _check_kind(value: Any, at: str, kind: str) -> None:
    wanted = isinstance(value, _TYPES[kind]) and isinstance(value, bool) == (kind == "truth")
    if not wanted or (isinstance(value, int) and not -(2**63) <= value < 2**63):
        found = printable(json.dumps(value)[:40])
        raise fault("E722", f"{at or 'the file'} is {found}", f"write {_SAID[kind]}")
