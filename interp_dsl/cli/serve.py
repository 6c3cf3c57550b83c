"""The screens of `interp tui` in a browser, on this machine alone unless --host says otherwise. RUN
is a folder, the beginning of its name, or `latest`; without it the newest run."""

from __future__ import annotations

import argparse
import shlex
import socket
import sys
from typing import Any

from interp_dsl.cli.options import add_runs_option
from interp_dsl.cli.output import Output
from interp_dsl.cli.which import find_run
from interp_dsl.language.diagnostics import Diagnostic, InterpError

POLICY = "style-src 'self' 'unsafe-inline'; font-src 'self' data:"
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", nargs="?")
    parser.add_argument("--host", default="localhost", help="the address to listen at (localhost)")
    parser.add_argument("--port", type=int, default=8000, help="the port (8000)")
    parser.add_argument(
        "--url", help="the address that browsers open, where it is another than host and port"
    )
    add_runs_option(parser)


def command(args: argparse.Namespace, output: Output) -> int:
    server = _server_class()
    url = args.url or _url(args.host, args.port)
    if args.host not in LOOPBACK:
        output.message(
            f"anyone who can reach {args.host}:{args.port} can see the runs, and use these screens "
            "as you can: there is no password"
        )
    output.message(f"the screens are at {url}; Ctrl-C ends them")
    server(
        tui_command(args), host=args.host, port=args.port, title="interp", public_url=url
    ).serve()
    return 0


def tui_command(args: argparse.Namespace) -> str:
    """The command that every browser's screens are run by."""
    target = [] if args.run is None else [str(find_run(args.run, args.runs).path)]
    parts = [sys.executable, "-m", "interp_dsl", "tui", *target, "--runs", str(args.runs)]
    return shlex.join(parts)


def _url(host: str, port: int) -> str:
    """What a browser opens: a machine that listens at every address is reached by its name."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _server_class() -> Any:
    """textual-serve's server, for its own page alone: any page in the user's browser could open a
    connection to this machine otherwise. InterpError E741 where it is not installed."""
    try:
        from aiohttp import web
        from textual_serve.server import Server
    except ImportError:
        raise InterpError(
            Diagnostic(
                "E741",
                "for the screens in a browser a further package is needed",
                notes=("interp tui shows them in a terminal without it",),
                help="pip install 'interp-dsl[serve]'",
            ),
            exit_code=3,
        ) from None

    class OwnPageServer(Server):  # type: ignore[misc]
        """Refuses connections that a page of another origin opens, and lets its own page ask no
        other machine for a font."""

        async def handle_index(self, request: web.Request) -> web.StreamResponse:
            page: web.StreamResponse = await super().handle_index(request)
            page.headers["Content-Security-Policy"] = POLICY
            return page

        async def handle_websocket(self, request: web.Request) -> web.StreamResponse:
            if request.headers.get("Origin") != self.public_url:
                raise web.HTTPForbidden(text=f"open {self.public_url}")
            found: web.StreamResponse = await super().handle_websocket(request)
            return found

    return OwnPageServer
