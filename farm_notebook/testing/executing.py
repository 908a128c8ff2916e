"""Executes a notebook from its first cell to its last, in a kernel of its own."""

from __future__ import annotations

import ast
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from farm_notebook.errors import ConfigError, InvalidRequestError, MissingExtraError

__all__ = ["CellFailure", "execute", "read_notebook", "with_parameters", "write_notebook"]

KERNEL_START_S = 120
PARAMETERS = "parameters"
_INJECTED = "injected-parameters"


class CellFailure(Exception):
    """A cell raised an error.

    Args:
        number: Of the cell among those with code, from 1.
        message: The error, in one line.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(f"cell {number} failed: {message}")
        self.number = number


def read_notebook(path: Path) -> Any:
    """A notebook, as nbformat has it.

    Raises:
        ConfigError: It is none.
        MissingExtraError: nbformat is not installed.
    """
    nbformat = _library("nbformat")
    try:
        return nbformat.read(path, as_version=4)
    except (ValueError, nbformat.ValidationError) as error:
        raise ConfigError(f"{str(path)!r} cannot be read as a notebook: {error}") from None


def write_notebook(notebook: Any, path: Path) -> None:
    """Write a notebook to a file."""
    _library("nbformat").write(notebook, path)


def with_parameters(notebook: Any, given: Mapping[str, str]) -> Any:
    """The notebook with a cell that sets variables, behind the one with the tag ``parameters``, else first.

    Args:
        notebook: As nbformat has it; it is left as it is.
        given: Variables, and their values as Python writes them; what is no such value is a text.

    Raises:
        InvalidRequestError: A name is none that a variable can have.
    """
    if wrong := [name for name in given if not name.isidentifier()]:
        raise InvalidRequestError(f"{wrong[0]!r} is no name of a variable. Write -p name value.")
    copy = deepcopy(notebook)
    lines = [f"{name} = {_value(text)!r}" for name, text in given.items()]
    cell = _library("nbformat").v4.new_code_cell("\n".join(lines), metadata={"tags": [_INJECTED]})
    tagged = [n for n, each in enumerate(copy.cells, 1) if PARAMETERS in each.metadata.get("tags", ())]
    copy.cells.insert(tagged[0] if tagged else 0, cell)
    return copy


def execute(
    notebook: Any,
    path: Path,
    *,
    environment: Mapping[str, str],
    begun: Callable[[int, int, str], object] = lambda number, count, source: None,
) -> Any:
    """The notebook as it is after all of its cells have run.

    Args:
        notebook: As nbformat has it; it is left as it is.
        path: Its file, in whose folder it runs.
        environment: Variables for its kernel, beside those of this process.
        begun: Told of each cell before it runs: its number, how many there are, and its code.

    Raises:
        CellFailure: A cell raised an error, or the kernel died.
        ConfigError: The kernel that the notebook names does not start.
        MissingExtraError: nbclient or a kernel is not installed.
    """
    nbclient = _library("nbclient")
    from jupyter_client.kernelspec import NoSuchKernel
    from traitlets.config import Config

    copy = deepcopy(notebook)
    code = [n for n, cell in enumerate(copy.cells) if cell.cell_type == "code" and cell.source]
    numbers = {index: number for number, index in enumerate(code, 1)}
    last = [0]

    def cell_begins(cell: Any, cell_index: int) -> None:
        last[0] = numbers.get(cell_index, last[0])
        begun(last[0], len(code), cell.source)

    client = nbclient.NotebookClient(
        copy,
        timeout=None,
        startup_timeout=KERNEL_START_S,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent.resolve())}},
        on_cell_execute=cell_begins,
        config=Config(KernelManager={"transport_encryption": "auto"}),  # or the kernel warns that it is not
    )
    session = {"JPY_SESSION_NAME": str(path.resolve())}  # as Jupyter's server tells a kernel of its notebook
    try:
        with _signals_kept():
            client.execute(env={**os.environ, **session, **environment})
    except NoSuchKernel as error:
        raise MissingExtraError(
            f'There is no kernel {error.name!r} here. Run: pip install "farm-notebook[kernel]"'
        ) from None
    except nbclient.exceptions.CellExecutionError as error:
        failure = CellFailure(last[0], f"{error.ename}: {error.evalue}")
        failure.add_note(str(error))
        raise failure from None
    except nbclient.exceptions.DeadKernelError:
        raise CellFailure(last[0], "the kernel died") from None
    except RuntimeError as error:  # as jupyter_client says that it never came to answer
        if last[0]:
            raise
        name = copy.metadata.get("kernelspec", {}).get("name", "python3")
        client.create_kernel_manager()  # nbclient has dropped its own, and asks it when the interpreter exits
        raise ConfigError(
            f"The kernel {name!r} of {path.name} does not start: {error}. What it is started with stands in "
            "the folder that `jupyter kernelspec list` tells."
        ) from None
    return copy


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Put back what was to happen at an interrupt: nbclient does not, where a kernel does not start."""
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if is_main}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: not Python's, and so not to be set by it
                signal.signal(number, handler)


def _value(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f'To execute notebooks takes a package ({error}). Run: pip install "farm-notebook[kernel]"'
        ) from error
