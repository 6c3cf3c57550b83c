"""A run's dictionaries in the files of other libraries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interp_dsl.dictionaries.formats.config import NotUnderstood
from interp_dsl.dictionaries.formats.writing import Origin, encoded
from interp_dsl.engine.kept_dictionaries import labelled
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.hooks import hook_name
from interp_dsl.plan.names import target_of
from interp_dsl.plan.tasks import Fit, LoadModel
from interp_dsl.runs.folder import RunFolder


def exported(folder: RunFolder, step: str, form: str) -> dict[str, dict[str, bytes]]:
    """The files of each of a step's dictionaries in a format, by the dictionary's label. Raises
    InterpError E742 where the step has left none, or one that the format has no place for."""
    about = folder.step_facts(step).get("dictionaries")
    if not about:
        raise InterpError(
            Diagnostic(
                "E742",
                f"step {step} has left no dictionary",
                help="name a step of `fit`, or a dictionary that was loaded",
            )
        )
    tensors, model = folder.read_tensors(step), _model(folder, step)
    found = {}
    for one in about:
        if "places" in one:
            raise InterpError(
                Diagnostic(
                    "E742",
                    f"{form} has no crosscoder",
                    help=f"its tensors are in tensors/{step}.safetensors",
                )
            )
        dictionary = labelled(tensors, one["label"])
        try:
            found[one["label"]] = encoded(dictionary, form, _origin(one, model))
        except NotUnderstood as error:
            raise InterpError(Diagnostic("E742", str(error), help=error.advice)) from None
    return found


def _origin(one: Mapping[str, Any], model: str | None) -> Origin:
    target = target_of(one["site"])
    site = target.site
    onto = hook_name(target_of(one["onto"])) if "onto" in one else None
    return Origin(
        model, hook_name(target), target.index, site.layer, site.kind, one["architecture"], onto
    )


def _model(folder: RunFolder, step: str) -> str | None:
    """The name of the model that a step's dictionaries are of, where it has one."""
    tasks = folder.read_plan().tasks
    models = {task.id: task.spec for task in tasks if isinstance(task, LoadModel)}
    of = [task.run.model for task in tasks if isinstance(task, Fit) and task.step == step]
    chosen = of or list(models)
    name = models[chosen[0]].get("name") if len(chosen) == 1 else None
    return None if name is None else str(name)
