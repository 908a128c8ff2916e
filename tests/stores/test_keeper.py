"""A file that is kept is opened once, replaced when it is damaged, and left alone when it cannot be used."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_checks import is_true_in_fork, warnings_of

from farm_notebook.stores import keeper as keeper_module
from farm_notebook.stores.file import SQLiteFile
from farm_notebook.stores.keeper import FileKeeper, Words

PATIENT_S = 30.0  # on a busy machine anything may take long


class Notes(SQLiteFile):
    """A file of lines."""

    FORMAT = 1

    def add(self, line: str) -> None:
        with self._transaction():
            self._writer.execute("INSERT INTO notes VALUES (?)", (line,))

    def lines(self) -> list[str]:
        return [line for (line,) in self._writer.execute("SELECT line FROM notes")]

    def _make_tables(self) -> None:
        self._writer.execute("CREATE TABLE notes (line TEXT)")


def damage() -> sqlite3.Error:
    """What SQLite raises for a file that is not whole."""
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "notes.sqlite"


@pytest.fixture
def keeper(path: Path) -> Iterator[FileKeeper[Notes]]:
    made = FileKeeper(Notes, path, Words("notebook", "no notebook", "Nothing is noted until it can be."))
    yield made
    made.close()


def test_it_is_opened_at_its_first_use_and_once(keeper: FileKeeper[Notes], path: Path) -> None:
    assert not path.parent.exists()
    opened: list[Notes | None] = []
    threads = [threading.Thread(target=lambda: opened.append(keeper.opened())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENT_S)
    assert opened == [keeper.file] * 8
    assert path.exists()


def test_one_that_is_open_is_read_without_waiting_for_who_writes(keeper: FileKeeper[Notes]) -> None:
    file, got = keeper.opened(), threading.Event()

    def get() -> None:
        assert keeper.opened() is file
        got.set()

    with keeper.lock:
        threading.Thread(target=get).start()
        assert got.wait(PATIENT_S)


def test_one_that_cannot_be_opened_is_left_alone_until_it_is_closed(
    keeper: FileKeeper[Notes], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.write_text("a file in the way")
    assert keeper.opened() is None
    path.parent.unlink()
    assert keeper.opened() is None
    assert keeper.is_left_alone
    (told,) = warnings_of(caplog)
    assert told == (
        f"The notebook {str(path)!r} cannot be used (the folder {str(path.parent)!r} cannot be written (File "
        "exists); set FARM_CACHE_DIR to one that can be). Nothing is noted until it can be."
    )
    keeper.close()
    assert keeper.opened() is not None


def test_who_wants_to_know_is_told_though_it_is_left_alone(keeper: FileKeeper[Notes], path: Path) -> None:
    path.parent.write_text("a file in the way")
    assert keeper.opened() is None
    with pytest.raises(OSError, match=r"cannot be written \(.*set FARM_CACHE_DIR to one that can be\.$"):
        keeper.use(Notes.lines)
    path.parent.unlink()
    assert keeper.use(Notes.lines) == []


def test_one_that_is_damaged_is_replaced_and_the_error_is_told(
    keeper: FileKeeper[Notes], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def look(_file: Notes) -> None:
        raise damage()

    keeper.use(lambda file: file.add("one"))
    with pytest.raises(OSError, match=r"The notebook '.*notes\.sqlite' cannot be used: .*malformed\."):
        keeper.use(look)
    assert keeper.use(Notes.lines) == []
    assert warnings_of(caplog) == [
        f"The notebook {str(path)!r} was no notebook, or a damaged one; it was renamed to "
        "'notes.sqlite.corrupt-1'. A new one is used. The old one may be deleted."
    ]
    assert not keeper.is_left_alone


def test_of_many_that_meet_a_damage_one_replaces_the_file(keeper: FileKeeper[Notes], path: Path) -> None:
    file = keeper.opened()
    assert file is not None
    lost: list[bool] = []
    for _ in range(3):
        keeper.note_failure(damage(), file, when_lost=lambda: lost.append(keeper.file is None))
    assert lost == [True]
    assert len(list(path.parent.glob("*.corrupt-*"))) == 1


def test_one_without_its_tables_is_damaged(keeper: FileKeeper[Notes], path: Path) -> None:
    keeper.use(lambda file: file.add("one"))
    keeper.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE notes")
    with pytest.raises(OSError, match="no such table"):
        keeper.use(Notes.lines)
    assert keeper.use(Notes.lines) == []
    assert path.with_name("notes.sqlite.corrupt-1").exists()


def test_a_fault_is_told_of_once_whatever_its_words(
    keeper: FileKeeper[Notes], caplog: pytest.LogCaptureFixture
) -> None:
    keeper.leave_alone(PermissionError(13, "Permission denied", "one.lock"), what="cannot be replaced")
    keeper.leave_alone(PermissionError(13, "Permission denied", "two.lock"))
    keeper.leave_alone(sqlite3.OperationalError("database or disk is full"))
    assert len(warnings_of(caplog)) == 2


def test_any_other_failure_leaves_it_open_for_reads(
    keeper: FileKeeper[Notes], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = keeper.opened()
    assert file is not None
    for _ in range(2):
        keeper.note_failure(sqlite3.OperationalError("database or disk is full"), file)
    assert (keeper.file, keeper.is_left_alone) == (file, True)
    assert len(warnings_of(caplog)) == 1
    monkeypatch.setattr(keeper_module, "RETRY_S", 0.0)
    keeper.leave_alone(OSError("for no time at all"))
    assert not keeper.is_left_alone


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
async def test_a_forked_child_opens_it_anew_even_if_somebody_was_at_it(keeper: FileKeeper[Notes]) -> None:
    keeper.use(lambda file: file.add("of the parent"))
    its = keeper.file
    is_held, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with keeper.lock:
            is_held.set()
            may_end.wait(PATIENT_S)

    holder = threading.Thread(target=hold)
    holder.start()
    await asyncio.to_thread(is_held.wait, PATIENT_S)

    async def use() -> bool:
        is_closed = keeper.file is None
        keeper.use(lambda file: file.add("of the child"))
        keeper.close()
        return is_closed

    assert await is_true_in_fork(use)
    may_end.set()
    holder.join(PATIENT_S)
    assert keeper.file is its
    assert keeper.use(Notes.lines) == ["of the parent", "of the child"]
