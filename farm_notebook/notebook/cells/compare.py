"""``%%farm_compare``: ask several models the same, and stream their answers side by side into the cell."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from farm_notebook.errors import InvalidRequestError, MissingExtraError
from farm_notebook.farm.compare import ComparisonRun
from farm_notebook.notebook.cells.compare_options import CompareOptions, parse_line
from farm_notebook.notebook.compare_display import CompareDisplay, compare_display_for
from farm_notebook.notebook.interpolation import Filled, interpolate
from farm_notebook.request import Options

if TYPE_CHECKING:
    from farm_notebook.notebook.session import Session
    from farm_notebook.reports import Comparison

__all__ = ["CompareTurn", "prepare"]

MOST_NAMES = 12  # that an error lists


def prepare(session: Session, line: str, cell: str | None, *, owns_cell: bool) -> CompareTurn | None:
    """Everything up to the requests; ``None`` where nothing is to be sent."""
    options, rest = parse_line(line, session.fill)
    if cell is not None and rest:
        raise InvalidRequestError(
            f"{rest!r} stands behind %%farm_compare; the prompt goes on the lines below, "
            "and each model's name behind a -m."
        )
    if len(options.models) < 2:
        raise InvalidRequestError(_too_few(session, options))
    if options.out and find_spec("pandas") is None:  # said before anything is paid for
        raise MissingExtraError("--out binds a DataFrame, which needs pandas: pip install pandas")
    prompt = (rest if cell is None else cell).strip("\n")
    filled = Filled(prompt, (), ()) if options.no_interpolate else interpolate(prompt, session.namespace())
    farm = session.farm.core
    run = ComparisonRun(
        farm, filled.text, options.models, one_by_one=options.one_by_one, options=_request_options(options)
    )
    if options.dry_run:
        print(_describe(session, run, filled, options))
        return None
    display = compare_display_for(
        session.shell, run.contenders, farm.config.display, live=not options.no_stream
    )
    return CompareTurn(session, options, run, display)


def _request_options(options: CompareOptions) -> Options:
    return Options(
        system=options.system,
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        seed=options.seed,
        stop=options.stop,
        cache=options.cache,
        sample=options.sample,
    )


def _too_few(session: Session, options: CompareOptions) -> str:
    named = f"only {options.models[0]!r} is named" if options.models else "none is named"
    known = [name for name in session.known.names() if name not in options.models]
    more = ", ..." if len(known) > MOST_NAMES else ""
    return (
        f"To compare takes at least two models, and {named}: %%farm_compare -m NAME -m NAME. "
        f"Known: {', '.join(known[:MOST_NAMES])}{more}. `%farm models` lists them all."
    )


def _describe(session: Session, run: ComparisonRun, filled: Filled, options: CompareOptions) -> str:
    """What each model would be sent, to read."""
    from farm_notebook.notebook.dry_run import describe_request

    return "\n\n".join(
        describe_request(each.request, filled, session.farm.route(each.name), options)
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
    """

    def __init__(
        self, session: Session, options: CompareOptions, run: ComparisonRun, display: CompareDisplay
    ) -> None:
        self._session = session
        self._options = options
        self._run = run
        self._display = display
        self._comparison: Comparison | None = None

    @property
    def value(self) -> Comparison:
        """The answers, whole and partial."""
        self._comparison = self._comparison or self._run.comparison
        return self._comparison

    async def run(self) -> None:
        """Ask, and paint the answers."""
        try:
            await self._run.run(self._display.show)
        finally:
            self._display.finish(self.value)

    def keep(self) -> None:
        """Keep what arrived of the answers."""
        self._session.known.add(str(reply.ref) for reply in self.value.replies.values() if reply.text)
        if self._options.out:
            self._session.shell.user_ns[self._options.out] = self.value.to_dataframe()
