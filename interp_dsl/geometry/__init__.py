"""The mathematics of activation space: directions and how far one goes along them, what a curve
comes to, regions. Functions of tensors and small dataclasses: no plan, no files, no model."""
