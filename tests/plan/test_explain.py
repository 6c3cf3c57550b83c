"""What the printed plan says of its tasks."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.plan.explain import explain, explain_passes
from interp_dsl.plan.passes import PASSES, optimise
from interp_dsl.plan.places import Positions, Site, Target, Unit
from interp_dsl.plan.starts import Packing
from interp_dsl.plan.tasks import Evaluate, Forward, KeepPairs, Sweep, Variant
from interp_dsl.plan.written import quantity
from tests.plan.test_cost import CLEAN, GAP, LOADS, at, plan, sweep

FORWARD = Forward("f", CLEAN, (Site("z", 2),), (GAP,), batch=64, reads_few=True)
END = Positions("label", label="END")


def details(text: str, title: str) -> list[str]:
    """The lines below a task's title."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line[3:].startswith(title))
    found = []
    for line in lines[first + 1 :]:
        if not line.startswith(("│    ", "     ")):
            break
        found.append(line[5:])
    return found


def of_sweep(task: Sweep) -> list[str]:
    return details(explain(plan(task)), "step who")


def test_a_forward_names_the_steps_that_share_it() -> None:
    steps = [
        Evaluate(f"e{i}", f"step{i}", (Variant(CLEAN, None),), (GAP,), CLEAN) for i in range(7)
    ]
    one = details(explain(plan(FORWARD, sweep(at("head", 1)))), "forward d.clean")
    assert one == [
        "keeps 1 site, 720 B, measures gap, for who",
        "5 rows, 30 tokens, 37.8 kFLOP, 64 rows a batch",
    ]
    many = details(explain(plan(FORWARD, *steps)), "forward d.clean")
    assert many[0].endswith("for step0, step1, step2, step3, step4 and 2 more")
    none = details(explain(plan(replace(FORWARD, sites=(), metrics=()))), "forward d.clean")
    assert none[0] == "keeps no sites"


def test_a_sweep_says_where_it_starts() -> None:
    def says(*units: Unit, **more: object) -> str:
        return of_sweep(sweep(*units, trims=False, **more))[2]

    behind = ", behind the attention (late)"
    assert says(at("head", 0), at("head", 2)) == f"starts at layers 0..2{behind}"
    assert says(at("head", 1), at("q", 1)) == "starts at layer 1 (late)"
    mixed = says(at("embed", None), at("head", 1))
    assert mixed == "starts at the embedding and layer 1 (late)"
    assert says(at("embed", None)) == "starts at the embedding (late)"
    assert says(at("head", 1), late=False) == "every pass from the beginning"
    narrow = of_sweep(sweep(at("v", 1, END), narrow=True))[2]
    assert narrow == (
        "starts at layer 1 (late); at the first changed position; only what differs until it is "
        "attended to"
    )


def test_a_forward_says_what_it_leaves_and_where_it_ends() -> None:
    kept = replace(FORWARD, remembers=("resid_pre", "z"))
    lines = details(explain(plan(kept)), "forward d.clean")
    assert lines[0].startswith("keeps 1 site and resid_pre, z of all layers, ")
    ends = details(explain(plan(replace(FORWARD, metrics=(), stops=True))), "forward d.clean")
    assert ends[1].endswith(", 64 rows a batch, ends after the last of them")


def test_a_sweep_says_what_it_takes_and_when_it_may_be_less() -> None:
    packing = Packing(tokens=900, rows=16, shard=4, least=1)
    lines = of_sweep(sweep(at("head", 1), packing=packing))
    assert lines[3].startswith("5 rows, 30 tokens, ") and lines[3].endswith("FLOP, 3.4 kB a batch")
    assert lines[4] == "at most 16 rows and 900 tokens a batch, 4 units a shard"
    assert of_sweep(sweep(at("head", 1, END)))[3] == f"at most {lines[3]}"
    skips = of_sweep(sweep(at("head", 1), skips=True))
    assert skips[3] == "skips units that cannot have an effect: theirs is 0"


def test_sizes_that_wait_say_so() -> None:
    text = explain(replace(plan(sweep(at("head", 1))), tasks=(LOADS[0], sweep(at("head", 1)))))
    assert details(text, "step who")[3] == "size known at run time"
    assert "total  no rows, 0 tokens, 0 FLOP, and 1 more whose size the run will know" in text
    assert "plain loop" not in text


def test_the_totals_compare_with_a_plain_loop() -> None:
    # of 5 prompts with all logits 2 × (3 × 6,240 + 30 × 40) FLOP: two sides and one unit
    text = explain(plan(replace(FORWARD, sites=()), sweep(at("embed", None))))
    total, loop = text.splitlines()[-2:]
    assert total.startswith("total  10 rows, 60 tokens, ")
    assert loop == (
        "       of it 57.3 kFLOP for the steps; a plain loop would take 119.5 kFLOP: 2.1× as much"
    )
    also = explain(plan(KeepPairs("k", "d", (CLEAN,)), sweep(at("head", 1, END))))
    most, least = also.splitlines()[-1].split("; a plain loop")
    assert most.startswith("       of it at most ") and ": at least " in least


def test_passes_show_what_they_change() -> None:
    plain = plan(Forward("f", CLEAN, metrics=(GAP,)), sweep(at("head", 1), late=False))
    parts = explain_passes(plain).split("\n\n")
    assert parts[0] == f"as lowered\n{explain(plain)}"
    assert parts[-1] == f"as run\n{explain(optimise(plain))}"
    named = dict(zip((p.__name__ for p in PASSES), parts[1:-1], strict=True))
    assert named["share_forwards"].endswith("\n(nothing to do)")
    late = named["start_late"].splitlines()[1:]
    assert {line[0] for line in late} == {" ", "-", "+"}
    assert any(line.startswith("-") and "every pass from the beginning" in line for line in late)
    assert any(line.startswith("+") and "(late)" in line for line in late)


def test_a_pass_is_told_in_a_whole_sentence_and_a_task_named_once() -> None:
    task = sweep(at("head", 1), reads_few=False, metrics=(GAP,))
    parts = explain_passes(plan(task)).split("\n\n")[1:-1]
    for part in parts:
        law, *lines = part.splitlines()
        assert law.endswith("."), law
        titles = [line for line in lines if line.startswith(("  ├─ step", "  └─ step"))]
        assert len(titles) == len(set(titles)), part
    few = next(part for part in parts if part.startswith("read_few"))
    assert "unembeds every position" in few and "FLOP" in few  # two stretches of lines of one task


def test_a_model_that_runs_by_hooks_says_so() -> None:
    hook = Unit((Target(Site("hook", hook="blocks.0.ln1.hook_scale")),))
    number = [a_pass.__name__ for a_pass in PASSES].index("choose_executor")
    chosen = explain_passes(plan(sweep(hook))).split("\n\n")[1 + number]
    named = [line for line in chosen.splitlines() if "─ model" in line]
    assert [line[0] for line in named] == ["-", "+"]
    assert named[1] == named[0].replace("- ", "+ ") + ", runs by hooks"
    assert "runs by hooks" not in explain(optimise(plan(sweep(at("head", 1)))))


def test_lines_of_a_run_stand_beside_and_below() -> None:
    text = explain(plan(FORWARD), {"f": "0.1 s"}, ["took   0.2 s"])
    assert "forward d.clean  [0.1 s]\n" in text
    assert text.splitlines()[-1] == "took   0.2 s"


def test_quantities() -> None:
    assert [quantity(v) for v in (7, 1200, 3.4e9)] == ["7 ", "1.2 k", "3.4 G"]
