"""interp: a declarative language for circuit experiments on transformers."""
