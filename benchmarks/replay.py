"""A notebook of many calls that is replayed, beside the same one with a model that answers at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import nbformat

from benchmarks.measure import Settings, interleaved
from benchmarks.report import Row, Table, at_most
from farm_notebook.testing.executing import execute

ROUNDS = 5
CALLS = 100
WORDS = 60  # of an answer
GOAL = 1.1


def run(settings: Settings) -> Table:
    """Whole notebooks, each in a kernel of its own."""
    rounds = settings.rounds or ROUNDS
    with TemporaryDirectory() as folder:
        path = Path(folder, "calls.ipynb")
        _seconds(path, "record")()
        cases = {mode: _seconds(path, mode) for mode in ("replay", "off")}
        taken = interleaved(rounds, cases)
        size = path.with_suffix(".farm.jsonl").stat().st_size
    replayed, at_once = median(taken["replay"]), median(taken["off"])
    rows: tuple[Row, ...] = (
        at_most(
            f"a notebook of {CALLS} calls, replayed",
            f"{replayed:.2f} s",
            f"answered at once: {at_once:.2f} s",
            replayed / at_once,
            GOAL,
        ),
        Row("its cassette", f"{size / 1000:.0f} kB"),
    )
    title = (
        f"Medians of {rounds} rounds, the cases in turn, start and end of the kernel included. Each cell is "
        f"%farm_chat, each answer has {WORDS} words in as many pieces."
    )
    return Table("replay", title, rows)


def _seconds(path: Path, mode: str) -> Callable[[], float]:
    """Runs the notebook; how long that took."""
    cells = [f"%farm_chat --reset -m scripted:count-{WORDS} Question {number}" for number in range(CALLS)]
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in ("%load_ext farm_notebook", *cells)]
    nbformat.write(notebook, path)  # its kernel is told of it by its name

    def executed() -> float:
        began = time.perf_counter()
        execute(notebook, path, environment={"FARM_CASSETTE": mode})
        return time.perf_counter() - began

    return executed
