"""Every kind of dataset from its specification: `build(name, spec, facts)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from interp_dsl.data import tasks
from interp_dsl.data.conditions import matches, select
from interp_dsl.data.faults import closest, fault, listed
from interp_dsl.data.files import build_file
from interp_dsl.data.marks import read_prompt
from interp_dsl.data.prompts import assemble, check_counts, check_fits, own_side, text_side
from interp_dsl.data.python import build_python
from interp_dsl.data.records import read_records
from interp_dsl.data.templates import build_template
from interp_dsl.data.tokenizer import load_tokenizer
from interp_dsl.data.tokens import build_corpus, build_heldout, build_tokens, expand
from interp_dsl.data.types import Answer, Data, Ints, Side
from interp_dsl.models.files import bundled_text
from interp_dsl.models.shape import ModelFacts

__all__ = ["KINDS", "build", "matches", "select"]

Spec = Mapping[str, Any]
Rows = Callable[[Path], list[dict[str, Any]]]
KINDS = (
    "prompts",
    "template",
    "file",
    "repeated_tokens",
    "task",
    "tokens",
    "corpus",
    "python",
)


def build(
    name: str,
    spec: Spec,
    facts: ModelFacts | None,
    *,
    base: Path | None = None,
    rows: Rows | None = None,
    trusted: bool = False,
) -> Data:
    """The dataset `name` of a specification, whose `kind` is one of KINDS. `facts` give the
    tokenizer and the vocabulary; paths are taken from `base`; `rows` reads a file's records in
    place of the readers by file ending; `python` runs only when `trusted`.

    prompts          clean, corrupt, answer, wrong: lists of text with marks `{word@LABEL}`,
                     `{@END}`; one answer for all prompts will do
    template         clean, corrupt, answer, wrong: lists of templates; where: [{names, values,
                     repeating}]; conditions; n; seed
    file             path; clean, corrupt, answer, wrong: columns (guessed for known headers);
                     answers="greater"; verbs: a list of verbs; where; n; seed
    repeated_tokens  pairs, half, seed
    task             name, n, seed, split
    tokens           path of a safetensors file
    corpus           paths (globs), context, n, column
    python           target "module:function", folder where the module lies

    Raises InterpError with a code E400 to E449 for whatever stands in the way."""
    kind = str(spec.get("kind"))
    match kind:
        case "prompts":
            data = _prompts(name, spec, _needed(name, facts))
        case "template":
            data = build_template(name, spec, _needed(name, facts))
        case "repeated_tokens" | "task":
            data = _task(name, spec, facts)
        case "file":
            verbs = _path(spec["verbs"], base) if spec.get("verbs") else None
            path, known = _path(spec["path"], base), _needed(name, facts)
            data = build_file(name, spec, known, path, verbs, rows or read_records)
        case "tokens":
            data = build_tokens(name, _path(spec["path"], base))
        case "corpus":
            data = _corpus(name, spec, _needed(name, facts), base)
        case "python":
            data = _python(name, spec, facts, base, trusted)
        case _:
            raise fault(
                "E400",
                f"there is no dataset kind {kind}",
                f"the kinds are {listed(KINDS)}",
                help=closest(kind, KINDS),
            )
    return check_fits(data, facts)


def _needed(name: str, facts: ModelFacts | None) -> ModelFacts:
    if facts is None:
        raise fault(
            "E401",
            f"{name} is text, and no model says how to read it as tokens",
            help="name a model in the experiment",
        )
    return facts


def _path(path: str, base: Path | None) -> Path:
    return (base or Path()) / path


def _corpus(name: str, spec: Spec, facts: ModelFacts, base: Path | None) -> Data:
    n, context = spec.get("n"), int(spec.get("context") or 128)
    most = facts.shape.n_ctx
    if context > most and facts.shape.positional == "standard":
        raise fault(
            "E404",
            f"a context of {name} has {context:,} tokens, and {facts.name} reads at most {most:,}",
            help=f"write context={most}",
        )
    return build_corpus(
        name,
        expand(list(spec["paths"]), base),
        context,
        None if n is None else int(n),
        spec.get("column"),
        load_tokenizer(facts),
    )


def _python(
    name: str, spec: Spec, facts: ModelFacts | None, base: Path | None, trusted: bool
) -> Data:
    target = str(spec["target"])
    if not trusted:
        raise fault(
            "E435",
            f'python("{target}") runs code of its own, which is not trusted',
            help="read the code, then run with --trust",
        )
    folder = _path(spec["folder"], base) if spec.get("folder") else base
    return build_python(name, target, folder, facts)


def _prompts(name: str, spec: Spec, facts: ModelFacts) -> Data:
    given = {key: list(spec[key]) for key in ("clean", "corrupt") if spec.get(key)}
    if not given:
        raise fault("E407", f"{name} has no prompts", help='write clean ["…", "…"]')
    n = len(next(iter(given.values())))
    check_counts(name, n, {key: len(texts) for key, texts in given.items()})
    tokenizer = load_tokenizer(facts)
    sides = [
        text_side(
            key if len(given) == 2 else own_side(name), [*map(read_prompt, texts)], tokenizer, facts
        )
        for key, texts in given.items()
    ]
    answers, wrongs = (_spread(spec.get(key), n) for key in ("answer", "wrong"))
    return assemble(name, sides, answers, wrongs, tokenizer)


def _spread(answers: Any, n: int) -> list[Any] | None:
    """One answer stands for all prompts."""
    if not answers:
        return None
    return list(answers) * n if len(answers) == 1 else list(answers)


def _task(name: str, spec: Spec, facts: ModelFacts | None) -> Data:
    seed = int(spec.get("seed") or 0)
    text = bundled_text(str(spec["name"])) if spec["kind"] == "task" else None
    if text is not None:
        n, split = int(spec.get("n") or 64), str(spec.get("split") or "heldout")
        return build_heldout(name, str(spec["name"]), text, n, seed, split)
    try:
        if spec["kind"] == "task":
            split = str(spec.get("split") or "heldout")
            drawn = tasks.task(str(spec["name"]), int(spec.get("n") or 64), seed, split)
        else:
            vocab, bos = _vocabulary(name, facts)
            pairs, half = int(spec.get("pairs") or 64), int(spec.get("half") or 24)
            drawn = tasks.repeated_tokens(pairs, half, vocab, bos, seed)
    except ValueError as why:
        raise fault("E443", str(why), help="`interp docs` lists what the generator takes") from None
    return from_task(name, drawn, seed)


def _vocabulary(name: str, facts: ModelFacts | None) -> tuple[int, int]:
    if facts is None:
        raise fault(
            "E401",
            f"{name} draws tokens of a model's vocabulary, and no model is known",
            help="name a model in the experiment",
        )
    return facts.shape.d_vocab, 0 if facts.bos is None else facts.bos


def from_task(name: str, drawn: tasks.TaskData, seed: int) -> Data:
    """The dataset of a task's examples: two sides where it has pairs, else one named `name`."""

    def side(key: str, tokens: Ints, texts: tuple[str, ...] | None) -> Side:
        return Side(key, tokens, drawn.lengths, drawn.position, dict(drawn.labels), texts)

    if drawn.corrupt is None:
        sides = [side(own_side(name), drawn.clean, drawn.texts)]
    else:
        sides = [side("clean", drawn.clean, drawn.texts), side("corrupt", drawn.corrupt, None)]
    return Data(
        name,
        {s.name: s for s in sides},
        _alternatives(drawn.answer),
        _alternatives(drawn.wrong),
        {},
        drawn.template,
        seed,
    )


def _alternatives(tokens: Ints) -> tuple[Answer, ...]:
    """Answers of one token [n], or of a class of tokens [n, k]."""
    rows = tokens.reshape(len(tokens), -1)
    return tuple(Answer(tuple((int(token),) for token in row)) for row in rows)
