"""How features of successive layers are related: what each method takes and tells. A method is
added here, for the checker and the pages, and in engine/relate.py, which runs it."""

from __future__ import annotations

from interp_dsl.verbs.signature import Function, Parameter

MEASURES = ("pearson", "cosine", "jaccard", "sufficiency", "necessity", "mutual_information")

RELATIONS: dict[str, Function] = {
    f.name: f
    for f in (
        Function(
            "similarity",
            "Evolution of features (Balcells et al. 2024): how features of one layer go together "
            "with those of the next, which pass through, are gates of others, or form communities.",
            {
                "measure": Parameter("word", "pearson", "what pairs are ranked by", MEASURES),
                "least": Parameter("number", 0.1, "from which value on a pair is kept", most=1),
                "top": Parameter("int", 16, "of each lower feature so many at most", least=1),
                "support": Parameter("int", 20, "tokens that both are on, at least", least=1),
                "active": Parameter(
                    "number",
                    0.0,
                    "a feature is on above this share of its largest activation",
                    least=0,
                    most=1,
                ),
                "passing": Parameter(
                    "number", 0.95, "from which value on a feature passes through", most=1
                ),
                "gate": Parameter(
                    "number", 0.999, "necessity or sufficiency of a gate's inputs", least=0, most=1
                ),
                "inputs": Parameter("int", 2, "of a gate, at most", least=2),
                "joined": Parameter(
                    "number", 0.95, "from which value on pairs form communities", most=1
                ),
                "verify": Parameter(
                    "int", 0, "pairs of each two layers whose lower feature is ablated", least=0
                ),
                "prompts": Parameter("int", 32, "on how many of them that is done", least=1),
                "partition": Parameter(
                    "word", "louvain", "how communities are found", ("louvain", "leiden")
                ),
                "resolution": Parameter("number", 1, "of the modularity", least=0),
                "seed": Parameter("int", 0, "of the communities", least=0),
            },
        ),
    )
}

FINDINGS = {
    "pairs": "pairs that are kept",
    "passed": "share of the lower features that pass through to the next layer",
    "disappearing": "share of the lower features that do not",
    "appearing": "share of the next layer's features that nothing below passes on to",
    "specialising": "kept pairs whose upper feature is a special case of the lower",
    "generalising": "kept pairs whose lower feature is a special case of the upper",
    "and_gates": "upper features that are on where two and more lower ones are",
    "or_gates": "upper features that are on where one of two and more lower ones is",
    "verified": "correlation of the measure with what the upper feature loses by ablation",
    "communities": "communities of two features and more, of all layers",
    "modularity": "of these communities",
}
