"""The circuit file: written and read back, described, refused with its place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp_dsl.language.codes import lookup
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.runs.circuit import Circuit, Fingerprint, GraphSize, Method
from interp_dsl.runs.circuit_file import circuit_path, from_json, to_json
from interp_dsl.runs.circuit_table import EDGE_COLUMNS
from tests.runs.circuits import INDUCTION, by_chance, circuit
from tests.runs.test_circuit import fails, words

DESCRIBED = Path(__file__).parents[2] / "grammar" / "circuit.md"

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FINGERPRINTS = st.builds(Fingerprint, st.text(), st.text())


@given(
    st.lists(st.tuples(st.none() | NUMBERS, st.booleans()), min_size=9, max_size=9),
    st.dictionaries(st.text(), JSON, max_size=3),
    st.lists(NUMBERS, max_size=3),
    FINGERPRINTS,
    st.none() | FINGERPRINTS,
    st.none() | st.text(),
)
def test_what_is_written_is_read_back(
    held: list[tuple[float | None, bool]],
    options: dict[str, Any],
    thresholds: list[float],
    model: Fingerprint,
    data: Fingerprint | None,
    metric: str | None,
) -> None:
    import polars as pl

    edges = [(*edge[:3], effect) for edge, (effect, _) in zip(INDUCTION, held, strict=True)]
    written = circuit(
        edges,
        method=Method("acdc", options),
        model=model,
        data=data,
        metric=metric,
        thresholds=tuple(thresholds),
    )
    kept = pl.Series([kept for _, kept in held])
    written = circuit(written.table.with_columns(kept=kept), **_about(written))
    assert from_json(to_json(written)) == written


def _about(held: Circuit) -> dict[str, Any]:
    names = ("graph", "method", "model", "data", "metric", "ablation", "thresholds")
    return {name: getattr(held, name) for name in names}


def test_a_file_is_saved_and_loaded(tmp_path: Path) -> None:
    path = circuit_path(tmp_path / "run", "circuit")
    assert path.name == "circuit.circuit.json"
    found = by_chance(12, 12, 300, 0)
    found.save(path)
    assert Circuit.load(path) == found == Circuit.load(str(path))
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert len(path.read_text("ascii").splitlines()) > 300


def test_the_file_that_is_described_is_read() -> None:
    text = DESCRIBED.read_text("utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL)
    found = from_json(example)
    assert to_json(found) == example
    assert found.graph == GraphSize(2, 8, 257)
    assert found.heads == ["L0H5", "L1H3"]
    fields = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?`) \|", text, flags=re.M))))
    assert {*json.loads(example), *EDGE_COLUMNS} <= fields


def changed(change: Callable[[dict[str, Any]], Any]) -> str:
    """The induction circuit's file with a change made to it."""
    held = json.loads(to_json(circuit(INDUCTION)))
    change(held)
    return json.dumps(held)


BROKEN: list[tuple[str, Callable[[dict[str, Any]], Any], tuple[str, ...]]] = [
    ("E721", lambda f: f.pop("format"), ("format: this is no file of a circuit",)),
    ("E721", lambda f: f.update(version=2), ("version 2 of the format", "reads version 1")),
    ("E721", lambda f: f.update(version=True), ("version true of the format",)),
    ("E722", lambda f: f.pop("metric"), ("metric is missing", "a text")),
    ("E722", lambda f: f.update(abblation="zero"), ("abblation: there is no", "mean ablation?")),
    ("E722", lambda f: f["graph"].update(n_layers="3"), ("graph.n_layers is", "an integer")),
    ("E722", lambda f: f["graph"].update(n_heads=True), ("graph.n_heads is true",)),
    ("E722", lambda f: f["graph"].update(n_heads=-1), ("graph: layers and heads are counts",)),
    ("E722", lambda f: f["graph"].update(n_edges=2**63), ("graph.n_edges is",)),
    ("E722", lambda f: f.update(model=None), ("model is null", "an object")),
    ("E722", lambda f: f["data"].pop("sha256"), ("data.sha256 is missing",)),
    ("E722", lambda f: f.update(thresholds=[0.1, "b"]), ('thresholds[1] is "b"', "a number")),
    ("E722", lambda f: f.update(edges={}), ("edges is {}", "a list")),
    ("E722", lambda f: f["edges"].append([]), ("edges[9] is []", "an object")),
    ("E722", lambda f: f["edges"][2].pop("order"), ("edges[2].order is missing",)),
    ("E722", lambda f: f["edges"][2].update(kept=1), ("edges[2].kept is 1", "true or false")),
    ("E722", lambda f: f["edges"][2].update(kept=None), ("edges[2].kept is null",)),
    ("E722", lambda f: f["edges"][2].update(order=1.5), ("edges[2].order is 1.5",)),
    ("E722", lambda f: f["edges"][2].update(effect="big"), ('edges[2].effect is "big"',)),
    ("E722", lambda f: f["edges"][2].update(layer=1), ("edges[2].layer: there is no",)),
    ("E723", lambda f: f["edges"][2].update(source="L9H9"), ("edges[2].source: L9H9", "0..2")),
    ("E724", lambda f: f["edges"].append(f["edges"][3]), ("edges[9]", "it is edges[3] too")),
]


@pytest.mark.parametrize(("code", "change", "said"), BROKEN)
def test_a_changed_file_is_refused_with_its_place(
    code: str, change: Callable[[dict[str, Any]], Any], said: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "ioi.circuit.json"
    path.write_text(changed(change))
    with pytest.raises(InterpError) as raised:
        Circuit.load(path)
    (found,) = raised.value.diagnostics
    text = words(found)
    assert (found.code, raised.value.exit_code) == (code, 3)
    assert found.message.startswith(f"{path}: ")
    assert all(word in text for word in said), text
    assert found.help or found.notes
    assert lookup(code)


WHOLE = to_json(circuit(INDUCTION))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WHOLE[:200], ("line 10, column",)),
        (WHOLE.replace("0.91", "NaN"), ("NaN is no JSON number",)),
        (WHOLE.replace("0.91", "1e999"), ("1e999 is no JSON number",)),
        (WHOLE.replace('"n_heads"', '"n_layers"'), ("n_layers stands twice",)),
        ("[" * 100_000, ("no JSON",)),
    ],
)
def test_what_is_no_json_is_refused(text: str, said: tuple[str, ...]) -> None:
    with fails("E720", *said):
        from_json(text)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing, binary = tmp_path / "none.json", tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe\x00")
    with fails("E720", f"{missing}: the file cannot be read", "No such file"):
        Circuit.load(missing)
    with fails("E720", f"{binary}: the file cannot be read", "no text"):
        Circuit.load(binary)
    with fails("E721", "no file of a circuit"):
        from_json("[]")


@given(st.integers(0, len(WHOLE) - 1), st.sampled_from(['"', "{", "}", "1", "x", ",", ""]))
def test_a_file_with_one_character_changed_is_read_or_refused(place: int, other: str) -> None:
    try:
        from_json(WHOLE[:place] + other + WHOLE[place + 1 :])
    except InterpError as error:
        assert {d.code for d in error.diagnostics} <= {"E720", "E721", "E722", "E723", "E724"}
