"""Plans to JSON and back. Every plan dataclass is {"is": "ClassName", field: value, …}; fields
that hold their default are left out."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from interp_dsl.plan import algebra, circuits, dictionaries, generation, paths, places, tasks

_CLASSES: dict[str, type] = {
    name: value
    for module in (places, paths, algebra, circuits, dictionaries, generation, tasks)
    for name, value in vars(module).items()
    if dataclasses.is_dataclass(value) and isinstance(value, type)
}


def to_data(value: Any) -> Any:
    """Plan objects as dicts, lists and scalars that JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        data: dict[str, Any] = {"is": type(value).__name__}
        for f in dataclasses.fields(value):
            held = getattr(value, f.name)
            if held != f.default:
                data[f.name] = to_data(held)
        return data
    if isinstance(value, list | tuple):
        return [to_data(v) for v in value]
    if isinstance(value, dict):
        return {k: to_data(v) for k, v in value.items()}
    return value


def from_data(data: Any) -> Any:
    """The inverse of to_data; lists become tuples."""
    if isinstance(data, list):
        return tuple(from_data(v) for v in data)
    if isinstance(data, dict):
        if "is" not in data:
            return {k: from_data(v) for k, v in data.items()}
        fields = {k: from_data(v) for k, v in data.items() if k != "is"}
        return _CLASSES[data["is"]](**fields)
    return data


def dumps(plan: tasks.Plan) -> str:
    return json.dumps(to_data(plan), indent=1)


def loads(text: str) -> tasks.Plan:
    """The plan of a `plan.json`."""
    plan = from_data(json.loads(text))
    if not isinstance(plan, tasks.Plan):
        raise ValueError("this JSON holds no plan")
    return plan


def same_work(one: str, other: str) -> bool:
    """Whether two plans' JSON asks for the same, whatever device and batches they were made for."""
    return one == other or _work(one) == _work(other)


def _work(text: str) -> dict[str, Any]:
    plan: dict[str, Any] = {**json.loads(text), "device": None}
    tasks = ({**task, "packing": None, "batch": None} for task in plan.get("tasks", ()))
    return {**plan, "tasks": list(tasks)}
