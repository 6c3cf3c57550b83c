"""The words that options of a model may be, for the language and for the loader. No torch."""

DTYPES = ("float32", "tf32", "bfloat16", "float16", "float64")
"""torch's names, and tf32: float32 whose matrix products the GPU makes in TF32."""

PROCESSING = ("none", "compatibility")

DEVICE_MAPS = ("auto", "balanced", "sequential")
"""How transformers spreads a model over the GPUs: `device_map` of `from_pretrained`."""
