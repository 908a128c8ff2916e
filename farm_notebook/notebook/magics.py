"""The magics: ``%%farm_chat`` and its like ask models, ``%farm`` runs one of its subcommands."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import (
    Magics,
    line_cell_magic,
    line_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)

from farm_notebook.errors import FarmError, InterruptedReply
from farm_notebook.notebook.cells import CELL_MAGICS, CellMagic, Turn
from farm_notebook.notebook.commands import overview, run_line
from farm_notebook.notebook.defaults import CellDefaults
from farm_notebook.notebook.session import Session
from farm_notebook.notebook.shown import ShownValue

__all__ = ["FarmMagics"]

_Names: TypeAlias = Mapping[str, object]


@magics_class
class FarmMagics(CellDefaults, Magics):
    """The magics of one shell, with what holds where a line says nothing."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.session = Session(shell, defaults=self)
        self.shown = ShownValue(shell)

    @needs_local_scope
    @no_var_expand
    @line_cell_magic
    def farm_chat(self, line: str, cell: str | None = None, local_ns: _Names | None = None) -> object:
        """Ask a model, and stream its answer into the cell.

        ::

            %farm_chat What is the capital of France?

            %%farm_chat -m llamacpp:smollm2:135m -t 0.2 --out reply
            Summarise this in one sentence:
            {text}

        ``{name}``, ``{obj.attr}``, ``{rows[0]}``, ``{In[3]}``, ``{Out[3]}`` and ``{Err}`` (the last
        traceback) are filled from the notebook. Only what resolves is replaced: code, JSON and LaTeX stay
        as they are, and so does ``{{name}}``. The cell's value is the ``Reply``, or with ``--schema`` an
        object of it; an interrupted answer is kept, and bound to ``--out``.
        """
        return self._ask("farm_chat", line, cell, local_ns)

    @needs_local_scope
    @no_var_expand
    @line_cell_magic
    def farm_code(self, line: str, cell: str | None = None, local_ns: _Names | None = None) -> object:
        """Have a model write code, and put it into the next cell; it is never run.

        ::

            %farm_code the mean of df.price by month, as a bar chart

            %%farm_code -m openai:gpt-4o -c orders --cell -1
            Join orders to df by customer.

        The model is told of the variables that the prompt mentions, and of those behind ``-c``: types,
        columns, a few rows, signatures. Below the answer stands what it was told, and what is wrong with the
        code where it is no valid Python.
        """
        return self._ask("farm_code", line, cell, local_ns)

    @needs_local_scope
    @no_var_expand
    @line_cell_magic
    def farm_compare(self, line: str, cell: str | None = None, local_ns: _Names | None = None) -> object:
        """Ask several models the same, and stream their answers side by side into the cell.

        ::

            %farm_compare -m llamacpp:smollm2:135m -m openai:gpt-4o What is the capital of France?

            %%farm_compare -m fast,smart --max-tokens 200 --out table
            Summarise this in one sentence:
            {text}

        All are asked at once; one that fails ends none of the others. The prompt is filled as that of
        ``%%farm_chat``, and no conversation is sent or remembered. The cell's value is the ``Comparison``;
        ``--out`` binds a DataFrame of it, also where you interrupt.
        """
        return self._ask("farm_compare", line, cell, local_ns)

    async def ask_async(self, name: str, line: str, cell: str | None = None) -> object:
        """One of these magics in a cell that is awaited: panels stay alive while it streams.

        Args:
            name: The magic's.
            line: What stands behind its name.
            cell: The lines below; ``None`` of a line magic.
        """
        turn = self._prepare(name, line, cell, owns_cell=True)
        if turn is None:
            return None
        from farm_notebook.farm import caller

        with self._outcome(turn):
            await caller.run(turn.run())
        return turn.value

    @needs_local_scope
    @no_var_expand
    @line_magic
    def farm(self, line: str, local_ns: _Names | None = None) -> object:
        """Models, settings, kept answers and the history, by subcommands.

        ::

            %farm models
            usage = %farm usage --by day
        """
        with _one_line_errors((FarmError, OSError, KeyboardInterrupt)), self.session.scope(local_ns):
            value = run_line(self.session, line)
        return self._run(value) if isinstance(value, Turn) else value

    def _ask(self, name: str, line: str, cell: str | None, local_ns: _Names | None) -> object:
        with self.session.scope(local_ns):
            turn = self._prepare(name, line, cell, owns_cell=False)
        return None if turn is None else self._run(turn)

    def _run(self, turn: Turn) -> object:
        from farm_notebook.farm import caller

        with self._outcome(turn):
            caller.run_blocking(turn.run())
        return turn.value

    def _prepare(self, name: str, line: str, cell: str | None, *, owns_cell: bool) -> Turn | None:
        with _one_line_errors():
            if name == "farm":
                turn = run_line(self.session, line, owns_cell=owns_cell)
                return turn if isinstance(turn, Turn) else None
            return CELL_MAGICS[name].prepare(self.session, line, cell, owns_cell=owns_cell)

    @contextlib.contextmanager
    def _outcome(self, turn: Turn) -> Iterator[None]:
        """Keep what arrived, then let the cell end with it or with one line about why it is not whole."""
        from asyncio import CancelledError  # the first request pays for it, not %load_ext

        with _one_line_errors():
            try:
                yield
            except (KeyboardInterrupt, CancelledError):
                raise InterruptedReply("You stopped the answer; what had arrived is kept.") from None
            finally:
                turn.keep()
                self.shown.mark(turn.value)


def _told(magic: CellMagic, text: str) -> Callable[[], str]:
    """What IPython's ``?`` asks for: written when it is asked, which takes longer than loading may."""
    return lambda: f"{inspect.cleandoc(text)}\n\n{magic.parser().format_help()}"


for _name, _magic in CELL_MAGICS.items():
    _method: Any = getattr(FarmMagics, _name)
    _method.getdoc = _told(_magic, _method.__doc__)
FarmMagics.farm.__doc__ = f"{FarmMagics.farm.__doc__}\n{overview()}"


@contextlib.contextmanager
def _one_line_errors(kinds: tuple[type[BaseException], ...] = (FarmError,)) -> Iterator[None]:
    """Show an error that is made for the user as one line; the traceback would only show this package."""
    try:
        yield
    except kinds as error:
        _leave_secrets_out(error)
        line = f"\x1b[31m{type(error).__name__}\x1b[0m: {error}"
        error._render_traceback_ = lambda: [line]  # type: ignore[attr-defined]  # IPython's protocol
        raise


def _leave_secrets_out(error: BaseException) -> None:
    """Out of an error that a cell is about to show, and that is saved with it."""
    from farm_notebook.config.masking import mask_error
    from farm_notebook.farm import default_farm
    from farm_notebook.stores.redaction import Redaction, secrets_of

    with contextlib.suppress(FarmError):  # the settings are wrong, which is what the error says then
        mask_error(error, Redaction(lambda: secrets_of(default_farm().config)))
