"""Which places a model has, and what its sites look like. No torch."""
