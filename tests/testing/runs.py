"""Runs of pytest in a process of their own, on tests and notebooks that are written for them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat

__all__ = ["PLUGIN", "notebook", "outcomes", "run_pytest", "write"]

ENOUGH_S = 400  # for whatever a busy machine may be slow at
PLUGIN = "farm_notebook.testing.plugin"


def run_pytest(folder: Path, *args: str, plugins: Sequence[str] = (), settings: str = "") -> str:
    """What pytest prints.

    Args:
        folder: Where it runs.
        args: Of the command line.
        plugins: Modules of plugins besides ours; to look for all that are installed takes seconds.
        settings: A line of its configuration file.
    """
    (folder / "pytest.ini").write_text(f"[pytest]\n{settings}\n")
    named = [word for plugin in (PLUGIN, *plugins) for word in ("-p", plugin)]
    own = {name: value for name, value in os.environ.items() if not name.startswith("FARM_CASSETTE")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "--color=no", "-p", "no:cacheprovider", *named, *args],
        cwd=folder,
        env={**own, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=ENOUGH_S,
        check=False,
    )
    return done.stdout + done.stderr


def outcomes(told: str) -> dict[str, str]:
    """How each test ended, by its node id; where an error came behind a test, that counts."""
    found = re.findall(r"^(PASSED|FAILED|SKIPPED|ERROR) (\S+::Cell \d+|\S+)", told, re.MULTILINE)
    return {node: outcome for outcome, node in sorted(found, key=lambda each: each[0] == "ERROR")}


def write(folder: Path, name: str, text: str) -> Path:
    """A file of a test."""
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def notebook(path: Path, *cells: tuple[str, str | None]) -> Path:
    """A notebook that was executed: the code of each cell, and what its last line gave.

    Args:
        path: Where it is written to.
        cells: Code and the text of its value; ``None`` is none.
    """
    made: Any = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    )
    for number, (source, value) in enumerate(cells, 1):
        shown = [] if value is None else [_result(value, number)]
        made.cells.append(nbformat.v4.new_code_cell(source, execution_count=number, outputs=shown))
    nbformat.write(made, path)
    return path


def _result(value: str, number: int) -> Any:
    return nbformat.v4.new_output("execute_result", {"text/plain": value}, execution_count=number)
