"""Facts of a model from its specification, without torch: `facts(spec)`."""
