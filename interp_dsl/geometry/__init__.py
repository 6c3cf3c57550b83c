"""The geometry of activations, as functions of tensors: no plan, no files."""
