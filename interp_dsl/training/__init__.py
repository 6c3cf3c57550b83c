"""Training of the bundled models: `python -m interp_dsl.training NAME`.

A plain torch transformer, one recipe a model, a loop that survives being killed, measures of what
each head does, and the folder that the package ships. Nothing else in the package needs it.

    python -m interp_dsl.training induction-2l --bundle interp_dsl/bundled/induction-2l
    python -m interp_dsl.training ioi-3l --bundle interp_dsl/bundled/ioi-3l
    python -m interp_dsl.training docstring-4l --bundle interp_dsl/bundled/docstring-4l
    python -m interp_dsl.training modadd-113 --bundle interp_dsl/bundled/modadd-113
    python -m interp_dsl.training text-1l-512 --out DIR --resume
    python -m interp_dsl.training text-1l-512 --out DIR --no-train --bundle FOLDER

With `--resume` a run that was killed goes on from its checkpoint in `--out`; `--no-train` writes
the folder from that checkpoint, finished or not.
"""
