"""Sparse dictionaries of a model's activations: architectures, training, reading. Functions of
tensors and small dataclasses alone: no plan, no files, no progress."""
