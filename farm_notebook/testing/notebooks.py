"""Has kernels that pytest starts for notebooks (nbval, nbmake) replay the notebook's cassette, or record it.

A kernel is told by its environment, which it takes from the process that starts it. So these variables are
set while the items of a notebook run, whoever starts its kernel, and nothing of the runners is patched.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from farm_notebook.cassettes import CassetteFile, default_path
from farm_notebook.cassettes.checking import unasked_in
from farm_notebook.cassettes.shared import never_asked
from farm_notebook.testing.blocking import REAL
from farm_notebook.testing.environment import STEADY, Variables, cassette_variables, environment
from farm_notebook.testing.failures import readable_failure
from farm_notebook.testing.plugin import Mode

__all__ = ["Notebooks"]

_SCATTERS = ("load", "worksteal", "each")  # what xdist does with cells, which must meet in one kernel


class Notebooks:
    """The hooks.

    Args:
        config: Of the run.
        mode: What is done with calls.
        is_strict: Recorded calls that no cell asked for are an error.
    """

    def __init__(self, config: pytest.Config, mode: Mode, *, is_strict: bool) -> None:
        _see_that_cells_stay_together(config)
        self._mode = mode
        self._is_strict = is_strict
        self._here = config.invocation_params.dir
        named = [arg.partition("::") for arg in config.args]
        self._in_part = {(self._here / file).resolve() for file, _, cell in named if cell}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Iterator[None]:
        """Have a folder for what kernels tell."""
        with tempfile.TemporaryDirectory(prefix="farm-asked-") as folder:
            self._folder = Path(folder)
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Tell the kernel that is started meanwhile."""
        if not _is_of_notebook(item):
            return (yield)
        with environment(self._variables(item)):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        """Show what was not recorded, in place of a traceback."""
        report: Any = yield
        if _is_of_notebook(item) and not report.passed:
            self._in_part.add(item.path)
            error = call.excinfo and call.excinfo.value
            if error is not None and (told := readable_failure(error, report.longreprtext)):
                report.longrepr = told
        return report  # type: ignore[no-any-return]

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Note of which notebooks not every cell runs."""
        self._in_part |= {item.path for item in items if _is_of_notebook(item)}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
        """Behind the last cell, see that all that is recorded was asked for."""
        yield
        if self._is_strict and _is_of_notebook(item) and (nextitem is None or nextitem.path != item.path):
            self._check(item)

    def _variables(self, item: pytest.Item) -> Variables:
        session = {"JPY_SESSION_NAME": str(item.path)}  # as Jupyter's server tells a kernel of its notebook
        if item.get_closest_marker(REAL) is not None:
            return {**STEADY, **session}
        told = cassette_variables(
            self._mode,
            default_path(item.path),
            asked_file=self._asked_file(item),
            record_command=f"farm run {self._name(item)} --record",
        )
        return {**told, **session}

    def _check(self, item: pytest.Item) -> None:
        file = CassetteFile(default_path(item.path))
        is_whole = item.path not in self._in_part and item.get_closest_marker(REAL) is None
        if is_whole and (unasked := unasked_in(file, self._asked_file(item))):
            fix = f"`farm run {self._name(item)} --replay --prune` takes them out."
            pytest.fail(str(never_asked(file.path, unasked, fix)), pytrace=False)

    def _asked_file(self, item: pytest.Item) -> Path:
        return self._folder / "-".join(item.path.parts[1:])

    def _name(self, item: pytest.Item) -> str:
        """The notebook as a command line would name it."""
        return shlex.quote(os.path.relpath(item.path, self._here))


def _is_of_notebook(item: pytest.Item) -> bool:
    return item.path.suffix == ".ipynb"


def _see_that_cells_stay_together(config: pytest.Config) -> None:
    has_cells = config.getoption("nbval", False) or config.getoption("nbval_lax", False)
    is_worker = hasattr(config, "workerinput")
    if has_cells and not is_worker and config.getoption("dist", "no") in _SCATTERS:
        raise pytest.UsageError(
            "The cells of a notebook run in one kernel, and so in one worker: add --dist loadfile."
        )
