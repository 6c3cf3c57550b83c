"""What is fitted by `fit`: sparse dictionaries, and what each architecture takes. An architecture
is added here, for the checker and the pages, and in dictionaries/, which holds its mathematics."""

from __future__ import annotations

from itertools import product
from typing import Any

from interp_dsl.models.sites import n_indices, width
from interp_dsl.plan.places import Target
from interp_dsl.verbs.signature import Function, Parameter
from interp_dsl.verbs.values import Model

WITHOUT = ("pattern", "edge", "hook", "logits", "feature")
"""Sites that no dictionary is fitted to: their width is the prompt's, or not known."""
SWEPT = ("width", "k", "l1", "l0", "target", "lr", "seed")
"""Options that may be lists: a dictionary for each combination."""
COFIRING = ("jaccard", "pearson", "cosine", "sufficiency", "necessity")
"""What features that fire together are ranked by."""
SHARED = ("batch", "buffer", "store", "objective", "workers")
"""Options that all dictionaries of a step have in common."""

_RATE = 2e-4
_RATE_WIDTH = 2**14
_LONG, FEW_STEPS = 5_000, 50
"""Steps from which on Adam's rate does not depend on how many they are, and those below which it no
longer rises to make up for it: so few teach a dictionary little."""
_DEAD_AFTER = 10_000_000
_BUFFERED = 64

_COMMON: dict[str, Parameter] = {
    "width": Parameter("ints", doc="features of the dictionary, or a list", least=1),
    "lr": Parameter(
        "numbers",
        None,
        "Adam's rate; 2e-4 at a width of 16,384 and as 1/sqrt(width), as dictionary_learning's "
        "TopK trainer has it after Gao et al. 2024; of fewer than 5,000 steps "
        "sqrt(5,000 / steps) times as much, ten times at most",
        least=0,
    ),
    "seed": Parameter("ints", (0,), "of the first parameters, or a list", least=0),
    "batch": Parameter("int", 4096, "activations a training step", least=1),
    "buffer": Parameter("int", None, "activations shuffled together; 64 batches", least=1),
    "objective": Parameter(
        "word",
        "mse",
        "mse: the squared error of what is rebuilt; kl, ce: what the model says with it spliced in "
        "(Braun et al. 2024)",
        ("mse", "kl", "ce"),
    ),
    "downstream": Parameter(
        "number",
        0.0,
        "end to end, the weight of the squared error in the streams that later layers read (Braun "
        "et al. 2024)",
        least=0,
    ),
    "workers": Parameter(
        "int", 1, "processes that each take a part of every step, on a processor", least=1
    ),
    "store": Parameter(
        "path", None, "a folder that keeps the activations of all the data, for other fits to read"
    ),
    "clip": Parameter("number", 1.0, "the largest norm of all gradients; 0 for any", least=0),
    "skip": Parameter(
        "bool", False, "a transcoder's features add to a linear map of what it reads"
    ),
    "warmup": Parameter("number", 0.0, "share of the steps in which lr rises", least=0, most=1),
    "decay": Parameter(
        "number", 0.2, "share of the steps, at the end, in which lr falls to 0", least=0, most=1
    ),
    "bias": Parameter(
        "word", "mean", "where the decoder's bias begins", ("mean", "median", "zero")
    ),
    "dtype": Parameter(
        "word",
        "float32",
        "bfloat16: what the dense products of a training step multiply is rounded to it, and all "
        "else remains float32",
        ("float32", "bfloat16"),
    ),
    "normalize": Parameter(
        "word",
        "length",
        "length: activations are scaled to a mean length of sqrt(d) (Templeton et al. 2024); the "
        "scale is folded into the biases that are saved",
        ("length", "none"),
    ),
}
_WARMING = Parameter(
    "number", 0.05, "share of the steps in which the coefficient rises", least=0, most=1
)
_DEAD = Parameter(
    "int",
    None,
    "a feature is dead after so many inputs without firing: ten million, or a tenth of the tokens "
    "where these are fewer",
    least=1,
)
_TOP: dict[str, Parameter] = {
    "k": Parameter("ints", doc="features on for an input, or a list", least=1),
    "alpha": Parameter(
        "number", None, "weight of the auxiliary loss (AuxK): 1/32, end to end none", least=0
    ),
    "k_aux": Parameter("int", None, "dead features that rebuild the error; half of d", least=1),
    "dead_after": _DEAD,
}


def _function(name: str, doc: str, own: dict[str, Parameter]) -> Function:
    common = {k: own.get(k, v) for k, v in _COMMON.items()}
    return Function(name, doc, {"width": common.pop("width"), **own, **common})


