"""The ``farm`` command: chat from a terminal or a pipe, list and fetch models, find out what is wrong.

Importing this loads nothing; the commands are imported by ``main``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line.

    Args:
        arguments: What follows ``farm``; without it, what the process was started with.

    Raises:
        SystemExit: Always. Code 0 is success, 2 a wrong request or setting, 130 Ctrl-C, 141 a reader that
            closed the pipe, and 1 everything else.
    """
    try:
        from farm_notebook.cli.app import app  # here, so that Ctrl-C is quiet while it loads too

        app(args=None if arguments is None else list(arguments), prog_name="farm")
    except KeyboardInterrupt:
        sys.exit(130)
    raise AssertionError("typer ends every run with SystemExit")
