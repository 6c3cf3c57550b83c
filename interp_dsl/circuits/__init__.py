"""Circuits: edges of a model's graph removed in the forward pass, and the search for those that
matter. Functions of tensors and models; nothing here knows plans, files or screens."""