ARCHITECTURES: dict[str, Function] = {
    f.name: f
    for f in (
        _function(
            "relu",
            "ReLU and an L1 penalty, weighted by the decoder's norms (Anthropic's update of April "
            "2024); norm=unit: decoder rows of length 1, Bricken et al. 2023.",
            {
                "l1": Parameter("numbers", doc="the penalty's coefficient, or a list", least=0),
                "norm": Parameter(
                    "word", "weighted", "how decoder norms are dealt with", ("unit", "weighted")
                ),
                "resample": Parameter(
                    "ints", (), "training steps at which dead features are resampled", least=1
                ),
                "window": Parameter(
                    "int",
                    12_500,
                    "steps without firing after which a feature is resampled",
                    least=1,
                ),
                "sparsity_warmup": _WARMING,
                "dead_after": _DEAD,
                "bias": Parameter(
                    "word",
                    "median",
                    "where the decoder's bias begins; the geometric median, as published",
                    ("mean", "median", "zero"),
                ),
            },
        ),
        _function("topk", "The k largest of an input (Gao et al. 2024).", _TOP),
        _function("batch_topk", "k an input on average (Bussmann et al. 2024).", _TOP),
        _function(
            "matryoshka",
            "batch_topk whose first features must do alone too (Bussmann et al. 2025).",
            {
                **_TOP,
                "prefixes": Parameter(
                    "numbers",
                    (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0),
                    "the shares of the features that do alone, rising to 1",
                    least=0,
                    most=1,
                ),
            },
        ),
        _function(
            "jumprelu",
            "A threshold for each feature, learned (Rajamanoharan et al. 2024).",
            {
                "l0": Parameter("numbers", (1.0,), "the penalty's coefficient, or a list", least=0),
                "target": Parameter(
                    "numbers", None, "features on for an input that the penalty aims at", least=1
                ),
                "bandwidth": Parameter(
                    "number", 0.001, "of the thresholds' slopes, relative to an input's length"
                ),
                "threshold": Parameter(
                    "number", 0.001, "where thresholds begin, relative to an input's length"
                ),
                "sparsity_warmup": _WARMING,
                "dead_after": _DEAD,
            },
        ),
        _function(
            "gated",
            "A gate decides which features are on (Rajamanoharan et al. 2024).",
            {
                "l1": Parameter("numbers", doc="the penalty's coefficient, or a list", least=0),
                "sparsity_warmup": _WARMING,
                "dead_after": _DEAD,
            },
        ),
    )
}

READINGS: dict[str, Function] = {
    f.name: f
    for f in (
        Function(
            "examples",
            "Where a feature fires most, and somewhere in each of equally spaced intervals below.",
            {
                "top": Parameter("int", 10, "the largest activations of a feature", least=1),
                "intervals": Parameter(
                    "int", 12, "intervals from 0 to its maximum, an example each", least=0
                ),
                "context": Parameter("int", 8, "tokens shown before and after", least=0),
                "seed": Parameter("int", 0, "of the draws within intervals", least=0),
            },
        ),
        Function("density", "How often and how much a feature fires, and how its parts align."),
        Function(
            "logits",
            "Which tokens a feature promotes and which it suppresses, by its decoder's direction "
            "through the final norm and the unembedding.",
            {"top": Parameter("int", 10, "tokens at each end", least=1)},
        ),
        Function(
            "nearest",
            "The features whose decoder directions are closest.",
            {"top": Parameter("int", 10, "features beside each", least=1)},
        ),
        Function(
            "norms",
            "How much a crosscoder's feature writes at each place, or in each model (Lindsey et "
            "al. 2024).",
        ),
        Function(
            "cofiring",
            "The features that fire on the same tokens.",
            {
                "top": Parameter("int", 10, "features beside each", least=1),
                "measure": Parameter("word", "jaccard", "what they are ranked by", COFIRING),
                "support": Parameter("int", 20, "tokens that both fire on, at least", least=1),
            },
        ),
        Function(
            "ablation",
            "What the model loses without a feature, on the tokens that it fires on.",
            {
                "prompts": Parameter(
                    "int", 16, "of those that a feature fires on, drawn at random", least=1
                ),
                "seed": Parameter("int", 0, "of the draw", least=0),
            },
        ),
    )
}
OF_WEIGHTS = ("logits", "nearest", "norms")
"""Ways to look at features that read no data."""
WRITTEN = (
    "embed", "pos_embed", "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "head",
    "z", "neuron",
)  # fmt: skip
"""Places from which a direction goes to the logits by a linear map."""

UNTIL = Function(
    "until",
    "when a fit ends",
    {"tokens": Parameter("int", doc="how many activations are learned from", least=1)},
)


def said(value: Any) -> str:
    """A value as a label has it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def activation_width(target: Target, model: Model) -> int | None:
    """The length of one activation; None while the model's sizes are not at hand."""
    if model.facts is None:
        return None
    shape = model.facts.shape
    one, count = width(target.site, shape), n_indices(target.site, shape)
    if one is None or count is None:
        return None
    return one if target.index is not None else one * count


def variants(given: dict[str, Any]) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """The options of each dictionary, one for each combination of lists, with the names of those
    that vary. Tuples of one are no lists."""
    swept = {k: v for k, v in given.items() if k in SWEPT and v is not None}
    varying = tuple(name for name, values in swept.items() if len(values) > 1)
    rest = {k: v for k, v in given.items() if k not in swept}
    return [
        (varying, {**rest, **dict(zip(swept, values, strict=True))})
        for values in product(*swept.values())
    ]


def settled(options: dict[str, Any], tokens: int) -> dict[str, Any]:
    """Options with none left open."""
    found = dict(options)
    if found["lr"] is None:
        steps = min(max(-(-tokens // found["batch"]), FEW_STEPS), _LONG)
        found["lr"] = _RATE * (_RATE_WIDTH / found["width"] * _LONG / steps) ** 0.5
    if "dead_after" in found and found["dead_after"] is None:
        found["dead_after"] = min(_DEAD_AFTER, max(1, tokens // 10))
    if "alpha" in found and found["alpha"] is None:
        found["alpha"] = 1 / 32 if found["objective"] == "mse" else 0.0
    if found["buffer"] is None:
        found["buffer"] = _BUFFERED * found["batch"]
    return found
