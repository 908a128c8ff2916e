"""``farm run``: execute a notebook with nobody looking, and say which of its cells differ from before."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from farm_notebook.cassettes import CassetteFile, Line, default_path, missing, scrub_for
from farm_notebook.cassettes.asks import summary
from farm_notebook.cassettes.checking import read_asked, unasked_lines
from farm_notebook.cli.panels import leave_static
from farm_notebook.cli.secrets import take_out_secrets
from farm_notebook.cli.terminal import emit, is_terminal, note
from farm_notebook.config import load_config
from farm_notebook.testing.environment import cassette_variables
from farm_notebook.testing.executing import (
    CellFailure,
    execute,
    read_notebook,
    with_parameters,
    write_notebook,
)
from farm_notebook.testing.outputs import differing_cells

__all__ = ["run_notebook"]

HISTORY = "FARM_HISTORY__ENABLED"


def run_notebook(
    path: Path,
    *,
    mode: Literal["record", "replay", "auto"] | None,
    file: Path | None,
    parameters: Mapping[str, str],
    output: Path | None,
    strict: bool,
    prune: bool = False,
) -> bool:
    """Execute a notebook, and write to stdout what is different.

    Args:
        path: The notebook.
        mode: What is done with its cassette; ``None`` is what the settings say.
        file: The cassette; ``None`` is the one beside the notebook.
        parameters: Variables that are set, and their values as Python writes them.
        output: Where the executed notebook goes to; ``None`` writes it back where it was recorded.
        strict: Recorded calls that nobody asked for are a failure.
        prune: They are taken out.

    Returns:
        Whether every cell ran and, replayed, shows what it showed before.

    Raises:
        FarmError: It cannot be executed.
        OSError: A file cannot be read or written.
    """
    before = read_notebook(path)
    cassette = CassetteFile(file or default_path(path))
    if mode == "replay" and cassette.version is None:
        raise missing(cassette.path)
    asked = with_parameters(before, parameters) if parameters else before
    with tempfile.TemporaryDirectory() as folder, _progress() as begun:
        asked_file = Path(folder, "asked")
        environment = _environment(path, mode, cassette.path, asked_file)
        try:
            after = execute(asked, path, environment=environment, begun=begun)
        except CellFailure as failure:
            note(f"error: {failure}")
            return False
        leave_static(after)
        take_out_secrets(after, scrub_for(load_config()))
        unasked = _unasked(cassette, asked_file) if (strict or prune) and mode == "replay" else ()
    if output is None and mode == "record" and not parameters:
        output = path
    if output is not None:
        write_notebook(after, output)
    differing = differing_cells(asked, after)
    for cell in differing:
        emit(str(cell), end="\n")
    for line in unasked:
        emit(f"never asked for{', taken out' if prune else ''}: {summary(line.ask)}", end="\n")
    if prune and unasked:
        gone = {line.text for line in unasked}
        cassette.change(lambda lines: [line for line in lines if line.text not in gone])
        cassette.drop_pictures()
    count = sum(cell.cell_type == "code" for cell in after.cells)
    emit(f"{path.name}: {count:,} cells ran, {len(differing):,} differ from what was saved", end="\n")
    is_whole = prune or not unasked
    return mode != "replay" or (is_whole and (not differing or bool(parameters)))


def _environment(path: Path, mode: str | None, cassette: Path, asked_file: Path) -> dict[str, str]:
    """What its kernel is told; its calls go into the user's history, as those of any notebook."""
    if mode is None:
        return {}
    command = f"farm run {shlex.quote(str(path))} --record"
    told = cassette_variables(mode, cassette, asked_file=asked_file, record_command=command)
    return {name: value for name, value in told.items() if value is not None and name != HISTORY}


def _unasked(cassette: CassetteFile, asked_file: Path) -> tuple[Line, ...]:
    asked = read_asked(asked_file) if asked_file.exists() else frozenset()
    return unasked_lines(cassette.read().lines, asked)


@contextmanager
def _progress() -> Iterator[Any]:
    """A bar on a terminal's stderr that says which cell runs."""
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.completed:.0f} of {task.total:.0f}"),
        BarColumn(),
        TextColumn("{task.description}", markup=False),
    )
    if not is_terminal(sys.stderr):
        yield lambda number, count, source: None
        return
    from rich.console import Console

    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting a kernel", total=1)

        def begun(number: int, count: int, source: str) -> None:
            head = source.strip().splitlines()[:1]
            bar.update(task, completed=number - 1, total=count, description="".join(head)[:60])

        yield begun
