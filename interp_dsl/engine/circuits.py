"""Circuits between the run folder and the model: what a search leaves, and what is read again."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path

from interp_dsl.data.fingerprint import fingerprint
from interp_dsl.engine.by_edge import edges_of, scores_of, strengths_of
from interp_dsl.engine.edges import EdgeBench
from interp_dsl.engine.findings import evaluate_circuits
from interp_dsl.engine.interrupts import Stop
from interp_dsl.engine.report import Report
from interp_dsl.engine.scores import Scored
from interp_dsl.engine.searches import Ranking, Searched, run_search
from interp_dsl.engine.state import State
from interp_dsl.engine.taken_up import Saved
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.graph import Graph
from interp_dsl.models.shape import Shape
from interp_dsl.plan.algebra import Edges, ScoreOf
from interp_dsl.plan.names import positions_of
from interp_dsl.plan.tasks import CircuitFile, CircuitOf, EvaluateCircuit, Search
from interp_dsl.plan.written import written_ranking, written_source
from interp_dsl.runs.circuit import Circuit, Fingerprint, GraphSize, Method
from interp_dsl.runs.circuit_file import circuit_path, circuits_of
from interp_dsl.runs.folder import RunFolder


def search(
    task: Search, key: str, state: State, folder: RunFolder, report: Report, stop: Stop
) -> None:
    """Search, and write the edge table and a file a circuit. Raises Stopped when asked to stop,
    with what has been done on the disk."""
    saved = Saved(folder, task.step, key, stop)
    found = run_search(task, state, report, ranking_of(task, state, folder), saved)
    several = len(found.circuits) > 1
    about = []
    for at, values in zip(found.circuits, found.values, strict=True):
        circuit = _circuit(task, found, at.threshold, state)
        circuit.save(circuit_path(folder.path, task.step, at.threshold if several else None))
        about.append({"threshold": at.threshold, "edges": circuit.size, "metrics": values})
        which = f" at {at.threshold:g}" if several and at.threshold is not None else ""
        told = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        report.note(
            f"{task.step}{which}: {circuit.size:,} of {found.graph.n_edges:,} edges; {told}"
        )
    folder.write_table(task.step, found.table)
    folder.finish_step(task.step, key, circuits=about)
    folder.drop_parts(task.step)


def ranking_of(task: Search, state: State, folder: RunFolder) -> Ranking | None:
    """The scores of a graph's edges [E] that a search starts from."""
    match task.by:
        case ScoreOf(step=step, metric=metric, column=column):
            rows = [row for row in state.rows(step) if row["metric"] == metric]
            return lambda graph, among: scores_of(rows, column, graph, f"step {step}", among)
        case CircuitOf(step=step, thresholds=thresholds):
            held = circuits_of(folder.path, step)
            circuit = held[thresholds[0] if thresholds else None]
            return lambda graph, _: strengths_of(circuit, graph)
    return None


def _circuit(task: Search, found: Searched, threshold: float | None, state: State) -> Circuit:
    import polars as pl

    table, shape = found.table, found.graph.shape
    if "threshold" in table.columns:
        table = table.filter(pl.col("threshold") == threshold).drop("threshold")
    executor, data = state.executor(task.into), state.data[task.into.data]
    options = {k: v for k, v in task.options if k != "threshold"}
    options |= {"by": written_ranking(task.by)} if task.by else {}
    options |= {} if found.n_among is None else {"among": found.n_among}
    options |= {"split_qkv": task.edges.split_qkv, "split_embed": task.edges.split_embed}
    return Circuit(
        table,
        GraphSize(shape.n_layers, shape.n_heads, found.graph.n_edges),
        Method(task.method, options),
        Fingerprint(executor.facts.name, executor.fingerprint()),
        Fingerprint(data.name, fingerprint(data)),
        task.metrics[0].name,
        written_source(task.source),
        () if threshold is None else (threshold,),
    )


def evaluate(task: EvaluateCircuit, state: State, folder: RunFolder, report: Report) -> Scored:
    """The scores of a step's circuits, or of a file's. Raises InterpError E652 and E653 for a
    circuit that is no part of this model."""
    circuits = _read(task, folder)
    executor = state.executor(task.into)
    first = next(iter(circuits.values()))
    if first.model.sha256 != executor.fingerprint():
        raise InterpError(
            Diagnostic(
                "E652",
                f"this circuit is of another model than {executor.facts.name}",
                notes=(f"it was found in {first.model.name}, {first.model.sha256[:12]}…",),
                help="evaluate it on the very model, with the same dtype and processing",
            ),
            exit_code=1,
        )
    graph = _graph(first, executor.facts.shape)
    edges = Edges(graph.split_qkv, graph.split_embed)
    about = (task.into, task.source, edges, graph.direct, task.metrics, state, report.note)
    places = tuple(map(positions_of, graph.places))
    bench = EdgeBench(*about, places=places, reads_answers=task.reads_answers)
    data = state.data[task.into.data]
    if first.data is not None and first.data.sha256 == fingerprint(data):
        report.note(f"{task.step}: the circuit was found on these very prompts of {data.name}")
    return evaluate_circuits(task, bench, circuits, state.seed)


def _read(task: EvaluateCircuit, folder: RunFolder) -> Mapping[float | None, Circuit]:
    if isinstance(task.circuit, CircuitFile):
        return {None: Circuit.load(Path(task.circuit.path))}
    held = circuits_of(folder.path, task.circuit.step)
    return {t: held[t] for t in task.circuit.thresholds} if task.circuit.thresholds else held


def _graph(circuit: Circuit, shape: Shape) -> Graph:
    """The graph of this model that a circuit is part of, told by its edges and their number."""
    edges = edges_of(circuit.table)
    places = tuple(dict.fromkeys(edge.position for edge in edges))
    places = () if places in ((), ("all",)) else places
    for split_qkv, split_embed, direct in product((True, False), (False, True), (False, True)):
        graph = Graph(shape, split_qkv, split_embed, direct and not places, places)
        if graph.n_edges == circuit.graph.n_edges and all(e in graph.index for e in edges):
            return graph
    raise InterpError(
        Diagnostic(
            "E653",
            f"no graph of this model has the circuit's {circuit.graph.n_edges:,} edges",
            help="use a file as a search wrote it",
        ),
        exit_code=1,
    )
