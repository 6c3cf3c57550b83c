"""Verbs as their signatures say, and the tasks that steps become."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interp_dsl.check import Checked, check_source
from interp_dsl.check.lower import lower
from interp_dsl.language.keywords import CLAUSES
from interp_dsl.language.parse import parse
from interp_dsl.language.source import Source
from interp_dsl.language.tree import Declaration, Phrase
from interp_dsl.plan.algebra import FromRun, Mean, MeanVector, MetricCall, Run, ToVector, Zero
from interp_dsl.plan.places import Site
from interp_dsl.plan.tasks import (
    Attribute,
    AttributeEdges,
    BuildData,
    Evaluate,
    EvaluateCircuit,
    Factor,
    Forward,
    LoadModel,
    Record,
    Search,
    Sweep,
    Task,
    Variant,
)
from interp_dsl.verbs import verbs
from interp_dsl.verbs.dictionaries import ARCHITECTURES as DICTIONARIES
from interp_dsl.verbs.dictionaries import settled
from interp_dsl.verbs.directions import DIRECTIONS, PATHS
from interp_dsl.verbs.estimates import ESTIMATES
from interp_dsl.verbs.evidence import CIRCUIT, FINDINGS
from interp_dsl.verbs.factors import FACTORINGS
from interp_dsl.verbs.functions import DATASETS, MODELS, SOURCES
from interp_dsl.verbs.methods import EDGES, SEARCHES
from interp_dsl.verbs.relations import RELATIONS
from interp_dsl.verbs.signature import Verb

HEAD = """model m = bundled("induction-2l")
dataset pairs = repeated_tokens(pairs=4, half=8)
step cut = ablate {L0H3} with zero
"""


def _checked(text: str) -> Checked:
    found = check_source(Source(HEAD + text))
    assert not [one for one in found.diagnostics if one.severity == "error"]
    return found


def _tasks(text: str) -> tuple[Task, ...]:
    found = _checked(text)
    assert found.experiment is not None
    return lower(found.experiment).tasks


def _one(text: str, kind: type[Task]) -> Task:
    (found,) = [task for task in _tasks(text) if isinstance(task, kind)]
    return found


def _sweep(text: str) -> Sweep:
    found = _one(text, Sweep)
    assert isinstance(found, Sweep)
    return found


CLEAN = Run("model:m", "data:pairs", "clean")
CORRUPT = Run("model:m", "data:pairs", "corrupt")


@pytest.mark.parametrize("verb", verbs().values(), ids=lambda verb: verb.name)
def test_the_example_of_a_verb_is_a_step_of_it(verb: Verb) -> None:
    program, problems = parse(Source(verb.example))
    (statement,) = program.statements
    assert problems == []
    assert isinstance(statement, Declaration)
    assert isinstance(statement.value, Phrase)
    assert statement.value.verb is not None
    assert statement.value.verb.id == verb.name
    used = {clause.word for clause in statement.value.clauses}
    assert {word for word, clause in verb.clauses.items() if clause.required} <= used
    assert used <= set(verb.clauses)


@pytest.mark.parametrize("verb", verbs().values(), ids=lambda verb: verb.name)
def test_clauses_are_words_of_the_language(verb: Verb) -> None:
    assert set(verb.clauses) <= set(CLAUSES)
    assert all(clause.doc for clause in verb.clauses.values())


def test_functions_are_called_by_their_names_and_documented() -> None:
    searches = {name: method.function for name, method in SEARCHES.items()}
    estimates = {name: estimate.function for name, estimate in ESTIMATES.items()}
    findings = {name: evidence.function for name, evidence in FINDINGS.items()}
    factorings = {name: factoring.function for name, factoring in FACTORINGS.items()}
    own = {function.name: function for function in (EDGES, CIRCUIT)}
    curves = (DIRECTIONS, PATHS)
    found = (findings, searches, estimates, factorings, RELATIONS, own)
    tables = (MODELS, DATASETS, SOURCES, *curves, *found)
    for table in tables:
        for name, function in table.items():
            assert function.name == name
            assert function.doc.endswith(".")
            assert all(parameter.doc for parameter in function.parameters.values()), name


def test_a_patch_keeps_its_source_and_measures_both_runs() -> None:
    text = "step who = patch heads from pairs.corrupt into pairs.clean measure logit_diff()\n"
    sweep = _sweep(text)
    assert sweep.intervention.source == FromRun(CORRUPT)
    assert [(v.into, v.other) for v in sweep.variants] == [(CLEAN, CORRUPT)]
    runs = {f.run: f for f in _tasks(text) if isinstance(f, Forward) and f.metrics}
    assert set(runs) == {CLEAN, CORRUPT}


def test_what_a_step_needs_stands_before_it() -> None:
    tasks = _tasks("step who = patch heads from pairs.corrupt into pairs.clean measure kl()\n")
    kinds = [type(task) for task in tasks]
    assert kinds.index(LoadModel) < kinds.index(BuildData) < kinds.index(Forward)
    assert kinds[-1] is Sweep


def test_divergence_is_measured_from_the_undisturbed_clean_run() -> None:
    sweep = _sweep(
        "step who = patch heads from pairs.clean into pairs.corrupt under cut measure kl()\n"
    )
    assert sweep.reference == CLEAN
    (variant,) = sweep.variants
    assert variant.into.side == "corrupt"
    assert len(variant.into.under) == 1
    assert variant.other == CLEAN


def test_contexts_are_variants_and_a_side_keeps_its_own() -> None:
    sweep = _sweep(
        "step other = ablate {L0H0} with mean(pairs.clean)\n"
        "step who = patch heads from pairs.corrupt into (pairs.clean under cut)\n"
        "  under other, together(cut, other) measure kl()\n"
    )
    assert [len(v.into.under) for v in sweep.variants] == [2, 3]
    assert [v.columns for v in sweep.variants] == [
        (("under", "other"),),
        (("under", "together(cut, other)"),),
    ]


def test_a_mean_is_over_a_run_and_normalised_by_none() -> None:
    sweep = _sweep("step out = ablate heads with mean(pairs.corrupt) on pairs.clean measure kl()\n")
    assert sweep.intervention.source == Mean(CORRUPT, "position")
    assert sweep.variants[0].other is None


def test_a_chain_is_in_the_order_of_the_stream() -> None:
    text = (
        "step b = factor logits, L1.resid_post, L1.resid_pre, L0.resid_mid on pairs.corrupt\n"
        "  by interaction_basis() measure kl()\n"
    )
    found = _one(text, Factor)
    assert isinstance(found, Factor)
    places = [target.place for target in found.targets]
    assert places == ["L0.resid_mid", "L1.resid_pre", "L1.resid_post", "logits"]
    assert (found.into, found.reference) == (CORRUPT, CLEAN)
    assert CLEAN in {task.run for task in _tasks(text) if isinstance(task, Forward)}


def test_vectors_are_sums_of_means() -> None:
    sweep = _sweep(
        "let push = mean(L1.resid_pre of pairs.clean at last)\n"
        "step out = ablate L1.resid_pre with push on pairs.clean measure kl()\n"
    )
    assert isinstance(sweep.intervention.source, ToVector)
    assert isinstance(sweep.intervention.source.vector, MeanVector)
    assert sweep.intervention.source.vector.run == CLEAN


def test_a_step_whose_results_are_read_runs_first() -> None:
    tasks = _tasks(
        "step best = patch top(who, 2) from pairs.corrupt into pairs.clean measure kl()\n"
        "step who = patch heads from pairs.corrupt into pairs.clean measure kl()\n"
    )
    assert [task.step for task in tasks if isinstance(task, Sweep)] == ["who", "best"]


def test_a_filter_that_reads_results_is_built_after_them() -> None:
    tasks = _tasks(
        "let known = pairs where base.accuracy.value == 1\n"
        "step who = patch heads from known.corrupt into known.clean measure kl()\n"
        "step base = evaluate m on pairs measure accuracy()\n"
    )
    names = [getattr(task, "id", "") for task in tasks]
    assert names.index("evaluate:base") < names.index("data:known")
    (known,) = [t for t in tasks if isinstance(t, BuildData) and t.parent]
    assert known.parent == "data:pairs"


def test_evaluate_measures_the_clean_side_of_a_pair() -> None:
    found = _one("step base = evaluate m on pairs measure accuracy()\n", Evaluate)
    assert isinstance(found, Evaluate)
    assert [v.into for v in found.variants] == [CLEAN]


def test_record_names_its_places() -> None:
    found = _one("step seen = record (patterns layers 1) at last of pairs.clean keep 2\n", Record)
    assert isinstance(found, Record)
    assert [str(t) for t in found.targets] == [f"L1H{h}.pattern at last" for h in range(4)]
    assert found.keep == 2


def test_an_intervention_alone_runs_nothing() -> None:
    assert _tasks("") == ()


def test_every_method_and_finding_is_run_by_the_engine() -> None:
    from interp_dsl.engine import node_evidence, node_search
    from interp_dsl.engine.by_edge import RANKED_BY
    from interp_dsl.engine.evidence import AREAS, FUNCTIONS, SHARED
    from interp_dsl.engine.methods import METHODS

    over = {what: {n for n, m in SEARCHES.items() if what in m.of} for what in ("edges", "nodes")}
    assert METHODS.keys() == RANKED_BY.keys() == over["edges"]
    assert node_search.METHODS.keys() == over["nodes"]
    assert node_evidence.FUNCTIONS.keys() - {None} == {n for n, e in FINDINGS.items() if e.of_nodes}
    assert FUNCTIONS.keys() - {None} == FINDINGS.keys()
    assert {*SHARED} == {name for name, one in FINDINGS.items() if one.is_shared}
    area = FINDINGS["roc_auc"].function.parameters["area"]
    assert AREAS.keys() == {*area.choices}


def test_every_way_to_estimate_is_run_by_the_engine() -> None:
    from interp_dsl.circuits.attribution.examples import RULES
    from interp_dsl.circuits.attribution.nodes import PATHS
    from interp_dsl.engine import edge_estimates, site_estimates

    edges = {name for name, estimate in ESTIMATES.items() if estimate.of == "edges"}
    assert edge_estimates.METHODS.keys() == edges
    assert site_estimates.METHODS.keys() | {"dla"} == ESTIMATES.keys() - edges
    assert ESTIMATES["ig"].function.parameters["at"].choices == PATHS
    assert {ESTIMATES[n].function.parameters["rule"].choices for n in ("ig", "eap_ig")} == {RULES}


def test_estimates_of_units_keep_what_a_patch_would_and_the_embeddings_of_a_path() -> None:
    text = "step who = attribute heads by METHOD from pairs.corrupt into pairs.clean measure kl()\n"
    for method, more in (("ig()", {Site("embed")}), ("ig(at=site)", set())):
        task = _one(text.replace("METHOD", method), Attribute)
        assert isinstance(task, Attribute)
        assert task.variant == Variant(CLEAN, CORRUPT) and task.reference == CLEAN
        assert task.intervention.source == FromRun(CORRUPT)
        assert dict(task.options)["steps"] == 5 and task.verify == 0
        found = _tasks(text.replace("METHOD", method))
        kept = {s for t in found if isinstance(t, Forward) and t.run == CORRUPT for s in t.sites}
        assert kept == {Site("head", 0), Site("head", 1)} | more


def test_estimates_of_edges_keep_no_sites() -> None:
    text = (
        "step who = attribute edges by eap_ig(verify=top(7)) from pairs.corrupt into pairs.clean\n"
        "  measure logit_diff()\n"
    )
    task = _one(text, AttributeEdges)
    assert isinstance(task, AttributeEdges)
    assert (task.n_edges, task.verify, task.source) == (81, 7, FromRun(CORRUPT))
    forwards = [t for t in _tasks(text) if isinstance(t, Forward)]
    assert {t.run for t in forwards} == {CLEAN, CORRUPT} and not any(t.sites for t in forwards)


def test_direct_attribution_looks_at_one_run() -> None:
    text = "step who = attribute nodes by dla() on pairs.corrupt measure logit_diff()\n"
    task = _one(text, Attribute)
    assert isinstance(task, Attribute)
    assert task.variant == Variant(CORRUPT, None)
    assert {t.run for t in _tasks(text) if isinstance(t, Forward)} == {CORRUPT}


def _searched(text: str) -> tuple[Search, EvaluateCircuit]:
    tasks = _tasks(text)
    (search,) = (t for t in tasks if isinstance(t, Search))
    (check,) = (t for t in tasks if isinstance(t, EvaluateCircuit))
    return search, check


SEARCH = "step circuit = search edges by acdc(0.1) from {} into {} measure kl()\n"


def test_a_circuit_is_evaluated_with_the_source_it_was_found_with() -> None:
    rest = Run("model:m", "data:rest", "clean")
    text = "let rest = pairs where index > 1\n" + SEARCH.format("pairs.corrupt", "pairs.clean")
    search, check = _searched(f"{text}step check = evaluate circuit on rest measure faithfulness()")
    assert (search.into, search.source) == (CLEAN, FromRun(CORRUPT))
    assert (check.into, check.source) == (rest, FromRun(replace(rest, side="corrupt")))
    text = text.replace("pairs.corrupt", "mean(pairs.corrupt)")
    _, check = _searched(f"{text}step check = evaluate circuit on rest measure faithfulness()")
    assert check.source == Mean(CORRUPT)
    _, check = _searched(f"{text}step check = evaluate circuit on rest with zero measure kl()")
    assert check.source == Zero()


def test_a_bare_pair_is_evaluated_on_the_side_that_was_searched() -> None:
    text = SEARCH.format("pairs.clean", "pairs.corrupt")
    _, check = _searched(f"{text}step check = evaluate circuit on pairs measure faithfulness()")
    assert (check.into, check.source, check.reference) == (CORRUPT, FromRun(CLEAN), CLEAN)


def test_faithfulness_is_of_the_metric_that_drove_the_search() -> None:
    text = SEARCH.format("zero", "pairs.clean")
    _, check = _searched(f"{text}step check = evaluate circuit on pairs measure faithfulness()")
    (finding,) = check.findings
    assert (finding.function, finding.metric.term) == ("faithfulness", MetricCall("kl"))
    other = "step check = evaluate circuit on pairs measure faithfulness(logit_diff())"
    _, check = _searched(text + other)
    assert check.findings[0].metric.term == MetricCall("logit_diff")


@pytest.mark.parametrize(
    ("steps", "times"), [(40_000, 1), (5_000, 1), (1_250, 2), (200, 5), (50, 10), (1, 10)]
)
def test_a_short_fit_takes_a_larger_rate(steps: int, times: int) -> None:
    options = {name: one.default for name, one in DICTIONARIES["topk"].parameters.items()}
    given = options | {"width": 2**12, "batch": 8}
    assert settled(given, 8 * steps)["lr"] == pytest.approx(times * 4e-4)
    assert settled(given | {"lr": 1e-2}, 8 * steps)["lr"] == 1e-2
