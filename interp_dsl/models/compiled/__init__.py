"""The compiled forward: a plain functional forward pass whose interventions are tensors."""
