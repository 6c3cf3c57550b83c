"""The models at hand: the package's own and those in the hub's cache. With NAME, its card."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from interp_dsl.cli.output import Output
from interp_dsl.runs.text import Column, layout, printable

if TYPE_CHECKING:
    from interp_dsl.models.catalogue import Entry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="a bundled model")
    parser.add_argument("--json", action="store_true")


def command(args: argparse.Namespace, output: Output) -> int:
    from interp_dsl.models.catalogue import card, catalogue

    if args.name:
        held = dict(card(args.name))
        if args.json:
            output.write_json(held)
        else:
            output.write("\n".join(_card(held)))
        return 0
    found = catalogue()
    if args.json:
        output.write_json([_data(entry) for entry in found])
    elif found:
        heading, *lines = layout(_columns(found))
        output.write("\n".join([output.toned(heading, "dim"), *lines]))
    else:
        output.message("no models at hand")
    return 0


def _columns(found: list[Entry]) -> list[Column]:
    return [
        Column("model", [f'{entry.kind}("{entry.name}")' for entry in found]),
        Column("layers", [_of(entry, "n_layers") for entry in found], right=True),
        Column("heads", [_of(entry, "n_heads") for entry in found], right=True),
        Column("d_model", [_of(entry, "d_model") for entry in found], right=True),
        Column("weights", ["yes" if entry.has_weights else "missing" for entry in found]),
        Column("", [entry.summary for entry in found]),
    ]


def _of(entry: Entry, name: str) -> str:
    return str(getattr(entry.shape, name)) if entry.shape else "·"


def _data(entry: Entry) -> dict[str, Any]:
    shape = ("n_layers", "n_heads", "d_model")
    return {
        "kind": entry.kind,
        "name": entry.name,
        "summary": entry.summary,
        "shape": {n: getattr(entry.shape, n) for n in shape} if entry.shape else None,
        "has_weights": entry.has_weights,
        "folder": entry.folder,
    }


def _card(value: Any, indent: str = "") -> list[str]:
    """A card's fields as lines, nested ones indented."""
    lines: list[str] = []
    for name, held in value.items():
        if isinstance(held, dict):
            lines += [f"{indent}{printable(name)}:", *_card(held, indent + "  ")]
        elif isinstance(held, list) and any(isinstance(v, dict | list) for v in held):
            lines.append(f"{indent}{printable(name)}: {len(held)} entries (--json shows them)")
        else:
            text = ", ".join(map(str, held)) if isinstance(held, list) else str(held)
            lines.append(f"{indent}{printable(name)}: {printable(text)}")
    return lines
