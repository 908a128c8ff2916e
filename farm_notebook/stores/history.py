"""The history: what is remembered of every call, in a SQLite file that the processes of one user share.

Telling it of a call costs the event loop next to nothing: a thread writes what was told a moment later, all
of it at once. A history that breaks costs entries and never an answer: a full disk, a folder that cannot be
written or a damaged file is logged as a warning, once, and until it is over nothing is remembered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from farm_notebook.stores.calls import Call, CallRecord, UsageBy, UsageRow
from farm_notebook.stores.file import is_damage
from farm_notebook.stores.history_file import Bounds, HistoryFile

__all__ = ["History"]

DAY_S = 86_400.0
GATHER_S = 0.25  # from the first call that was told to its being written, with whatever came meanwhile
RETRY_S = 60.0  # how long a file that cannot be used is left alone

T = TypeVar("T")

_log = logging.getLogger("farm_notebook")
_histories: weakref.WeakSet[History] = weakref.WeakSet()


class History:
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
        self._told: set[str] = set()
        self._begin()
        _histories.add(self)

    def _begin(self) -> None:
        self._file: HistoryFile | None = None
        self._file_lock = threading.RLock()
        self._unusable_until = 0.0
        self._pending: deque[CallRecord] = deque()
        self._writer: threading.Thread | None = None
        self._writer_lock = threading.Lock()
        self._due_on: asyncio.AbstractEventLoop | None = None

    def record(self, call: CallRecord) -> None:
        """Remember a call. It is written in the background, in a moment."""
        if time.monotonic() < self._unusable_until:
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
        try:
            await asyncio.to_thread(self._close)
        except RuntimeError:  # the interpreter is on its way out and starts no threads any more
            self._close()

    async def _ask(self, look: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.to_thread(self._with_file, lambda file: file.read(look))

    def _with_file(self, work: Callable[[HistoryFile], T]) -> T:
        """Do something whose failure the caller wants to know; what was told so far is written first."""
        self._write_pending()
        with self._file_lock:
            try:
                self._file = file = self._file or self._opened()
                return work(file)
            except sqlite3.Error as error:
                if is_damage(error):
                    self._note_failure(error)
                raise OSError(f"The history {str(self.path)!r} cannot be used: {error}.") from error

    def _opened(self) -> HistoryFile:
        file = HistoryFile(self.path)
        if file.set_aside is not None:
            self._tell_of_damage(file.set_aside)
        return file

    def _write_soon(self) -> None:
        """Have a thread write what there is, and end when there is nothing more."""
        self._due_on = None
        with self._writer_lock:
            if self._writer is None:
                writer = threading.Thread(target=self._write_all, name="farm-history")
                with contextlib.suppress(RuntimeError):  # the interpreter is on its way out; aclose writes it
                    writer.start()
                    self._writer = writer

    def _write_all(self) -> None:
        while True:
            self._write_pending()
            with self._writer_lock:
                if not self._pending:
                    self._writer = None
                    return

    def _write_pending(self) -> None:
        """Write what is not written yet; what cannot be written is dropped."""
        with self._file_lock:
            records = [self._pending.popleft() for _ in range(len(self._pending))]
            if not records:
                return
            try:
                self._file = file = self._file or self._opened()
                refused = file.write(records, redact=self._redact, bounds=self._bounds, now=self._clock())
            except sqlite3.Error as error:
                self._note_failure(error)
            except OSError as error:
                self._leave_alone(f"cannot be used ({error})")
            else:
                for problem in refused[:1]:
                    self._tell("could not take a call", f"It is not remembered ({problem}).")

    def _note_failure(self, error: sqlite3.Error) -> None:
        """Replace a damaged file; with any other failure wait a while before the next write."""
        file = self._file
        if file is None or not is_damage(error):
            self._leave_alone(f"cannot be used ({error})")
            return
        self._file = None
        try:
            self._file = file.replaced()
        except (sqlite3.Error, OSError) as problem:
            self._leave_alone(f"is damaged and cannot be replaced ({problem})")
        else:
            if self._file.set_aside is not None:
                self._tell_of_damage(self._file.set_aside)

    def _leave_alone(self, what: str) -> None:
        self._unusable_until = time.monotonic() + RETRY_S
        self._tell(what, "Calls are not remembered until it can be used.")

    def _close(self) -> None:
        writer = self._writer
        if writer is not None:
            writer.join()
        self._write_pending()
        with self._file_lock:
            file, self._file = self._file, None
            self._unusable_until = 0.0
            if file is not None:
                file.close()

    def _tell_of_damage(self, set_aside: Path) -> None:
        what = f"was no history, or a damaged one; it was renamed to {set_aside.name!r}"
        self._tell(what, "A new one is used. The old one may be deleted.")

    def _tell(self, what: str, then: str) -> None:
        """Warn, of each thing once."""
        if what not in self._told:
            self._told.add(what)
            _log.warning("The history %r %s. %s", str(self.path), what, then)


_of_parent: list[HistoryFile] = []  # kept from the garbage collector, which would close the parent's files


def _begin_anew_after_fork() -> None:
    """A forked child must neither use nor close its parent's connections, and has none of its threads.

    Source: https://sqlite.org/howtocorrupt.html, section 2.6
    """
    for history in _histories:
        if history._file is not None:
            _of_parent.append(history._file)
        history._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_after_fork)
