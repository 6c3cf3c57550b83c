"""Write a run as one web page that needs no network. RUN is a folder, the beginning of its name, or
`latest`; the page goes into the run's folder where no other file is named."""

from __future__ import annotations

import argparse
from pathlib import Path

from interp_dsl.cli.options import add_runs_option
from interp_dsl.cli.output import Output
from interp_dsl.cli.which import LATEST, find_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", nargs="?", default=LATEST)
    parser.add_argument(
        "-o", "--out", dest="to", metavar="FILE", type=Path, help="the page (RUN/report.html)"
    )
    parser.add_argument("--open", action="store_true", help="show the page in the browser")
    add_runs_option(parser)


def command(args: argparse.Namespace, output: Output) -> int:
    from interp_dsl.report.page import page
    from interp_dsl.runs.files import write_text

    folder = find_run(args.run, args.runs)
    to: Path = args.to or folder.path / "report.html"
    write_text(to, page(folder))
    output.message(f"wrote {to}")
    if args.open:
        import webbrowser

        webbrowser.open(to.resolve().as_uri())
    return 0
