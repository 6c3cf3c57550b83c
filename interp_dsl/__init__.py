"""interp: a declarative language for circuit experiments on transformers.

    import interp_dsl as interp

    interp.check("ioi.interp")                        # list of Diagnostic
    run = interp.run("ioi.interp", params={"size": 1024})
    run.scores("who")                                 # polars DataFrame
    run.circuit("circuit").edges                      # polars DataFrame; .heads, .to_svg(), .save
    run.claims

Nothing is imported before it is used."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp_dsl.face import Run, check, open_run, plan, run
    from interp_dsl.language.diagnostics import Diagnostic, InterpError

__all__ = ["Diagnostic", "InterpError", "Run", "check", "open_run", "plan", "run"]

_BOTH = ("check", "plan")
_HOME = dict.fromkeys(("Diagnostic", "InterpError"), "interp_dsl.language.diagnostics")


class _Face(ModuleType):
    """This package as a module whose subpackages `check` and `plan` can be called, since the
    verbs of the face and the layers behind them have the same names."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _BOTH and isinstance(value, ModuleType):
            value.__class__ = _Callable
        super().__setattr__(name, value)


class _Callable(ModuleType):
    """A subpackage that is called as the face's function of its name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        face = import_module("interp_dsl.face")
        return getattr(face, self.__name__.rpartition(".")[2])(*args, **kwargs)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _BOTH:
        return import_module(f"interp_dsl.{name}")
    return getattr(import_module(_HOME.get(name, "interp_dsl.face")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


sys.modules[__name__].__class__ = _Face
