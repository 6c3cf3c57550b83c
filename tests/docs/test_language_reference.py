"""What grammar/language.md, the README and the examples say is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from interp_dsl.check import check_file, check_source
from interp_dsl.check.circuits import PARTS
from interp_dsl.check.groups import GROUPS
from interp_dsl.check.program import FORMS
from interp_dsl.cli.dictionaries import DICTIONARIES
from interp_dsl.data.lists import lists
from interp_dsl.data.tasks import TASKS
from interp_dsl.dictionaries.formats.config import formats
from interp_dsl.dictionaries.formats.dictionary_learning import CLASSES
from interp_dsl.dictionaries.formats.saelens import NAMES
from interp_dsl.language.format import format_source
from interp_dsl.language.keywords import STATEMENTS
from interp_dsl.language.render import render
from interp_dsl.language.source import Source
from interp_dsl.models.sites import FAMILIES
from interp_dsl.plan.metrics import METRICS
from interp_dsl.runs import related
from interp_dsl.runs.curves import CURVE_COLUMNS, REACH_COLUMNS, REGION_COLUMNS
from interp_dsl.runs.factored import TABLES
from interp_dsl.runs.schema import (
    ESTIMATE_COLUMNS,
    FEATURE_TABLES,
    FIT_COLUMNS,
    LOADED_COLUMNS,
    PROBE_COLUMNS,
    SCORE_COLUMNS,
    SPLIT_COLUMNS,
    TEXT_COLUMNS,
    TOKEN_COLUMNS,
)
from interp_dsl.verbs import generate, verbs
from interp_dsl.verbs.dictionaries import ARCHITECTURES, READINGS, SWEPT
from interp_dsl.verbs.directions import DIRECTIONS, PATHS
from interp_dsl.verbs.estimates import ESTIMATES
from interp_dsl.verbs.evidence import FINDINGS
from interp_dsl.verbs.factors import FACTORINGS
from interp_dsl.verbs.functions import DATASETS, MODELS, SOURCES
from interp_dsl.verbs.judging import MEASURES, RAW, rows_of
from interp_dsl.verbs.load import LOAD
from interp_dsl.verbs.methods import EDGES, SEARCHES
from interp_dsl.verbs.relations import FINDINGS as RELATED
from interp_dsl.verbs.relations import RELATIONS
from interp_dsl.verbs.signature import Function
from interp_dsl.verbs.values import FindingTerm

from .reference import (
    LANGUAGE,
    README,
    REPOSITORY,
    Snippet,
    code_words,
    headed_calls,
    program,
    section,
    snippets,
    table,
)

EXAMPLES = sorted((REPOSITORY / "examples").glob("*.interp"))
SNIPPETS = [s for s in snippets(LANGUAGE) if s.language == "interp"]
SHOWN = [s for s in snippets(README) if s.language in ("", "interp") and "\nstep " in s.text]


def _line(snippet: Snippet) -> str:
    return f"line {snippet.line}"


def _errors(source: Source) -> str:
    """The errors of a text, and fits that are too short to be a pattern; `python(…)` is trusted, as
    checking runs nothing."""
    found = check_source(source, trusted=True).diagnostics
    return render([d for d in found if d.severity == "error" or d.code == "W46"])


# ** snippets and examples **


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) > 10
    assert SHOWN
    assert EXAMPLES


@pytest.mark.parametrize("snippet", SNIPPETS, ids=_line)
def test_a_snippet_of_the_reference_checks(snippet: Snippet, folder: Path) -> None:
    text = program(snippet, SNIPPETS)
    assert not _errors(Source(text, folder / "snippet.interp"))


@pytest.mark.parametrize("snippet", SNIPPETS, ids=_line)
def test_a_snippet_of_the_reference_is_formatted(snippet: Snippet) -> None:
    assert format_source(Source(snippet.text)) == snippet.text


@pytest.mark.parametrize("snippet", SHOWN, ids=_line)
def test_a_program_of_the_readme_checks(snippet: Snippet, folder: Path) -> None:
    assert not _errors(Source(snippet.text, folder / "snippet.interp"))


def test_a_broken_snippet_is_noticed(folder: Path) -> None:
    broken = SNIPPETS[0].text.replace("heads at END", "headz at END")
    assert "E200" in _errors(Source(broken, folder / "snippet.interp"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_an_example_checks(path: Path) -> None:
    found = check_file(path).diagnostics
    assert not render([d for d in found if d.severity == "error" or d.code == "W46"])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_an_example_is_formatted(path: Path) -> None:
    assert format_source(Source(path.read_text("utf-8"), path)) == path.read_text("utf-8")


def test_the_readme_lists_the_examples() -> None:
    linked = re.findall(r"\(examples/([\w-]+\.interp)\)", README.read_text("utf-8"))
    assert sorted(set(linked)) == [path.name for path in EXAMPLES]


# ** names **


def test_statements() -> None:
    rows = table(section("Statements"), "statement")
    assert {row["statement"].split()[0] for row in rows} == set(STATEMENTS)


def test_models_and_their_arguments() -> None:
    rows = {row["function"]: row["arguments"] for row in table(section("Models"), "function")}
    assert list(rows) == list(MODELS)
    for name, arguments in rows.items():
        told = set(re.findall(r"\w+", arguments))
        assert name == "python" or MODELS[name].parameters.keys() <= told


def test_datasets_and_their_arguments() -> None:
    told = headed_calls(section("Data"))
    assert told == {name: list(function.parameters) for name, function in DATASETS.items()}


@pytest.mark.parametrize("name", [*TASKS, *lists()])
def test_a_task_or_a_word_list_is_named(name: str) -> None:
    assert name in section("Data")


def test_metrics() -> None:
    rows = table(section("Metrics"), "metric")
    assert [row["metric"] for row in rows] == list(METRICS)


def test_which_metrics_read_sequences_and_answers() -> None:
    for row in table(section("Metrics"), "metric"):
        facts = METRICS[row["metric"]]
        assert set(re.findall(r"\w+", row["needs"])) == facts.needs & {"answer", "wrong"}
        if facts.needs & {"answer", "wrong"}:
            assert (row["sequence"] != "–") is facts.sequence


def test_families() -> None:
    rows = table(section("Places and units"), "family")
    assert {name for row in rows for name in row["family"].split(", ")} == set(FAMILIES)


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_is_told_of(group: str) -> None:
    rows = table(section("Places and units"), "to choose")
    assert any(row["to choose"].startswith(f"{group}(") for row in rows)


@pytest.mark.parametrize("source", [*SOURCES, "zero", "blocked"])
def test_a_source_and_its_options_are_told_of(source: str) -> None:
    rows = table(section("Sources"), "source")
    told = next(row["source"] for row in rows if re.match(rf"{source}\b", row["source"]))
    if source in SOURCES:
        assert SOURCES[source].parameters.keys() <= set(re.findall(r"\w+", told))


def test_every_way_to_average() -> None:
    assert set(SOURCES["mean"].parameters["per"].choices) <= code_words(section("Sources"))


def test_verbs() -> None:
    rows = table(section("Verbs"), "verb")
    assert {row["verb"] for row in rows} == verbs().keys()


@pytest.mark.parametrize("name", verbs())
def test_the_clauses_of_a_verb(name: str) -> None:
    rows = table(section("Verbs"), "clause")
    told = {row["clause"]: row[name] for row in rows if row[name]}
    assert told.keys() == verbs()[name].clauses.keys()
    required = {word for word, cell in told.items() if cell == "required"}
    assert required == {word for word, clause in verbs()[name].clauses.items() if clause.required}


@pytest.mark.parametrize(
    ("first", "functions"),
    [
        ("method", [method.function for method in SEARCHES.values()]),
        ("finding", [one.function for one in FINDINGS.values()]),
    ],
)
def test_functions_of_circuits_and_their_arguments(first: str, functions: list[Function]) -> None:
    rows = [re.findall(r"\w+", row[first]) for row in table(section("Circuits"), first)]
    assert rows == [[function.name, *function.parameters] for function in functions]


def test_every_choice_of_a_search_is_told_of() -> None:
    told = code_words(section("Circuits"))
    functions = [EDGES, *(method.function for method in SEARCHES.values())]
    for parameter in (p for function in functions for p in function.parameters.values()):
        assert {w for c in parameter.choices for w in re.findall(r"\w+", c)} <= told
    assert EDGES.parameters.keys() <= told


def test_ways_to_estimate_and_their_arguments() -> None:
    rows = {row["method"]: row["of"] for row in table(section("Attribution"), "method")}
    told = {tuple(re.findall(r"\w+", method)): of for method, of in rows.items()}
    for name, estimate in ESTIMATES.items():
        of = "places" if estimate.of == "units" else estimate.of
        assert told.pop((name, *estimate.function.parameters)) == of
    assert not told


def test_every_choice_of_an_estimate_is_told_of() -> None:
    told = code_words(section("Attribution"))
    for parameter in (p for e in ESTIMATES.values() for p in e.function.parameters.values()):
        assert set(parameter.choices) <= told
    flat = {name for name, facts in METRICS.items() if not facts.smooth}
    assert flat <= told


def test_columns_of_estimates() -> None:
    rows = table(section("Attribution"), "column")
    names = {name for row in rows for name in row["column"].split(", ")}
    assert ESTIMATE_COLUMNS.keys() <= names <= ESTIMATE_COLUMNS.keys() | SCORE_COLUMNS.keys()


def test_ways_to_factor_and_their_findings() -> None:
    rows = [re.findall(r"\w+", row["method"]) for row in table(section("Factoring"), "method")]
    functions = [factoring.function for factoring in FACTORINGS.values()]
    assert rows == [[function.name, *function.parameters] for function in functions]
    told = [row["finding"] for row in table(section("Factoring"), "finding")]
    names = [name for row in told for name in re.findall(r"\w+", row)]
    assert names == [name for factoring in FACTORINGS.values() for name in factoring.findings]
    words = code_words(section("Factoring"))
    for factoring in FACTORINGS.values():
        choices = {c for p in factoring.function.parameters.values() for c in p.choices}
        assert choices | set(factoring.keyed.values) | {factoring.keyed.column} <= words
    assert {f"STEP.{name}" for name in TABLES} <= set(
        re.findall(r"STEP\.\w+", section("Factoring"))
    )


def test_directions_and_their_arguments() -> None:
    rows = [re.findall(r"\w+", row["direction"]) for row in table(section("Curves"), "direction")]
    assert rows[:-1] == [[name, *f.parameters] for name, f in DIRECTIONS.items()]
    paths = [re.findall(r"\w+", row["path"]) for row in table(section("Curves"), "path")]
    assert paths == [[name] for name in PATHS]


def test_options_of_curves() -> None:
    rows = {row["using of"]: row["options"] for row in table(section("Curves"), "using of")}
    assert rows.keys() == {"perturb", "interpolate"}
    for name, told in rows.items():
        options = verbs()[name].clauses["using"].options
        assert options is not None and options.parameters.keys() <= set(re.findall(r"\w+", told))


def test_columns_of_curves() -> None:
    rows = table(section("Curves"), "column")
    names = [name for row in rows for name in row["column"].split(", ")]
    known = {**CURVE_COLUMNS, **REACH_COLUMNS, **REGION_COLUMNS}
    assert names == [name for name in known if name != "scale"]


def test_architectures_of_dictionaries_and_their_arguments() -> None:
    rows = [r["architecture"] for r in table(section("Dictionaries"), "architecture")]
    told = {name: set(rest) for name, *rest in (re.findall(r"\w+", row) for row in rows)}
    assert told == {name: set(f.parameters) for name, f in ARCHITECTURES.items()}
    assert (
        {name for f in ARCHITECTURES.values() for name in SWEPT if name in f.parameters}
        == {*SWEPT}
        <= code_words(section("Dictionaries"))
    )


def _calls(cell: str) -> list[tuple[str, str]]:
    """Functions and the words in their brackets."""
    return re.findall(r"(\w+)(?:\(([\w, ]+)\))?", cell)


def test_measures_of_dictionaries_and_columns_of_training() -> None:
    rows = [r["measure"] for r in table(section("Dictionaries"), "measure")]
    told = {name: rest.split(", ") for row in rows for name, rest in _calls(row)}
    assert told == {name: [*f.parameters] or [""] for name, f in MEASURES.items()}
    words = code_words(section("Dictionaries"))
    assert {*FIT_COLUMNS, *(raw for names in RAW.values() for raw in names)} <= words
    assert {*SPLIT_COLUMNS, *PROBE_COLUMNS} <= words
    finding = FindingTerm("p", None, "sparse_probing", (("k", (5,)),))
    assert {*rows_of(finding)} <= words


def test_ways_to_look_at_features_and_their_columns() -> None:
    rows = table(section("Dictionaries"), "reading")
    told = {name: rest for name, *rest in (re.findall(r"\w+", r["reading"]) for r in rows)}
    assert told == {name: list(f.parameters) for name, f in READINGS.items()}
    assert FEATURE_TABLES.keys() == READINGS.keys()
    columns = {name for held in FEATURE_TABLES.values() for name in held}
    assert columns <= code_words(section("Dictionaries"))


def test_formats_of_dictionaries_and_how_they_are_loaded() -> None:
    text = section("Dictionaries")
    rows = table(text, "format")
    known = {name: f"{form.config}, {form.weights}" for name, form in formats().items()}
    assert {r["format"]: r["files"] for r in rows} == known
    assert {*known} == {*DICTIONARIES}
    assert f"`load({', '.join(LOAD.parameters)})`" in text
    assert {*LOADED_COLUMNS} <= code_words(text)
    classes = " ".join(r["reads and writes"] for r in rows)
    assert {*CLASSES, *NAMES.values()} <= {*re.findall(r"\w+", classes)}


def test_options_measures_and_tables_of_generate() -> None:
    told = [row["option"] for row in table(section("Generating"), "option")]
    assert told == [*generate.OPTIONS.parameters]
    measures = [row["measure"] for row in table(section("Generating"), "measure")]
    assert measures == [*generate.MEASURES, generate.COUNTED]
    assert {*TEXT_COLUMNS, *TOKEN_COLUMNS} <= code_words(section("Generating"))


def test_ways_to_relate_and_their_findings() -> None:
    rows = [re.findall(r"\w+", row["method"]) for row in table(section("Relations"), "method")]
    assert rows == [[f.name, *f.parameters] for f in RELATIONS.values()]
    told = [row["finding"] for row in table(section("Relations"), "finding")]
    assert [name for row in told for name in re.findall(r"\w+", row)] == list(RELATED)
    words = code_words(section("Relations"))
    assert {
        c for f in RELATIONS.values() for p in f.parameters.values() for c in p.choices
    } <= words
    assert {f"STEP.{name}" for name in related.TABLES} <= set(
        re.findall(r"STEP\.\w+", section("Relations"))
    )


def test_parts_of_a_circuit() -> None:
    rows = table(section("Circuits"), "of a circuit")
    assert {w for row in rows for w in re.findall(r"\.(\w+)", row["of a circuit"])} >= set(PARTS)


def test_columns_of_scores() -> None:
    rows = table(section("Scores"), "column")
    assert [name for row in rows for name in row["column"].split(", ")] == list(SCORE_COLUMNS)


def test_forms() -> None:
    assert set(FORMS) <= code_words(section("Show"))


def test_the_links_of_the_contents_lead_to_sections() -> None:
    page = LANGUAGE.read_text("utf-8")
    titles = re.findall(r"^## (.+)$", page, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}
    assert set(re.findall(r"\]\(#([\w-]+)\)", page)) == anchors
