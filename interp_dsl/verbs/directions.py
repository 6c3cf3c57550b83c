"""Directions in activation space: what each function takes. One is added here, for the checker and
the pages, and in geometry/directions.py and engine/paths.py, which make it."""

from __future__ import annotations

from interp_dsl.verbs.signature import Function, Parameter

_N = Parameter("int", 1, "how many for each example and position", least=1)
_SEED = Parameter("int", 0, "the seed of the draw", least=0)
_OF = Parameter("side", None, "whose activations count; the step's own side when left out")
_DRAWN = {"n": _N, "seed": _SEED, "of": _OF}
_DICTIONARY = Parameter("dictionaries", doc="a dictionary of each place, or several: sae")
WHICH = {
    "random": "of all features",
    "active": "that are on there",
    "inactive": "that are off there and on elsewhere",
    "dead": "that are on nowhere",
}
"""What features a decoder's directions are of; `random` where nothing is said."""

DIRECTIONS: dict[str, Function] = {
    f.name: f
    for f in (
        Function("random", "Isotropic: normal in every coordinate.", {"n": _N, "seed": _SEED}),
        Function(
            "covariance",
            "The difference of two draws from the normal distribution with the site's mean and "
            "covariance: the baseline to compare with (Lee & Heimersheim 2024).",
            _DRAWN,
        ),
        Function("difference", "The difference of two other activations of the site.", _DRAWN),
        Function(
            "toward_random",
            "From the activation to a draw from that distribution. It holds the activation's own "
            "opposite, and so shrinks it.",
            _DRAWN,
        ),
        Function(
            "toward_real",
            "From the activation to another of the site. It shrinks it too.",
            _DRAWN,
        ),
        Function("toward_zero", "Straight to zero: what shrinking alone does."),
        Function(
            "toward",
            "From the activation to what a source would set it to.",
            {"source": Parameter("source", doc="a side, mean(…), resample(…)")},
        ),
        Function(
            "components",
            "The first principal components of the site's activations.",
            {"n": Parameter("int", 1, "how many", least=1), "of": _OF},
        ),
        Function(
            "gradient",
            "Up the slope of a metric, at every place its own.",
            {"metric": Parameter("metric", doc="a metric that has a slope: logit_diff()")},
        ),
        Function(
            "error",
            "To what a dictionary makes of the activation; norm=kept at the activation's length, "
            "without the shrinkage (Gurnee 2024).",
            {
                "dictionary": _DICTIONARY,
                "norm": Parameter("word", "rebuilt", "whose length", ("rebuilt", "kept")),
            },
        ),
        Function(
            "shrinkage",
            "To the activation at the length of what a dictionary makes of it: shrinkage alone.",
            {"dictionary": _DICTIONARY},
        ),
        Function(
            "rotated",
            "To a vector in a random direction, with the length and the cosine to the activation "
            "that a dictionary's reconstruction has. It is as long as the error.",
            {"dictionary": _DICTIONARY, "n": _N, "seed": _SEED},
        ),
        Function(
            "decoder",
            "Along decoder directions of features, drawn for each example and position: any, or "
            "those that are on there, off there but not dead, or on nowhere.",
            {
                "dictionary": _DICTIONARY,
                **{
                    which: Parameter("int", None, f"how many {told}", least=1)
                    for which, told in WHICH.items()
                },
                "seed": _SEED,
            },
        ),
        Function(
            "vector",
            "Along a vector of a safetensors file, the same everywhere.",
            {
                "path": Parameter("path", doc="the file"),
                "name": Parameter("string", doc="the tensor in it, [width]"),
            },
        ),
    )
}

PATHS: dict[str, Function] = {
    f.name: f
    for f in (
        Function("line", "Straight from one end to the other."),
        Function(
            "arc",
            "Along the arc between the ends' directions, the norm going from one to the other: "
            "the points of a line are shorter than its ends.",
        ),
    )
}

BASELINES = ("covariance", "difference", "random")
"""What other directions are compared with; the first that a step has."""
SHRINKING = ("toward_random", "toward_real")
"""Directions that hold the activation's own opposite."""
