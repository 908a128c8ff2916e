"""What the tests of several stores ask: what was logged, whether a file is whole, how a process ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import subprocess
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path

import pytest

__all__ = ["assert_whole", "is_true_in_fork", "outcome_of", "warnings_of"]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What a user was warned of."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def assert_whole(path: Path) -> None:
    """SQLite finds nothing wrong with a file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def outcome_of(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """How a program ended, and what it said."""
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


async def is_true_in_fork(holds: Callable[[], Coroutine[None, None, bool]]) -> bool:
    """Whether something holds in a forked child, which does nothing else."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os._exit(0 if asyncio.Runner().run(holds()) else 1)
        os._exit(2)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    return os.waitstatus_to_exitcode(status) == 0
