"""``%%farm_compare``: ask several models the same, and stream their answers side by side into the cell."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from farm_notebook import loop
from farm_notebook.errors import FarmError, InvalidRequestError, MissingExtraError, NoTargetAnsweredError
from farm_notebook.farm.compare import ComparisonRun
from farm_notebook.notebook.cells.compare_options import CompareOptions, parse_cell_line, parse_line
from farm_notebook.notebook.cells.question import read_cell, read_prompt
from farm_notebook.notebook.compare_display import CompareDisplay, compare_display_for
from farm_notebook.notebook.context.gather import budget_of
from farm_notebook.notebook.context.read import read_context

if TYPE_CHECKING:
    from farm_notebook.notebook.interpolation import Filled
    from farm_notebook.notebook.session import Session
    from farm_notebook.reports import Comparison

__all__ = ["CompareTurn", "prepare"]

MOST_NAMES = 12  # that an error lists


def prepare(session: Session, line: str, cell: str | None, *, owns_cell: bool) -> CompareTurn | None:
    """Everything up to the requests; ``None`` where nothing is to be sent."""
    options, prompt = read_cell(session, line, cell, parse_line=parse_line, parse_cell_line=parse_cell_line)
    if len(options.models) < 2:
        raise InvalidRequestError(_too_few(session, options))
    if options.out and find_spec("pandas") is None:  # said before anything is paid for
        raise MissingExtraError("--out binds a DataFrame, which needs pandas: pip install pandas")
    filled, said = read_prompt(session, options, prompt)
    context = read_context(session, options.wanted, tokens=_context_tokens(session, options))
    farm = session.farm.core
    run = ComparisonRun(
        farm,
        [context.before_message(said)],
        options.models,
        one_by_one=options.one_by_one,
        options=options.of_request,
    )
    if options.dry_run:
        print(_describe(session, run, filled, options, context.note))
        return None
    display = compare_display_for(
        session.shell, run.contenders, farm.config.display, live=not options.no_stream, owns_cell=owns_cell
    )
    return CompareTurn(session, options, run, display, context.note)


def _context_tokens(session: Session, options: CompareOptions) -> int | None:
    """How much of the notebook may be told: what fits into the smallest window, unless the user says it."""
    if options.context_tokens is not None or not options.wanted:
        return options.context_tokens
    windows = []
    for name in options.models:
        with suppress(FarmError):  # who cannot be asked is told of in its own column
            windows.append(loop.run_blocking(session.farm.core.context_tokens(name)))
    return budget_of(min((window for window in windows if window is not None), default=None))


def _too_few(session: Session, options: CompareOptions) -> str:
    named = f"only {options.models[0]!r} is named" if options.models else "none is named"
    known = [name for name in session.known.names() if name not in options.models]
    more = ", ..." if len(known) > MOST_NAMES else ""
    return (
        f"To compare takes at least two models, and {named}: %%farm_compare -m NAME -m NAME. "
        f"Known: {', '.join(known[:MOST_NAMES])}{more}. `%farm models` lists them all."
    )


def _describe(
    session: Session, run: ComparisonRun, filled: Filled, options: CompareOptions, note: str
) -> str:
    """What each model would be sent, to read."""
    from farm_notebook.notebook.dry_run import describe_request

    return "\n\n".join(
        describe_request(each.request, filled, session.farm.route(each.name), options, note=note)
        if each.request is not None
        else f"{each.name} would not be asked: {each.outcome.problem if each.outcome else ''}"
        for each in run.contenders
    )


class CompareTurn:
    """One question of a cell to several models, and what becomes of their answers.

    Args:
        session: The shell's.
        options: Of the line.
        run: The requests on their way.
        display: What they are painted on.
        told: What of the notebook was told, in a line.
    """

    def __init__(
        self,
        session: Session,
        options: CompareOptions,
        run: ComparisonRun,
        display: CompareDisplay,
        told: str = "",
    ) -> None:
        self._session = session
        self._options = options
        self._run = run
        self._display = display
        self._told = told
        self._comparison: Comparison | None = None

    @property
    def value(self) -> Comparison:
        """The answers, whole and partial."""
        if self._comparison is None:
            self._comparison = replace(self._run.comparison, told=self._told)
        return self._comparison

    async def run(self) -> None:
        """Ask, and paint the answers.

        Raises:
            NoTargetAnsweredError: All of them failed, which a notebook that runs unattended is to end with.
        """
        try:
            await self._run.run(self._display.show)
        finally:
            self._display.finish(self.value)
        if not any(each.error is None for each in self.value):
            raise NoTargetAnsweredError(
                "None of the models answered; below each name stands why.",
                [each.error for each in self.value if each.error is not None],
            )

    def keep(self) -> None:
        """Keep what arrived of the answers."""
        self._session.known.add(str(reply.ref) for reply in self.value.replies.values() if reply.text)
        if self._options.out:
            self._session.shell.user_ns[self._options.out] = self.value.to_dataframe()
