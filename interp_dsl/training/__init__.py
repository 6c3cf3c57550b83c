"""Training of the bundled models: `python -m interp_dsl.training NAME`.

A plain torch transformer, one recipe a model, a loop that survives being killed, measures of what
each head does, and the folder that the package ships. Nothing else in the package needs it."""
