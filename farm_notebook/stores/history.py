"""The history: what is remembered of every call, in a SQLite file that the processes of one user share.

Telling it of a call costs the event loop next to nothing: a thread writes what was told a moment later, all
of it at once. A history that breaks costs entries and never an answer: a full disk, a folder that cannot be
written or a damaged file is logged as a warning, once, and until it is over nothing is remembered.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from farm_notebook.stores.background import BackgroundWriter, in_thread
from farm_notebook.stores.calls import Call, CallRecord, UsageBy, UsageRow
from farm_notebook.stores.fork import ForkSafe
from farm_notebook.stores.history_file import Bounds, HistoryFile
from farm_notebook.stores.keeper import FileKeeper, Words

__all__ = ["History"]

DAY_S = 86_400.0
GATHER_S = 0.25  # from the first call that was told to its being written, with whatever came meanwhile

T = TypeVar("T")

_WORDS = Words(
    name="history",
    foreign="no history",
    loss="Calls are not remembered until it can be used.",
)


class History(ForkSafe):
    """The calls in one file. Nothing is opened until the first of them is written, or something is asked.

    Args:
        path: The file; its folder is made if need be.
        keep_days: How long a call is remembered.
        max_bytes: Of the file, a few MiB more or less; the oldest calls make room.
        texts: Whether prompts and answers are remembered too, or only figures.
        redact: Takes known secrets out of a text; whatever is written passes it first.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        path: Path,
        *,
        keep_days: float,
        max_bytes: int,
        texts: bool = True,
        redact: Callable[[str], str] = str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._bounds = Bounds(keep_days * DAY_S, max_bytes, texts)
        self._redact = redact
        self._clock = clock
        self._keeper = FileKeeper(HistoryFile, path, _WORDS)
        self._writer = BackgroundWriter("farm-history")
        super().__init__()

    def _begin(self) -> None:
        self._pending: deque[CallRecord] = deque()
        self._due_on: asyncio.AbstractEventLoop | None = None

    def record(self, call: CallRecord) -> None:
        """Remember a call. It is written in the background, in a moment."""
        if self._keeper.is_left_alone:
            return
        self._pending.append(call)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._write_soon()
            return
        if self._due_on is not loop:
            self._due_on = loop
            loop.call_later(GATHER_S, self._write_soon)

    async def calls(
        self,
        *,
        search: str | None = None,
        model: str | None = None,
        since: float | None = None,
        limit: int | None = 20,
    ) -> list[Call]:
        """Calls, newest first.

        Args:
            search: Words, or beginnings of words, that all stand in one text: in the answer, or in what was
                asked since the answer before it.
            model: A model with or without its provider, a provider, or the alias that was written.
            since: Seconds since 1970.
            limit: Of so many at most; ``None`` is all.

        Raises:
            OSError: The file cannot be read.
        """
        from farm_notebook.stores.history_queries import find_calls  # here and below: no chat needs them

        def look(database: sqlite3.Connection) -> list[Call]:
            return find_calls(database, search=search, model=model, since=since, limit=limit)

        return await self._ask(look)

    async def call(self, number: int) -> Call | None:
        """One call, with the whole conversation that was sent; ``None`` where there is none of that number.

        Raises:
            OSError: The file cannot be read.
        """
        from farm_notebook.stores.history_queries import find_call

        return await self._ask(lambda database: find_call(database, number))

    async def usage(
        self, by: UsageBy = "model", *, since: float | None = None, per_day: bool = False
    ) -> list[UsageRow]:
        """What calls came to, in order of what they have in common.

        Args:
            by: What that is. Days are those of local time.
            since: Seconds since 1970.
            per_day: Tell days apart as well.

        Raises:
            OSError: The file cannot be read.
        """
        from farm_notebook.stores.history_queries import sum_up

        return await self._ask(lambda database: sum_up(database, by=by, since=since, per_day=per_day))

    async def clear(self) -> int:
        """Forget everything, so that nothing of it is left in the file; how many calls there were.

        Raises:
            OSError: The file cannot be written.
        """
        return await asyncio.to_thread(self._with_file, HistoryFile.clear)

    async def aclose(self) -> None:
        """Write what is not written yet, and let go of the file; the next call opens it."""
        await in_thread(self._close)

    async def _ask(self, look: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.to_thread(self._with_file, lambda file: file.read(look))

    def _with_file(self, work: Callable[[HistoryFile], T]) -> T:
        """Do something whose failure the caller wants to know; what was told so far is written first."""
        self._write_pending()
        return self._keeper.use(work)

    def _write_soon(self) -> None:
        self._due_on = None
        self._writer.write_soon(self._write_pending)

    def _write_pending(self) -> None:
        """Write what is not written yet; what cannot be written is dropped."""
        with self._keeper.lock:
            records = [self._pending.popleft() for _ in range(len(self._pending))]
            if not records or (file := self._keeper.opened()) is None:
                return
            try:
                refused = file.write(records, redact=self._redact, bounds=self._bounds, now=self._clock())
            except (sqlite3.Error, OSError) as error:
                self._keeper.note_failure(error, file)
            else:
                for problem in refused[:1]:
                    self._keeper.tell("could not take a call", f"It is not remembered ({problem}).")

    def _close(self) -> None:
        self._writer.wait()
        self._keeper.try_again()  # for what is not written yet
        with self._keeper.lock:
            self._write_pending()
            self._keeper.close()
