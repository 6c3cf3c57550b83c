"""Which circuits of a run somebody means, and their pictures."""

from __future__ import annotations

import argparse
import shutil

from interp_dsl.cli.output import Output
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.circuit_file import circuits_of
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import is_node_circuit

PICTURES = {"dot": ".dot", "svg": ".svg", "graphml": ".graphml"}


def add_threshold_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threshold", metavar="X", type=float, help="of several circuits, that of this threshold"
    )


def circuits(folder: RunFolder, step: str, threshold: float | None) -> list[Circuit]:
    """A step's circuits, all or that of a threshold. Raises InterpError E716."""
    found = circuits_of(folder.path, step)
    if not found:
        raise _none(folder, step)
    if threshold is None:
        return list(found.values())
    chosen = [c for c in found.values() if threshold in c.thresholds]
    if not chosen:
        raise _which(step, list(found.values()), f"has no circuit for the threshold {threshold:g}")
    return chosen


def one_circuit(folder: RunFolder, step: str, threshold: float | None) -> Circuit:
    """The one circuit meant. Raises InterpError E716."""
    found = circuits(folder, step, threshold)
    if len(found) > 1:
        raise _which(step, found, f"has found {len(found)} circuits")
    return found[0]


def encoded(circuit: Circuit, form: str) -> bytes:
    """A circuit in a format of PICTURES, or as its file (json)."""
    from interp_dsl.runs.circuit_file import to_json

    match form:
        case "dot":
            return circuit.to_dot().encode()
        case "svg":
            return circuit.to_svg().encode()
        case "graphml":
            return circuit.to_graphml().encode()
        case _:
            return to_json(circuit).encode()


def print_graph(found: list[Circuit], output: Output) -> None:
    """Circuits drawn for the terminal."""
    from interp_dsl.runs.draw.terminal import terminal

    width = shutil.get_terminal_size((100, 24)).columns
    for at, circuit in enumerate(found):
        if at:
            output.write("")
        if len(found) > 1:
            output.write(output.toned(f"threshold {circuit.thresholds[0]:g}", "bold"))
        for line in terminal(circuit, width):
            output.write(line)


def _none(folder: RunFolder, step: str) -> InterpError:
    of_nodes = step in folder.steps and is_node_circuit(folder.read_table(step))
    if not of_nodes:
        help_ = "name a step of `search`"
        return InterpError(Diagnostic("E716", f"step {step} has found no circuit", help=help_))
    return InterpError(
        Diagnostic(
            "E716",
            f"step {step} has found a circuit of nodes, which has no edges to draw",
            help=f"its nodes are a table: interp show {folder.path.name} {step}",
        )
    )


def _which(step: str, found: list[Circuit], what: str) -> InterpError:
    known = ", ".join(f"{t:g}" for circuit in found for t in circuit.thresholds)
    return InterpError(
        Diagnostic(
            "E716",
            f"step {step} {what}",
            notes=(f"its thresholds: {known or 'none'}",),
            help="name one with --threshold",
        )
    )
