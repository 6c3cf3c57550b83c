"""The walk over a plan's tasks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from interp_dsl.data.conditions import matches, select
from interp_dsl.data.fingerprint import fingerprint
from interp_dsl.engine import circuits
from interp_dsl.engine.attribution import attribute
from interp_dsl.engine.clock import Clock
from interp_dsl.engine.curves import traced
from interp_dsl.engine.edge_sweep import EdgeSweeper
from interp_dsl.engine.factors import factor
from interp_dsl.engine.fit import fit
from interp_dsl.engine.forwards import run_forward
from interp_dsl.engine.generate import generate
from interp_dsl.engine.inspect import inspect
from interp_dsl.engine.inspect_weights import inspect_weights
from interp_dsl.engine.interrupts import Stop
from interp_dsl.engine.judge import judge
from interp_dsl.engine.kept import keep_pairs, record, self_test
from interp_dsl.engine.keys import activations_key, step_key
from interp_dsl.engine.loaded import load_dictionary
from interp_dsl.engine.needs import Needs
from interp_dsl.engine.node_evidence import evaluate_nodes
from interp_dsl.engine.node_search import search_nodes
from interp_dsl.engine.peak import Peak
from interp_dsl.engine.per_example import per_example
from interp_dsl.engine.placed import placed
from interp_dsl.engine.relate import relate
from interp_dsl.engine.report import Report
from interp_dsl.engine.sampled import build_sampled
from interp_dsl.engine.scores import Scored, column_kinds, no_units, score_run
from interp_dsl.engine.state import Result, State
from interp_dsl.engine.sweep import Shard, Sweeper, plain_values, shards, table_order
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.heap import give_back
from interp_dsl.plan.expressions import Row
from interp_dsl.plan.sampling import is_sampled
from interp_dsl.plan.tasks import (
    Attribute,
    AttributeEdges,
    BuildData,
    Evaluate,
    EvaluateCircuit,
    EvaluateDictionary,
    EvaluateNodes,
    Factor,
    Fit,
    Forward,
    Generate,
    Inspect,
    InspectWeights,
    KeepPairs,
    LoadDictionary,
    LoadModel,
    Plan,
    Record,
    Relate,
    Search,
    SearchNodes,
    SelfTest,
    Step,
    Sweep,
    Task,
)
from interp_dsl.runs.circuit_file import circuit_path, circuits_of
from interp_dsl.runs.example_prompts import kept_name
from interp_dsl.runs.folder import RunFolder

if TYPE_CHECKING:
    from interp_dsl.engine.execute import Loaders


class Walk:
    """One pass through a plan."""

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        state: State,
        stop: Stop,
        clock: Clock,
        reuse: Sequence[RunFolder],
        loaders: Loaders,
        trusted: bool,
        device: str,
    ) -> None:
        self.plan, self.folder, self.state = plan, folder, state
        self.stop, self.clock = stop, clock
        self.loaders, self.trusted, self.device = loaders, trusted, device
        self.needs = Needs(plan, state)
        self.peak = Peak()
        self._held = _finished_steps([folder, *reuse])
        self._ids: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        self._done: set[str] = set()

    def all_tasks(self) -> None:
        """Do every task. Raises Stopped between tasks or shards when asked to."""
        for task in self.plan.tasks:
            self.stop.check()
            if task.id not in self._done:
                self._do(task)

    def _do(self, task: Task) -> None:
        """One task, told by events; `reused` when nothing had to be computed."""
        if isinstance(task, Forward):
            for run in self.needs.of_forward(task):
                first = self.needs.forwards.get(run)
                if first is not None and first.id not in self._done:
                    self._do(first)
        started, step = time.monotonic(), getattr(task, "step", None)
        try:
            self.folder.event("task_started", task=task.id, step=step, total=self._total(task))
            self.peak.start()
            computed = self._compute(task, Report(self.folder, task.id))
        except InterpError as error:
            raise placed(error, task) from error
        self._done.add(task.id)
        if isinstance(task, Step):
            self._forget()
        give_back()
        seconds = time.monotonic() - started - self.clock.tell()
        self.folder.event(
            "task_finished",
            task=task.id,
            step=step,
            seconds=seconds,
            memory=self.peak.bytes(),
            reused=not computed,
        )

    def _total(self, task: Task) -> int | None:
        """What `progress` counts up to: examples of a forward, examples that are attributed, units
        of a sweep, tokens of a fit, edges of a search that goes from one to the next."""
        if isinstance(task, Forward):
            return self.state.data[task.run.data].n
        if isinstance(task, BuildData):
            return task.size.n if task.size and is_sampled(task) else None
        if isinstance(task, EvaluateDictionary | Inspect):
            return self.state.data[task.run.data].n
        if isinstance(task, Generate):
            return self.state.data[task.run.data].n * len(task.continuations)
        if isinstance(task, Fit):
            return task.steps * task.inputs
        if isinstance(task, Sweep):
            return sum(len(s.units) for s in self._shards(task))
        if isinstance(task, Attribute | AttributeEdges):
            return self.state.data[task.variant.into.data].n
        if isinstance(task, Search) and task.counts is not None and task.is_stepwise:
            return sum(task.counts) * max(1, len(task.thresholds))
        return None

    def _shards(self, task: Sweep) -> list[Shard]:
        return self.state.once(("shards", task.id), lambda: shards(task, self.state))

    def _compute(self, task: Task, report: Report) -> bool:
        match task:
            case LoadModel():
                return self._load(task, report)
            case BuildData():
                return self._build(task, report)
            case Forward():
                if task.run not in self.needs.unfinished(self._is_finished):
                    return False
                run_forward(task, self.needs.reference_ats(task.run), self.state, report)
                return True
            case SelfTest():
                asked = {run.model for run in self.needs.unfinished(self._is_finished)}
                if task.clean.model in asked:
                    self_test(task, self.state)
                return task.clean.model in asked
            case KeepPairs():
                name = f"pairs.{kept_name(task.data, self.plan.tasks)}"
                if self.folder.has_tensors(name):
                    return False
                self.folder.write_tensors(name, keep_pairs(task, self.state, report))
                return True
            case _:
                return self._step(task, report)

    # ---- models and data

    def _load(self, task: LoadModel, report: Report) -> bool:
        executor = self.loaders.model(task.spec, self.device, self.trusted)
        if executor.remark:
            report.note(executor.remark)
        self.state.models[task.id] = executor
        self.peak.loaded(executor.device)
        self._ids[task.id] = f"{executor.fingerprint()}:{executor.dtype}"
        self._tell(
            "models",
            task.name,
            fingerprint=executor.fingerprint(),
            executor=executor.name,
            difference=executor.difference,
            remark=executor.remark,
        )
        self.folder.update_manifest(device=str(executor.device))
        return True

    def _build(self, task: BuildData, report: Report) -> bool:
        if task.parent is not None:
            assert task.test is not None
            parent = self.state.data[task.parent]
            kept = matches(parent, task.test, lambda ref: per_example(ref, parent.n, self.state))
            data = select(parent, kept, task.name)
        elif is_sampled(task):
            data = build_sampled(task, self.state, report)
        else:
            facts = self.state.models[task.model].facts if task.model else None
            data = self.loaders.data(task.name, task.spec, facts, self.trusted)
        self.state.data[task.id] = data
        self._ids[task.id] = fingerprint(data)
        self._tell("data", task.name, fingerprint=self._ids[task.id], n=data.n, **data.origin)
        return True

    def _tell(self, kind: str, name: str, **about: object) -> None:
        held = self.folder.manifest.get(kind, {})
        self.folder.update_manifest(**{kind: {**held, name: about}})

    # ---- steps

    def _key(self, task: Step) -> str:
        if task.step not in self._keys:
            self._keys[task.step] = step_key(task, self.plan.seed, self._ids, self._keys)
        return self._keys[task.step]

    def _is_finished(self, task: Step) -> bool:
        if task.id in self._done:
            return True
        try:
            return self._key(task) in self._held
        except KeyError:  # its data or a step that it reads is not there yet
            return False

    def _step(self, task: Step, report: Report) -> bool:
        """A step's results: from this folder, from another run, or computed."""
        key = self._key(task)
        holder = self._held.get(key)
        if holder is None:
            match task:
                case Sweep():
                    self._sweep(task, key, report)
                case Evaluate():
                    self._write(task.step, self._evaluated(task), key)
                case Search():
                    circuits.search(task, key, self.state, self.folder, report, self.stop)
                case Attribute() | AttributeEdges():
                    scored, about = attribute(task, self.state, report)
                    self._write(task.step, scored, key, **about)
                    report.top(task.step, scored.table.to_dicts())
                case Fit():
                    held = partial(activations_key, task.runs, ids=self._ids, keys=self._keys)
                    fit(task, key, self.state, self.folder, report, self.stop, held)
                case LoadDictionary():
                    load_dictionary(task, key, self.folder)
                case Inspect():
                    self._write(task.step, inspect(task, self.state, self.folder, report), key)
                case InspectWeights():
                    self._write(task.step, inspect_weights(task, self.state, self.folder), key)
                case EvaluateDictionary():
                    scored, tables = judge(task, self.state, self.folder, report)
                    for name, table in tables.items():
                        self.folder.write_table(f"{task.step}.{name}", table)
                    self._write(task.step, scored, key, tables=[*tables])
                case EvaluateCircuit():
                    scored = circuits.evaluate(task, self.state, self.folder, report)
                    self._write(task.step, scored, key)
                case SearchNodes():
                    scored, about = search_nodes(task, self.state, report)
                    self._write(task.step, scored, key, **about)
                    report.top(task.step, scored.table.to_dicts())
                case EvaluateNodes():
                    scored = evaluate_nodes(task, self.state, report)
                    self._write(task.step, scored, key)
                case Generate():
                    generate(task, key, self.state, self.folder, report)
                case Relate():
                    relate(task, key, self.state, self.folder, report)
                case Factor():
                    factor(task, key, self.state, self.folder, report)
                case Record():
                    self.folder.write_tensors(task.step, record(task, self.state))
                    self.folder.finish_step(task.step, key)
        elif holder != (self.folder, task.step):
            self._take_over(task.step, key, *holder)
            report.note(f"step {task.step} is taken over from {holder[0].path.name}")
        self._remember(task.step)
        return holder is None

    def _take_over(self, step: str, key: str, folder: RunFolder, name: str) -> None:
        if folder.has_tensors(name):
            self.folder.write_tensors(step, folder.read_tensors(name))
        about = folder.step_facts(name)
        if folder.has_table(name):
            self.folder.write_table(step, folder.read_table(name))
        for part in about.get("tables", ()):
            self.folder.write_table(f"{step}.{part}", folder.read_table(f"{name}.{part}"))
        for threshold, circuit in circuits_of(folder.path, name).items():
            circuit.save(circuit_path(self.folder.path, step, threshold))
        self.folder.finish_step(step, key, **{**about, "taken_from": str(folder.path)})

    def _remember(self, step: str) -> None:
        def read() -> Result:
            rows: list[Row] = [*self.folder.read_table(step).to_dicts()]
            tensors = self.folder.read_tensors(step) if self.folder.has_tensors(step) else {}
            return Result(rows, tensors, self.folder.step_facts(step))

        if self.folder.has_table(step):
            self.state.unread[step] = read

    def _write(self, step: str, scored: Scored, key: str, **about: object) -> None:
        if scored.tensors:
            self.folder.write_tensors(step, scored.tensors)
        self.folder.write_table(step, scored.table)
        self.folder.finish_step(step, key, **about)

    def _sweep(self, task: Sweep, key: str, report: Report) -> None:
        found = self._shards(task)
        if not found:
            raise no_units(task.step)
        finished = set(self.folder.parts(task.step, key))
        total, done = sum(len(s.units) for s in found), 0
        order = table_order(found, len(task.metrics))
        kind = Sweeper if task.edges is None else EdgeSweeper
        sweeper = kind(task, self.state, report.note)
        sweeper.prepare(found)
        leading: list[Row] = []
        for shard in found:
            if shard.number in finished:
                table, _ = self.folder.read_part(task.step, shard.number, key)
            else:
                self.stop.check()
                scored = sweeper.run(shard)
                table = scored.table
                if len(found) == 1 and task.curves is None:
                    self._write(task.step, scored.ordered(order), key)
                else:
                    self.folder.write_part(task.step, shard.number, table, scored.tensors, key)
                    give_back()
            done += len(shard.units)
            report.progress(done, total)
            leading = report.top(task.step, [*leading, *table.to_dicts()])
        if task.curves is not None and isinstance(sweeper, Sweeper):
            _, tensors = self.folder.joined(task.step, key, order)
            scored, further = traced(task, sweeper, tensors)
            for name, held in further.items():
                self.folder.write_table(f"{task.step}.{name}", held)
            self._write(task.step, scored, key, tables=list(further))
            self.folder.drop_parts(task.step)
        elif not self.folder.is_finished(task.step, key):
            self.folder.merge(task.step, key, order)

    def _evaluated(self, task: Evaluate) -> Scored:
        kinds = column_kinds(task.variants)
        scored = [
            score_run(
                task.metrics,
                plain_values(v.into, task.metrics, self.state),
                v,
                kinds,
                self.plan.seed,
            )
            for v in task.variants
        ]
        values = np.concatenate([s.tensors["value"] for s in scored])
        return Scored(pl.concat([s.table for s in scored]), {"value": values})

    def _forget(self) -> None:
        """Drop what nothing unfinished reads."""
        for run in self.state.runs.keys() - self.needs.unfinished(self._is_finished):
            del self.state.runs[run]


def _finished_steps(folders: Sequence[RunFolder]) -> dict[str, tuple[RunFolder, str]]:
    """Key to the first run, and the step's name there, that holds its results."""
    held: dict[str, tuple[RunFolder, str]] = {}
    for folder in folders:
        for step, key in folder.step_keys.items():
            if folder.has_table(step) or folder.has_tensors(step):
                held.setdefault(key, (folder, step))
    return held
