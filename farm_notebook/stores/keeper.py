"""Keeps a SQLite file open: from its first use on, and whatever happens to it.

A file that is damaged, or none of its kind, is set aside and replaced by a new one. With any other failure, a
full disk for instance, it is left alone for a while. Each fault is logged as a warning, once.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from farm_notebook.stores.file import SQLiteFile, is_damage, is_unwritable
from farm_notebook.stores.fork import ForkSafe

__all__ = ["FileKeeper", "Words"]

RETRY_S = 60.0  # how long a file that cannot be used is left alone

F = TypeVar("F", bound=SQLiteFile)
T = TypeVar("T")

_log = logging.getLogger("farm_notebook")


@dataclass(frozen=True, slots=True)
class Words:
    """How a user is told of a file that breaks.

    Args:
        name: What it is, as in "history".
        foreign: What a file was that is no such thing, as in "no history".
        loss: What is amiss while there is none that can be used: a sentence.
        fresh: What a new file means, where the old one was set aside: sentences.
    """

    name: str
    foreign: str
    loss: str
    fresh: str = "A new one is used. The old one may be deleted."


class FileKeeper(ForkSafe, Generic[F]):
    """One file for all threads of a process; nothing is opened until it is first used.

    Args:
        open_file: Opens it, or makes it; it may take long.
        path: The file; its folder is made if need be.
        words: How a user is told of faults.
    """

    file: F | None
    """The open file, if it is open. Any thread may read it; all else is done under ``lock``."""

    def __init__(self, open_file: Callable[[Path], F], path: Path, words: Words) -> None:
        self._open_file = open_file
        self._path = path
        self._words = words
        self._told: set[str] = set()
        super().__init__()

    def _begin(self) -> None:
        self.file = None
        self.lock = threading.RLock()
        self._left_alone_until = 0.0

    @property
    def is_left_alone(self) -> bool:
        """Whether it failed a moment ago. One that is open may be read all the same."""
        return time.monotonic() < self._left_alone_until

    def opened(self) -> F | None:
        """The open file, which is opened if need be; ``None`` where it cannot be."""
        if (file := self.file) is not None:  # which does not wait for those who write to it
            return file
        with self.lock:
            if self.file is None and not self.is_left_alone:
                try:
                    self.file = self._opened()
                except (sqlite3.Error, OSError) as error:
                    self.leave_alone(error)
            return self.file

    def use(self, work: Callable[[F], T]) -> T:
        """Do something whose failure the caller wants to know, even with a file that is left alone.

        Raises:
            OSError: The file cannot be used.
        """
        with self.lock:
            try:
                self.file = file = self.file or self._opened()
                return work(file)
            except (sqlite3.Error, OSError) as error:
                if self.file is not None and is_damage(error):
                    self.note_failure(error, self.file)
                what = f"The {self._words.name} {str(self._path)!r} cannot be used: {self._why(error)}."
                raise OSError(what) from error

    def note_failure(self, error: Exception, file: F, *, when_lost: Callable[[], None] | None = None) -> None:
        """Replace a damaged file; with any other failure leave it alone for a while.

        Args:
            error: What using it raised.
            file: The one that was used; if it was closed or replaced meanwhile, nothing is to be done.
            when_lost: Called when a damaged file is given up, before there is another one.
        """
        with self.lock:
            if self.file is not file:
                return
            if not is_damage(error):
                self.leave_alone(error)
                return
            self.file = None
            if when_lost is not None:
                when_lost()
            try:
                self.file = file.replaced()
            except (sqlite3.Error, OSError) as problem:
                self.leave_alone(problem, what="is damaged and cannot be replaced")
            else:
                self._tell_of_damage(self.file)

    def leave_alone(self, error: Exception, *, what: str = "cannot be used") -> None:
        """Have nobody wait for the file for a while; why, the user is told."""
        self._left_alone_until = time.monotonic() + RETRY_S
        kind = (
            f"{type(error).__name__} {getattr(error, 'sqlite_errorcode', '')}"  # its words differ each time
        )
        self.tell(f"{what} ({self._why(error)})", self._words.loss, kind=kind)

    def tell(self, what: str, then: str, *, kind: str = "") -> None:
        """Warn, of each thing once, or once of each kind."""
        if (kind or what) not in self._told:
            self._told.add(kind or what)
            _log.warning("The %s %r %s. %s", self._words.name, str(self._path), what, then)

    def try_again(self) -> None:
        """Leave it alone no longer."""
        self._left_alone_until = 0.0

    def close(self) -> None:
        """Let go of the file; the next use opens it."""
        with self.lock:
            file, self.file = self.file, None
            self.try_again()
            if file is not None:
                file.close()

    def _why(self, error: Exception) -> str:
        """What is wrong, and what to do about it."""
        folder = self._path.parent
        if not is_unwritable(error, folder):
            return str(error).rstrip(".")
        reason = getattr(error, "strerror", None) or error
        return (
            f"the folder {str(folder)!r} cannot be written ({reason}); set FARM_CACHE_DIR to one that can be"
        )

    def _opened(self) -> F:
        file = self._open_file(self._path)
        self._tell_of_damage(file)
        return file

    def _tell_of_damage(self, file: F) -> None:
        if file.set_aside is not None:
            what = f"was {self._words.foreign}, or a damaged one; it was renamed to {file.set_aside.name!r}"
            self.tell(what, self._words.fresh)
