"""Writes the folders beside this file with the libraries themselves, in an environment that has
them: `python make.py saelens`, `dictionary_learning` or `sparsify`.

Weights are random. `expected.safetensors` has the inputs `x` and what the library, having loaded
the folder again, makes of them: `features` and `reconstruction`."""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
D_IN, D_SAE, K = 8, 16, 4
HOOK = "blocks.1.hook_resid_pre"


def inputs() -> torch.Tensor:
    return torch.randn(12, D_IN, generator=torch.Generator().manual_seed(1)) * 2


def randomise(module: torch.nn.Module, seed: int) -> None:
    """Parameters unlike each other, biases and thresholds included."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in sorted(module.named_parameters()):
        drawn = torch.randn(value.shape, generator=generator) * 0.5
        value.data = drawn.abs() if "threshold" in name else drawn


def write(folder: Path, features: torch.Tensor, reconstruction: torch.Tensor) -> None:
    held = {"x": inputs(), "features": features, "reconstruction": reconstruction}
    save_file(
        {name: value.detach().contiguous() for name, value in held.items()},
        folder / "expected.safetensors",
    )


def saelens() -> None:
    import sae_lens as s
    from sae_lens.saes.sae import SAEMetadata

    def settings(**more: object) -> dict[str, object]:
        about = SAEMetadata(model_name="tiny", hook_name=HOOK, prepend_bos=True)
        return {"d_in": D_IN, "d_sae": D_SAE, "metadata": about, **more}

    made = {
        "standard": s.StandardSAE(s.StandardSAEConfig(**settings())),
        "reads_x": s.StandardSAE(s.StandardSAEConfig(**settings(apply_b_dec_to_input=False))),
        "topk": s.TopKSAE(s.TopKSAEConfig(**settings(k=K))),
        "topk_rescaled": s.TopKSAE(
            s.TopKSAEConfig(**settings(k=K, rescale_acts_by_decoder_norm=True))
        ),
        "jumprelu": s.JumpReLUSAE(s.JumpReLUSAEConfig(**settings())),
        "gated": s.GatedSAE(s.GatedSAEConfig(**settings())),
        "gated_reads_x": s.GatedSAE(s.GatedSAEConfig(**settings(apply_b_dec_to_input=False))),
    }
    in_training = {
        "batchtopk": s.BatchTopKTrainingSAE(s.BatchTopKTrainingSAEConfig(**settings(k=K))),
        "matryoshka": s.MatryoshkaBatchTopKTrainingSAE(
            s.MatryoshkaBatchTopKTrainingSAEConfig(**settings(k=K, matryoshka_widths=[4, D_SAE]))
        ),
    }
    for seed, (name, sae) in enumerate([*made.items(), *in_training.items()]):
        folder = HERE / "saelens" / name
        randomise(sae, seed)
        if name in in_training:
            sae.topk_threshold.fill_(0.8)
            sae.save_inference_model(folder)
        else:
            sae.save_model(folder)
        read = s.SAE.load_from_disk(folder)
        f = read.encode(inputs())
        write(folder, f, read.decode(f))
    for seed, kind in enumerate((s.Transcoder, s.SkipTranscoder, s.JumpReLUTranscoder)):
        transcoders(kind, 20 + seed)
    normed = s.StandardSAE(s.StandardSAEConfig(**settings(normalize_activations="layer_norm")))
    randomise(normed, 11)
    normed.save_model(HERE / "saelens" / "refused_layer_norm")


def transcoders(kind: type, seed: int) -> None:
    """One of each class; its configuration's class stands beside it."""
    import sae_lens as s
    from sae_lens.saes.sae import SAEMetadata

    about = SAEMetadata(
        model_name="tiny", hook_name="blocks.1.hook_mlp_in", hook_name_out="blocks.1.hook_mlp_out"
    )
    made = getattr(s, f"{kind.__name__}Config")
    sizes = {"d_in": D_IN, "d_out": 6, "d_sae": D_SAE}
    transcoder = kind(made(**sizes, apply_b_dec_to_input=False, metadata=about))
    randomise(transcoder, seed)
    folder = HERE / "saelens" / transcoder.cfg.architecture()
    transcoder.save_model(folder)
    read = s.SAE.load_from_disk(folder)
    write(folder, read.encode(inputs()), read(inputs()))


def dictionary_learning() -> None:
    from dictionary_learning import dictionary as d
    from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
    from dictionary_learning.trainers.top_k import AutoEncoderTopK
    from dictionary_learning.utils import load_dictionary

    made = {
        "standard": d.AutoEncoder(D_IN, D_SAE),
        "new": d.AutoEncoderNew(D_IN, D_SAE),
        "topk": AutoEncoderTopK(D_IN, D_SAE, K),
        "batchtopk": BatchTopKSAE(D_IN, D_SAE, K),
        "matryoshka": MatryoshkaBatchTopKSAE(D_IN, D_SAE, K, [4, 12]),
        "jumprelu": d.JumpReluAutoEncoder(D_IN, D_SAE),
        "gated": d.GatedAutoEncoder(D_IN, D_SAE),
    }
    for seed, (name, sae) in enumerate(made.items()):
        folder = HERE / "dictionary_learning" / name
        folder.mkdir(parents=True, exist_ok=True)
        randomise(sae, seed)
        if name in ("batchtopk", "matryoshka"):
            sae.threshold.fill_(0.8)
        torch.save(sae.state_dict(), folder / "ae.pt")
        trainer = {
            "dict_class": type(sae).__name__,
            "activation_dim": D_IN,
            "dict_size": D_SAE,
            "layer": 1,
            "lm_name": "tiny",
            "submodule_name": "resid_post_layer_1",
        }
        trainer |= {"k": K} if hasattr(sae, "k") else {}
        config = {"trainer": trainer, "buffer": {"d_submodule": D_IN, "io": "out"}}
        (folder / "config.json").write_text(json.dumps(config, indent=4))
        read, _ = load_dictionary(str(folder), device="cpu")
        f = read.encode(inputs())
        write(folder, f, read.decode(f))


def sparsify() -> None:
    from sparsify import SparseCoder
    from sparsify.config import SparseCoderConfig

    settings = {
        "layers.1": SparseCoderConfig(num_latents=D_SAE, k=K),
        "layers.1.mlp": SparseCoderConfig(expansion_factor=2, k=K),
        "refused_transcoder": SparseCoderConfig(num_latents=D_SAE, k=K, transcode=True),
        "refused_groupmax": SparseCoderConfig(num_latents=D_SAE, k=K, activation="groupmax"),
    }
    for seed, (name, cfg) in enumerate(settings.items()):
        folder = HERE / "sparsify" / name
        coder = SparseCoder(D_IN, cfg)
        randomise(coder, seed)
        coder.save_to_disk(folder)
        if name.startswith("refused"):
            continue
        read = SparseCoder.load_from_disk(folder)
        values, index, _ = read.encode(inputs())
        write(folder, torch.zeros(12, D_SAE).scatter(1, index, values), read.decode(values, index))


if __name__ == "__main__":
    {f.__name__: f for f in (saelens, dictionary_learning, sparsify)}[sys.argv[1]]()
