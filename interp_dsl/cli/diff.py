"""Compare two runs: what changed most, ranks, flipped signs, differences with their intervals; of
circuits the edges that both keep or one alone.

The intervals take the two runs as independent; over the same examples they are too wide."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from interp_dsl.cli.options import add_rows_options, add_runs_option, rows
from interp_dsl.cli.output import Output
from interp_dsl.cli.which import find_run, find_step
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.plan.names import edge_name
from interp_dsl.runs.circuit_compare import compare_edges, overlap
from interp_dsl.runs.circuit_rows import is_edge_table
from interp_dsl.runs.circuit_table import key_of
from interp_dsl.runs.compare import agreement, compare
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.rank import metrics, ranked
from interp_dsl.runs.schema import is_score_table
from interp_dsl.runs.text import Column, count, decimals, interval, layout, number, printable

if TYPE_CHECKING:
    import polars as pl


KINDS = (is_score_table, is_edge_table)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", metavar="RUN")
    parser.add_argument("second", metavar="RUN")
    parser.add_argument("step", metavar="STEP", nargs="?")
    add_rows_options(parser)
    parser.add_argument("--metric", help="this metric alone")
    parser.add_argument("--json", action="store_true", help="every row as data")
    add_runs_option(parser)


def command(args: argparse.Namespace, output: Output) -> int:
    first, second = find_run(args.first, args.runs), find_run(args.second, args.runs)
    tables = {step: _compared(first, second, step) for step in _steps(first, second, args.step)}
    if args.json:
        held = {step: table.to_dicts() for step, table in tables.items()}
        output.write_json({"a": first.path, "b": second.path, "steps": held})
        return 0
    output.write(f"a = {first.path}\nb = {second.path}")
    for step, table in tables.items():
        is_circuit = "metric" not in table.columns
        if is_circuit and args.metric is None:
            _print_edges(step, table, rows(args), output)
        for metric in () if is_circuit else metrics(table):
            if args.metric in (None, metric):
                _print(step, metric, table, rows(args), output)
    return 0


def _steps(first: RunFolder, second: RunFolder, step: str | None) -> list[str]:
    if step is not None:
        find_step(first, step)
        return [find_step(second, step)]
    shared = [
        name
        for name in first.steps
        if name in second.steps and any(is_kind(first.read_table(name)) for is_kind in KINDS)
    ]
    if not shared:
        raise InterpError(
            Diagnostic(
                "E713",
                "the two runs have no step in common",
                notes=tuple(
                    f"{f.path.name}: {', '.join(f.steps) or 'none'}" for f in (first, second)
                ),
            )
        )
    return shared


def _compared(first: RunFolder, second: RunFolder, step: str) -> pl.DataFrame:
    tables = first.read_table(step), second.read_table(step)
    try:
        return (compare_edges if any(map(is_edge_table, tables)) else compare)(*tables)
    except ValueError as error:
        raise InterpError(Diagnostic("E713", f"step {step}: {error}")) from None


def _print(step: str, metric: str, table: pl.DataFrame, top: int | None, output: Output) -> None:
    found = ranked(ranked(table, metric, "a"), metric, "difference")
    head = found if top is None else found.head(top)
    _lay_out(f"{step} · {printable(metric)} · {_summary(found, metric)}", _columns(head), output)
    if len(head) < len(found):
        output.write(f"the first {len(head):,} of {len(found):,}, largest difference first")


def _print_edges(step: str, found: pl.DataFrame, top: int | None, output: Output) -> None:
    head = found if top is None else found.head(top)
    _lay_out(f"{step} · {overlap(found)}", _edge_columns(head), output)
    if len(head) < len(found):
        output.write(f"the first {len(head):,} of {len(found):,}, those in one alone first")


def _lay_out(title: str, columns: list[Column], output: Output) -> None:
    output.write("")
    output.write(output.toned(title, "bold"))
    heading, *lines = layout(columns)
    output.write(output.toned(heading, "dim"))
    for line in lines:
        output.write(line)


def _edge_columns(rows: pl.DataFrame) -> list[Column]:
    places = decimals([*rows["a"], *rows["b"]])
    held = [name for name in ("threshold",) if name in rows.columns]
    return [
        Column("edge", [edge_name(*key) for key in rows.select(key_of(rows)).iter_rows()]),
        *(Column(name, [f"{x:g}" for x in rows[name]], right=True) for name in held),
        Column("kept", rows["kept"].to_list()),
        *(Column(side, [number(x, places) for x in rows[side]], right=True) for side in "ab"),
    ]


def _summary(rows: pl.DataFrame, metric: str) -> str:
    in_both = rows["difference"].count()
    parts = [f"{count(in_both, 'component')} in both"]
    parts += [f"{n} in {side} alone" for side, n in _alone(rows).items() if n]
    flips, clear = int(rows["flipped"].sum()), int(rows["clearly"].sum())
    parts.append(f"{count(flips, 'sign flip')} ({clear} clear of 0)")
    rho = agreement(rows, metric)
    return ", ".join(parts) + ("" if rho is None else f", rank correlation {rho:+.3f}")


def _alone(rows: pl.DataFrame) -> dict[str, int]:
    import polars as pl

    a, b = pl.col("a").is_null(), pl.col("b").is_null()
    return {"a": len(rows.filter(b & ~a)), "b": len(rows.filter(a & ~b))}


def _columns(rows: pl.DataFrame) -> list[Column]:
    numbers = ("a", "b", "difference", "low", "high", "rank_a", "rank_b")
    keys = [n for n in rows.columns if n not in (*numbers, "flipped", "clearly", "metric")]
    places = decimals([*rows["a"], *rows["b"]])
    bounds = zip(rows["low"], rows["high"], strict=True)
    return [
        *(Column(k, ["·" if v is None else str(v) for v in rows[k]]) for k in keys),
        *(
            Column(name, [number(v, places) for v in rows[name]], right=True)
            for name in ("a", "b", "difference")
        ),
        Column("95% interval", [interval(a, b, places) for a, b in bounds], right=True),
        Column("rank", [_ranks(a, b) for a, b in zip(rows["rank_a"], rows["rank_b"], strict=True)]),
        Column(
            "sign", [_sign(f, c) for f, c in zip(rows["flipped"], rows["clearly"], strict=True)]
        ),
    ]


def _ranks(a: int | None, b: int | None) -> str:
    before, after = ("·" if r is None else str(r) for r in (a, b))
    return before if a == b else f"{before} → {after}"


def _sign(flipped: bool | None, clearly: bool | None) -> str:
    return ("flipped" if clearly else "flipped?") if flipped else ""
