"""dictionary_learning: config.json and ae.pt, a state dictionary of torch.

`trainer.dict_class` says what it is. encoder.weight [d_sae, d_in] and decoder.weight [d_in, d_sae]
with their biases, or W_enc and W_dec; scalars k and threshold of the topk family."""

from __future__ import annotations

from interp_dsl.dictionaries.formats.config import Config, NotUnderstood, Raw, text, whole

CLASSES = {
    "AutoEncoder": "relu",
    "AutoEncoderNew": "relu",
    "AutoEncoderTopK": "topk",
    "BatchTopKSAE": "jumprelu",
    "MatryoshkaBatchTopKSAE": "jumprelu",
    "JumpReluAutoEncoder": "jumprelu",
    "GatedAutoEncoder": "gated",
}


def understood(raw: Raw, folder: str) -> Config:
    """The configuration of a config.json."""
    trainer = raw.get("trainer")
    if not isinstance(trainer, dict):
        raise NotUnderstood("`trainer` is missing: this is no configuration of dictionary_learning")
    named = trainer.get("dict_class")
    if named not in CLASSES:
        raise NotUnderstood(
            f"`dict_class` is {named!r}, which is not understood",
            f"understood are {', '.join(CLASSES)}",
        )
    buffer = raw.get("buffer")
    way = buffer.get("io") if isinstance(buffer, dict) else None
    if way == "in_and_out":
        raise NotUnderstood(
            "`buffer.io` is 'in_and_out', which is not understood",
            "a transcoder maps one place to another; dictionaries here are of one place",
        )
    architecture = CLASSES[named]
    return Config(
        "dictionary_learning",
        named,
        architecture,
        whole(trainer, "activation_dim"),
        whole(trainer, "dict_size"),
        whole(trainer, "k") if architecture == "topk" else None,
        trainer,
        module=None if way == "in" else text(trainer, "submodule_name"),
    )
