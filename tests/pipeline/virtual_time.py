"""An event loop whose clock moves only when nothing is left to do: hours pass in no time, always alike."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop on which waiting takes no time; one that waits for nothing is an error, and no test hangs.

    Threads and connections are not waited for.
    """

    def __init__(self) -> None:
        self._virtual_s = 1000.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self._virtual_s

    def pass_time(self, seconds: float) -> None:
        self._virtual_s += seconds


class _Selector(selectors.SelectSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everything waits, and nothing will ever happen")
        self._loop.pass_time(max(0.0, timeout))
        return []


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)
