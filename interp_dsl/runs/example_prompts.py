"""Which prompts the examples of a step are, as far as a run has kept them, and the lines of an
experiment that would keep more."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, count

from interp_dsl.plan.algebra import Run
from interp_dsl.plan.circuits import Estimated
from interp_dsl.plan.tasks import BuildData, Evaluate, KeepPairs, Plan, Record, Sweep, Task
from interp_dsl.plan.written import PAIRED
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.names import is_safe
from interp_dsl.runs.prompts import Prompt, pair_names, read_pairs, recordings, vocabulary


def kept_name(data: str, tasks: Sequence[Task]) -> str:
    """The name of a task's data in the file of its pairs: a filter without a name of its own, as
    `ioi where index < 64`, goes by its words, and by a number where others have the same."""
    named = _names(tasks)
    names = [named[t.data] for t in tasks if isinstance(t, KeepPairs)]
    given = {name for name in names if is_safe(name)}
    for name in dict.fromkeys(n for n in names if n not in given):
        words = re.sub(r"\W+", "_", name)[:60].strip("_")
        numbered = (f"{words}_{k}" for k in count(2))
        stem = next(n for n in chain((words,), numbered) if n not in given)
        given.add(stem)
        if name == named[data]:
            return stem
    return named[data]


def _names(tasks: Sequence[Task]) -> dict[str, str]:
    """The data as the language writes them, by their tasks."""
    return {t.id: t.name for t in tasks if isinstance(t, BuildData)}


def run_of(plan: Plan | None, step: str) -> Run | None:
    """The run whose examples a step has measured one by one; None where the plan does not say, or
    where it is of several datasets."""
    found = [run for t in (plan.tasks if plan else ()) for run in _runs(t, step)]
    return found[0] if len({run.data for run in found}) == 1 else None


def _runs(task: Task, step: str) -> list[Run]:
    match task:
        case Sweep(step=name) | Evaluate(step=name) if name == step:
            return [variant.into for variant in task.variants]
        case Estimated(step=name) if name == step:
            return [task.variant.into]
    return []


def data_of(plan: Plan | None, step: str) -> str | None:
    """The name under which the pairs of a step's examples are kept, None where the plan does not
    say."""
    run = run_of(plan, step)
    return None if run is None or plan is None else kept_name(run.data, plan.tasks)


def prompt_texts(folder: RunFolder, plan: Plan | None, step: str) -> dict[int, str]:
    """The prompts of a step's examples by number: those of the side that it measured, of the kept
    pairs and of recordings."""
    run = run_of(plan, step)
    if run is None or plan is None:
        return {}
    found: dict[int, str] = {}
    recorded = {t.step for t in plan.tasks if isinstance(t, Record) and _is_same(t.run, run)}
    for name, held in recordings(folder):
        words = vocabulary(held)
        if name in recorded and words:
            for i, (ids, n) in enumerate(zip(held["tokens"], held["lengths"], strict=True)):
                found[i] = "".join(words.get(int(t), f"#{t}") for t in ids[: int(n)])
    name = kept_name(run.data, plan.tasks)
    if name in pair_names(folder):
        pairs = read_pairs(folder, name)
        if run.side in pairs.sides:
            prompts = (pairs.prompt(run.side, i) for i in range(len(pairs)))
            found |= {i: _text(prompt, pairs.has_texts) for i, prompt in enumerate(prompts)}
    return found


def _is_same(a: Run, b: Run) -> bool:
    return (a.data, a.side) == (b.data, b.side)


def _text(prompt: Prompt, has_texts: bool) -> str:
    return ("" if has_texts else " ").join(prompt.texts)


# ---- what would keep more


def recording(plan: Plan, run: Run, examples: int) -> str:
    """The step that would keep the prompts of all examples."""
    of = side_name(plan, run)
    return f"step all_prompts = record resid_pre layers 0 of {of} at last keep {examples}"


def keeping(plan: Plan, run: Run, example: int, measure: str) -> str:
    """The lines that would keep all of one example: tokens, attention, effects at its tokens."""
    data, name = _written(plan, run), f"number_{example}"
    kept = (t for t in plan.tasks if isinstance(t, KeepPairs) and t.data == run.data)
    is_pair = any(other.side == "corrupt" for t in kept for other in t.runs)
    patched = f"patch heads at each from {name}.corrupt into {name}.clean"
    step = patched if is_pair else f"ablate heads at each with zero on {name}"
    lines = f"let {name} = {data} where index == {example}", f"step at_{example} = {step}"
    return "\n".join(lines) + f" measure {measure}"


def measured(folder: RunFolder, metric: str) -> str:
    """A metric as the run's text writes it: by its own name where it has one."""
    declared = re.search(rf"^\s*metric\s+{re.escape(metric)}\s*=", folder.experiment, re.MULTILINE)
    return metric if declared or "." in metric else f"{metric}()"


def side_name(plan: Plan, run: Run) -> str:
    """A run's side as the language writes it."""
    data = _written(plan, run)
    return f"{data}.{run.side}" if run.side in PAIRED else data


def _written(plan: Plan, run: Run) -> str:
    name = _names(plan.tasks)[run.data]
    return name if is_safe(name) else f"({name})"
