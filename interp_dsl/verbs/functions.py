"""The functions that make models and datasets: what each takes."""

from __future__ import annotations

from interp_dsl.models.options import DEVICE_MAPS, DTYPES, PROCESSING
from interp_dsl.verbs.signature import Function, Parameter

_DTYPE = Parameter("word", None, "the precision of weights and activations", DTYPES)
_DEVICE = Parameter("string", None, "cpu, cuda, cuda:1 or mps; the command line's by default")
_PROCESSING = Parameter(
    "word",
    "none",
    "none keeps the raw weights; compatibility folds layer norms and centres weights",
    PROCESSING,
)
_DEVICE_MAP = Parameter("word", None, "how the model is spread over several GPUs", DEVICE_MAPS)
_SEED = Parameter("int", 0, "the seed of the draw", least=0)
_TARGET = Parameter("string", doc='"module:function", called without arguments')

MODELS: dict[str, Function] = {
    f.name: f
    for f in (
        Function(
            "bundled",
            "A small trained model that comes with the package; `interp models` lists them.",
            {
                "name": Parameter("string", doc="the model's name"),
                "step": Parameter(
                    "int", None, "a step of its training, where some were kept", least=0
                ),
                "dtype": _DTYPE,
                "device": _DEVICE,
            },
        ),
        Function(
            "pretrained",
            "A model of the Hugging Face hub, or of its cache on this machine.",
            {
                "name": Parameter("string", doc="the model's name on the hub"),
                "dtype": _DTYPE,
                "device": _DEVICE,
                "device_map": _DEVICE_MAP,
                "revision": Parameter("string", None, "a commit, tag or branch"),
                "processing": _PROCESSING,
            },
        ),
        Function(
            "checkpoint",
            "A Hugging Face model saved to a folder.",
            {
                "folder": Parameter("path", doc="a folder with config.json and weights"),
                "dtype": _DTYPE,
                "device": _DEVICE,
                "device_map": _DEVICE_MAP,
                "processing": _PROCESSING,
            },
        ),
        Function(
            "weights",
            "Plain tensors with TransformerLens's names, and a config.json.",
            {
                "folder": Parameter("path", doc="a folder with config.json and model.safetensors"),
                "dtype": _DTYPE,
                "device": _DEVICE,
            },
        ),
        Function("python", "A model made by your own code; needs --trust.", {"target": _TARGET}),
    )
}

DATASETS: dict[str, Function] = {
    f.name: f
    for f in (
        Function(
            "prompts",
            "Prompts written out: lists that pair by place, or the fields of a body.",
            {
                "clean": Parameter("texts", None, "the prompts; the only side where no other is"),
                "corrupt": Parameter("texts", None, "their counterparts"),
                "answer": Parameter("answers", None, "the right continuations"),
                "wrong": Parameter("answers", None, "the wrong ones"),
            },
        ),
        Function(
            "template",
            "Prompts made from sentences with slots; the body gives sentences and choices.",
            {
                "n": Parameter(
                    "int", None, "how many pairs; every combination when left out", least=1
                ),
                "seed": _SEED,
            },
        ),
        Function(
            "file",
            "Pairs from a jsonl, json, csv or parquet file, columns by name.",
            {
                "path": Parameter("path", doc="the file"),
                "clean": Parameter("string", None, "the column of the clean prompts"),
                "corrupt": Parameter("string", None, "the column of the corrupt prompts"),
                "answer": Parameter("string", None, "the column of the answers"),
                "wrong": Parameter("string", None, "the column of the wrong answers"),
                "answers": Parameter(
                    "word", None, "a class made from the answer: greater", ("greater",)
                ),
                "verbs": Parameter("path", None, "the verb list of subject-verb agreement files"),
                "n": Parameter("int", None, "how many rows; all when left out", least=1),
                "seed": Parameter("int", None, "shuffle by this seed before taking n", least=0),
            },
        ),
        Function(
            "repeated_tokens",
            "A block of distinct random tokens and its repeat; the induction task.",
            {
                "pairs": Parameter("int", 64, "how many pairs", least=1),
                "half": Parameter("int", 24, "tokens in a block", least=1),
                "seed": _SEED,
            },
        ),
        Function(
            "task",
            "The task that a bundled model was trained on, from its own generator; of "
            "text-1l-512 contexts of its held-out text.",
            {
                "name": Parameter("string", doc="the bundled model's name"),
                "n": Parameter("int", 64, "how many examples", least=1),
                "seed": _SEED,
                "split": Parameter("word", "heldout", "which pairs", ("train", "heldout", "all")),
            },
        ),
        Function(
            "tokens",
            "Token ids from a safetensors file: clean, corrupt, answer, wrong, position, mask.",
            {"path": Parameter("path", doc="the file")},
        ),
        Function(
            "corpus",
            "Plain text files packed into contexts; one side.",
            {
                "paths": Parameter("paths", doc="a path or a pattern such as texts/*.txt"),
                "context": Parameter("int", 128, "tokens in a context", least=1),
                "n": Parameter("int", None, "how many contexts; all when left out", least=1),
                "column": Parameter("string", None, "the text's column in jsonl files"),
            },
        ),
        Function(
            "sampled",
            "Text that a model writes itself, packed into contexts; one side.",
            {
                "model": Parameter("model", doc="the model that writes"),
                "n": Parameter("int", 2000, "how many contexts", least=1),
                "context": Parameter("int", 128, "tokens in a context", least=2),
                "temperature": Parameter(
                    "number", 1, "logits are divided by it; 0: the most likely token", least=0
                ),
                "top_p": Parameter(
                    "number", 1, "drawn from the most likely with so much of the probability"
                ),
                "seed": _SEED,
            },
        ),
        Function(
            "hub",
            "Text of a Hugging Face dataset, streamed and packed into contexts; one side.",
            {
                "name": Parameter("string", doc="owner/name on the hub, or a folder: ./stories"),
                "n": Parameter("int", doc="how many contexts; no more is read", least=1),
                "context": Parameter("int", 128, "tokens in a context", least=1),
                "split": Parameter("string", "train", "the split"),
                "column": Parameter("string", "text", "the text's column"),
                "config": Parameter("string", None, "the config, where there are several"),
                "revision": Parameter("string", None, "a commit, tag or branch"),
            },
        ),
        Function("python", "Data made by your own code; needs --trust.", {"target": _TARGET}),
    )
}

_PER = ("position", "template", "label", "token", "all")

# The side that `mean` and `resample` are of stands first and is no plain value.
SOURCES: dict[str, Function] = {
    f.name: f
    for f in (
        Function(
            "mean",
            "The mean over a side's examples: mean(ioi.corrupt).",
            {"per": Parameter("word", "position", "what is averaged apart", _PER)},
        ),
        Function(
            "resample",
            "The activations of another example of a side, drawn at random.",
            {"seed": _SEED},
        ),
        Function(
            "noise",
            "Gaussian noise added.",
            {
                "std": Parameter("number", doc="the noise's standard deviation"),
                "seed": Parameter("int", 0, "the seed of the noise", least=0),
            },
        ),
    )
}

OTHERS = Function(
    "others",
    "Each of n other prompts of a side, those behind a prompt, counted round; all where n is left "
    "out.",
    {
        "side": Parameter("side", doc="the side on which paths begin"),
        "n": Parameter("int", None, "how many others", least=1),
    },
)
"""Where paths of `interpolate` may lead besides."""
