"""An event loop whose clock jumps to the next timer when nothing is left to do: nothing waits or hangs."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

__all__ = ["HungError", "run", "virtual_time"]

P = ParamSpec("P")
T = TypeVar("T")
END_S = 100_000.0  # who is still waiting then waits for what will not come


class HungError(BaseException):
    """All tasks wait, and nothing will ever wake one."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time is its own."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._owner = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or self._owner.now > END_S:
            waiting = "\n".join(repr(task) for task in asyncio.all_tasks(self._owner))
            raise HungError(f"after {self._owner.now:g} s, all wait:\n{waiting}")
        self._owner.now += max(0.0, timeout)
        return super().select(0)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop of its own.

    Raises:
        HungError: It waits for what will not come.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Have a test run on such a loop."""

    @functools.wraps(test)
    def run_it(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return run_it
