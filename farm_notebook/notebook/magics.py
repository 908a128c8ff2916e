"""The magics: ``%farm_chat`` and ``%%farm_chat`` ask a model, ``%farm`` runs one of its subcommands."""

from __future__ import annotations

import contextlib
import sys
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, no_var_expand

from farm_notebook.errors import FarmError, InterruptedReply, InvalidRequestError
from farm_notebook.notebook.commands import overview, run_line
from farm_notebook.notebook.commands.session import Session
from farm_notebook.notebook.interpolation import Filled, interpolate
from farm_notebook.notebook.known import KnownModels
from farm_notebook.notebook.news import News
from farm_notebook.notebook.options import CellOptions, help_text, parse_line
from farm_notebook.notebook.threads import Threads
from farm_notebook.notebook.tracebacks import describe_error

if TYPE_CHECKING:
    from farm_notebook.farm import AsyncFarm
    from farm_notebook.notebook.answer import Answer
    from farm_notebook.reply import Reply
    from farm_notebook.types import ChatRequest

__all__ = ["FarmMagics"]


@magics_class
class FarmMagics(Magics):
    """The magics of one shell, with the conversations they hold."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._shell = shell
        self.threads = Threads()
        self.known = KnownModels()
        self.news = News()
        self.just_shown: Reply | None = None

    @no_var_expand
    @line_cell_magic
    def farm_chat(self, line: str, cell: str | None = None) -> Reply | None:
        """Ask a model, and stream its answer into the cell.

        ::

            %farm_chat What is the capital of France?

            %%farm_chat -m llamacpp:smollm2:135m -t 0.2 --out reply
            Summarise this in one sentence:
            {text}

        ``{name}``, ``{obj.attr}``, ``{rows[0]}``, ``{In[3]}``, ``{Out[3]}`` and ``{Err}`` (the last
        traceback) are filled from the notebook. Only what resolves is replaced: code, JSON and LaTeX stay
        as they are, and so does ``{{name}}``. The cell's value is the ``Reply``; an interrupted answer is
        kept, and bound to ``--out``.
        """
        turn = self._prepare(line, cell)
        if turn is None:
            return None
        from farm_notebook import loop

        with self._outcome(turn):
            return loop.run_blocking(turn.answer.run())

    async def farm_chat_async(self, line: str, cell: str | None = None) -> Reply | None:
        """The same for a cell that is awaited: panels stay alive while it streams."""
        turn = self._prepare(line, cell, owns_cell=True)
        if turn is None:
            return None
        from farm_notebook import loop

        with self._outcome(turn):
            return await loop.run(turn.answer.run())

    @no_var_expand
    @line_magic
    def farm(self, line: str) -> object:
        """Models, settings, kept answers and the history, by subcommands.

        ::

            %farm models
            usage = %farm usage --by day
        """
        self.just_shown = None
        with _one_line_errors((FarmError, OSError, KeyboardInterrupt)):
            namespace = self._namespace()
            session = Session(self._shell, self.known, self.news)
            return run_line(session, line, lambda text: interpolate(text, namespace).text)

    def _prepare(self, line: str, cell: str | None, *, owns_cell: bool = False) -> _Turn | None:
        """Everything up to the request; ``None`` where nothing is to be sent."""
        self.just_shown = None
        with _one_line_errors():
            namespace = self._namespace()
            options, rest = parse_line(line, lambda text: interpolate(text, namespace).text)
            if cell is not None and rest:
                raise InvalidRequestError(
                    f"{rest!r} stands behind %%farm_chat; the prompt goes on the lines below, "
                    "and a model's name behind -m."
                )
            prompt = (rest if cell is None else cell).strip("\n")
            if options.reset:
                self.threads.reset(options.thread)
                if not prompt.strip():
                    print(f"The conversation {options.thread!r} is empty now.")
                    return None
            filled = Filled(prompt, (), ()) if options.no_interpolate else interpolate(prompt, namespace)

            from farm_notebook.farm import default_farm  # the first request pays for loading the core

            farm = default_farm().core
            request = self._request(farm, options, filled.text)
            if options.dry_run:
                from farm_notebook.notebook.dry_run import describe_request

                print(describe_request(request, filled, default_farm().route(options.model), options))
                return None
            return _Turn(options, filled.text, self._answer(farm, request, options, owns_cell))

    def _request(self, farm: AsyncFarm, options: CellOptions, prompt: str) -> ChatRequest:
        from farm_notebook.notebook.formats import FORMATS
        from farm_notebook.types import ChatMessage

        system = [text for text in (options.system, FORMATS[options.format].instruction) if text]
        history = () if options.no_history else self.threads.history(options.thread)
        return farm.request(
            (*history, ChatMessage("user", prompt)),
            model=options.model,
            system="\n\n".join(system) or None,
            temperature=options.temperature,
            max_tokens=options.max_tokens,
            seed=options.seed,
            stop=options.stop,
            cache=options.cache,
            sample=options.sample,
        )

    def _answer(self, farm: AsyncFarm, request: ChatRequest, options: CellOptions, owns_cell: bool) -> Answer:
        from farm_notebook.notebook.answer import Answer
        from farm_notebook.notebook.display import CellDisplay, Display, TerminalDisplay
        from farm_notebook.notebook.formats import FORMATS

        form = FORMATS[options.format]
        live = farm.config.display.live and not options.no_stream
        display: Display
        if hasattr(self._shell, "kernel"):
            repaint_s = farm.config.display.repaint_s if live else None
            display = CellDisplay(self._shell, form, repaint_s=repaint_s, owns_cell=owns_cell)
        else:
            display = TerminalDisplay(form, live=live and form.is_shown_as_it_streams)
        return Answer(farm, request, display, self.news)

    @contextlib.contextmanager
    def _outcome(self, turn: _Turn) -> Iterator[None]:
        """Keep what arrived, then let the cell end with it or with one line about why it is not whole."""
        from asyncio import CancelledError  # the first request pays for it, not %load_ext

        with _one_line_errors():
            try:
                yield
            except (KeyboardInterrupt, CancelledError):
                raise InterruptedReply("You stopped the answer; what had arrived is kept.") from None
            finally:
                if turn.answer.reply is not None:
                    self._keep(turn, turn.answer.reply)

    def _keep(self, turn: _Turn, reply: Reply) -> None:
        options = turn.options
        self.just_shown = reply
        if reply.text:
            self.known.add([str(reply.ref)])
        if options.out:
            self._shell.user_ns[options.out] = reply
        if not options.no_history and reply.text:
            self.threads.add(options.thread, turn.prompt, reply.text)
        if options.format == "code" and not reply.is_partial:
            from farm_notebook.notebook.formats import fenced_code

            self._shell.set_next_input(fenced_code(reply.text), replace=False)

    def _namespace(self) -> Mapping[str, object]:
        """The notebook's variables, with what cells were typed and the last error under the known names."""
        history = self._shell.history_manager
        special: dict[str, object] = {
            "In": history.input_hist_raw if history else [],
            "Out": self._shell.user_ns.get("_oh", {}),
        }
        if (error := getattr(sys, "last_value", None)) is not None:
            special["Err"] = describe_error(error)
        return ChainMap(special, self._shell.user_ns)


@dataclass(frozen=True, slots=True)
class _Turn:
    options: CellOptions
    prompt: str
    answer: Answer


FarmMagics.farm_chat.__doc__ = f"{FarmMagics.farm_chat.__doc__}\n{help_text()}"
FarmMagics.farm.__doc__ = f"{FarmMagics.farm.__doc__}\n{overview()}"


@contextlib.contextmanager
def _one_line_errors(kinds: tuple[type[BaseException], ...] = (FarmError,)) -> Iterator[None]:
    """Show an error that is made for the user as one line; the traceback would only show this package."""
    try:
        yield
    except kinds as error:
        line = f"\x1b[31m{type(error).__name__}\x1b[0m: {error}"
        error._render_traceback_ = lambda: [line]  # type: ignore[attr-defined]  # IPython's protocol
        raise
