"""Datasets made by a person's own code: `python("module:function")`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interp_dsl.data.faults import fault, listed
from interp_dsl.data.marks import read_prompt
from interp_dsl.data.prompts import assemble, ids_side, own_side, text_side
from interp_dsl.data.tokenizer import load_tokenizer
from interp_dsl.data.types import Data, Side
from interp_dsl.models.own import own_function
from interp_dsl.models.shape import ModelFacts

_FIELDS = ("clean", "corrupt", "answer", "wrong")


def build_python(name: str, target: str, folder: Path | None, facts: ModelFacts | None) -> Data:
    """What the function returns: a Data, or a dict of lists with clean, corrupt, answer, wrong
    (prompts as text with marks, or as lists of token ids with BOS; answers as text, ids, or lists
    of them) and columns. The module is looked for in `folder` first. E435 when it can't be found,
    fails, or returns something else."""
    made = _call(target, folder)
    if isinstance(made, Data):
        return made
    if not isinstance(made, Mapping) or not made.get("clean"):
        raise _refused(target, f"it returned {type(made).__name__} without `clean`")
    paired = bool(made.get("corrupt"))
    sides = [
        _side(key if paired else own_side(name), made[key], facts, target)
        for key in ("clean", "corrupt")
        if made.get(key)
    ]
    tokenizer = load_tokenizer(facts) if facts and facts.tokenizer else None
    columns = {key: list(values) for key, values in made.items() if key not in _FIELDS}
    return assemble(name, sides, made.get("answer"), made.get("wrong"), tokenizer, columns)


def _side(name: str, prompts: Sequence[Any], facts: ModelFacts | None, target: str) -> Side:
    if all(isinstance(p, str) for p in prompts):
        if facts is None:
            raise fault(
                "E401",
                f"{target} gives text, and no model says how to read it as tokens",
                help="name a model in the experiment, or return token ids",
            )
        return text_side(name, [read_prompt(p) for p in prompts], load_tokenizer(facts), facts)
    if any(isinstance(p, str) for p in prompts):
        raise _refused(target, "some prompts are text, others are not")
    return ids_side(name, [[int(i) for i in p] for p in prompts], facts)


def _call(target: str, folder: Path | None) -> Any:
    try:
        made = own_function(target, folder)
    except (ImportError, AttributeError, ValueError) as why:
        raise _refused(target, str(why)) from None
    try:
        return made()
    except Exception as why:
        raise _refused(target, f"it raised {type(why).__name__}: {why}") from why


def _refused(target: str, why: str) -> Exception:
    return fault(
        "E435",
        f'no data came from python("{target}")',
        why,
        help=f'write "module:function"; the function takes nothing and returns a dict with lists '
        f"under {listed(_FIELDS)}, or a Data",
    )
