"""Write a starter experiment, NAME.interp, with comments.

induction and ioi run with models of the package; file reads prompts from NAME.csv, which is
written too; checkpoint takes your own model, named by --model."""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

from interp_dsl.cli.output import Output
from interp_dsl.language.diagnostics import Diagnostic, InterpError

TEMPLATES = ("induction", "ioi", "file", "checkpoint")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="with or without .interp")
    parser.add_argument("--template", choices=TEMPLATES, default="induction")
    parser.add_argument("--model", metavar="DIR", type=Path, help="the checkpoint's folder")


def command(args: argparse.Namespace, output: Output) -> int:
    path = Path(args.name if args.name.endswith(".interp") else f"{args.name}.interp")
    _write_all(_contents(path, args.template, args.model), output)
    command = f"interp run {path}"
    if args.model is not None and not _is_below(args.model, path.parent):
        command += f" --allow {args.model}"
    output.message(f"now: {command}")
    return 0


def _contents(path: Path, template: str, model: Path | None) -> dict[Path, str]:
    """The files of a template and their texts."""
    text = _text(f"{template}.interp")
    if template == "file":
        table = path.with_suffix(".csv")
        return {path: text.replace("NAME", path.stem), table: _text("file.csv")}
    if template == "checkpoint":
        if model is None or not model.is_dir():
            raise _no_model(model)
        return {path: text.replace("FOLDER", _written(model, path.parent))}
    return {path: text}


def _written(model: Path, beside: Path) -> str:
    """A folder as the file writes it: relative where it is below the file's own."""
    if _is_below(model, beside):
        return model.resolve().relative_to(beside.resolve()).as_posix()
    return model.resolve().as_posix()


def _is_below(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _write_all(contents: dict[Path, str], output: Output) -> None:
    for path in contents:
        if path.exists():
            raise InterpError(
                Diagnostic("E709", f"{path} is there already", help="choose another name")
            )
    for path, text in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        output.write(str(path))


def _text(name: str) -> str:
    return files("interp_dsl.cli").joinpath("templates", name).read_text("utf-8")


def _no_model(model: Path | None) -> InterpError:
    said = "which model? this template takes your own" if model is None else f"no folder {model}"
    return InterpError(
        Diagnostic("E711", said, help="name a folder with config.json and weights: --model DIR")
    )
