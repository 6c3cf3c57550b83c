"""The command line. One file a command, imported when it is called; nothing heavy before that."""

from interp_dsl.cli.app import main

__all__ = ["main"]
