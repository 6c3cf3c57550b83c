"""Which runs unfinished work still reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from interp_dsl.engine.metrics import reference_reads
from interp_dsl.engine.state import State, reference_of
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.places import Positions
from interp_dsl.plan.rewrite import parts
from interp_dsl.plan.tasks import DictionaryTask, Forward, Generate, Plan, Record, Step, Sweep


class Needs:
    """The runs that a plan's tasks read, and the forwards that give them."""

    def __init__(self, plan: Plan, state: State) -> None:
        self.state = state
        self.forwards = {t.run: t for t in plan.tasks if isinstance(t, Forward)}
        self.consumers = [t for t in plan.tasks if isinstance(t, Step)]
        self._reads = {t.id: frozenset(parts(t, Run)) for t in self.consumers}

    def of_forward(self, task: Forward) -> set[Run]:
        """The other runs that a forward reads: sources of its interventions, its reference."""
        inner = set(parts(task.run, Run)) - {task.run}
        if reference_reads(task.metrics):
            inner.add(reference_of(task.run, self.state.data[task.run.data]))
        return inner - {task.run}

    def unfinished(self, is_finished: Callable[[Step], bool]) -> set[Run]:
        """The runs that steps which are not finished read, directly or through another run."""
        wanted = {r for t in self.consumers if not is_finished(t) for r in self._reads[t.id]}
        return self._closed(wanted)

    def _closed(self, wanted: Iterable[Run]) -> set[Run]:
        found: set[Run] = set()
        queue = list(wanted)
        while queue:
            run = queue.pop()
            if run in found:
                continue
            found.add(run)
            if run in self.forwards and run.data in self.state.data:
                queue += self.of_forward(self.forwards[run])
        return found

    def reference_ats(self, run: Run) -> tuple[Positions | None, ...]:
        """The positions at which other runs' metrics read this one's logits."""
        found: dict[Positions | None, None] = {}
        for forward in self.forwards.values():
            same = forward.run.data == run.data and forward.run.model == run.model
            if same and run == reference_of(forward.run, self.state.data[run.data]):
                found |= dict.fromkeys(reference_reads(forward.metrics))
        for task in self.consumers:
            if isinstance(task, Record | Generate | DictionaryTask):
                continue
            references = task.references if isinstance(task, Sweep) else (task.reference,)
            if run in references:
                found |= dict.fromkeys(reference_reads(task.metrics))
        return tuple(found)
