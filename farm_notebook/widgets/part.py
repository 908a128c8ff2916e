"""The kernel's side of one panel, without any widget library: its state, and what the page may call.

Everything of a part happens on the farm's event loop, so that it needs no locks: calls arrive there, handlers
are coroutines on it, and what is told goes out from it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, ClassVar

from farm_notebook.cassettes import glancing
from farm_notebook.errors import NotRecordedError
from farm_notebook.farm import AsyncFarm, Farm, default_farm
from farm_notebook.stores.redaction import Redaction, secrets_of
from farm_notebook.widgets.calls import Handler, begin
from farm_notebook.widgets.outbox import Frame, Outbox, Slices
from farm_notebook.widgets.problem import Problem, problem_of

__all__ = ["Handler", "Part"]


class Part(ABC):
    """One panel's work in the kernel.

    Args:
        farm: Whose models, providers and figures; without one it is the default farm.
        sleep: Waits some seconds, between two looks of ``while_shown``.
    """

    name: ClassVar[str]

    def __init__(
        self, farm: Farm | None = None, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        self._farm = farm if farm is not None else default_farm()
        self._redact = Redaction(lambda: secrets_of(self._farm.config))
        self._sleep = sleep
        self._outbox: Outbox | None = None
        self._on_settled: Callable[[], object] = _nothing
        self._tasks: set[asyncio.Task[None]] = set()
        self._looks: list[tuple[float, Callable[[], Awaitable[object]]]] = []
        self._looking: list[asyncio.Task[None]] = []
        self._is_shown = False
        self._is_closed = False

    @property
    def farm(self) -> AsyncFarm:
        """The farm with its present settings; ask anew each time, for they may be read again."""
        return self._farm.core

    # What a panel's author writes.

    @abstractmethod
    def slices(self) -> Slices:
        """The present state, by slice: what a view gets that has just appeared. No secrets."""

    def calls(self) -> Mapping[str, Handler]:
        """What the page may call, by name; arguments are checked against the handlers' annotations.

        Several calls run at once. A call's error is told to who called.
        """
        return {}

    def shown(self) -> None:  # noqa: B027 - most parts need not know
        """The first view has become visible."""

    def hidden(self) -> None:  # noqa: B027
        """The last view was hidden, or is gone."""

    async def ready(self) -> None:  # noqa: B027
        """Bring about what the static output should tell at first; it is waited for some seconds at most."""

    def static_html(self) -> str:
        """The state for a page without a kernel; whatever was not written here is escaped or sanitised."""
        return ""

    def static_text(self) -> str:
        """The same as text, for terminals."""
        return self.name

    # What a panel's author uses.

    def set(self, **slices: Any) -> None:
        """Tell every view new values of some slices; it may be called often, 20 messages a second go out."""
        if self._outbox is not None:
            self._outbox.set(slices)

    def emit(self, event: str, **data: Any) -> None:
        """Tell every view of something that happened. The order among ``set`` and ``emit`` holds."""
        if self._outbox is not None:
            self._outbox.add({"event": event, "data": data})

    def settled(self) -> None:
        """Say that the state is worth saving with the notebook: an answer has ended, a model is loaded."""
        self._on_settled()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work in the background, which ends with the part at the latest; its error is told to the views."""
        if self._is_closed:
            work.close()
            work = _nothing_more()
        task = asyncio.get_running_loop().create_task(self._guarded(work), name=f"farm-panel-{self.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def while_shown(self, period_s: float, look: Callable[[], Awaitable[object]]) -> None:
        """Have ``look`` awaited at once and every so many seconds, as long as a view is visible."""
        self._looks.append((period_s, look))

    async def glance(self, look: Callable[[], Awaitable[object]]) -> None:
        """Have something looked at that no cell asked for, as ``while_shown`` does.

        It is not recorded in a cassette; while one is replayed it tells what was told last, or nothing new.
        """
        with glancing(), suppress(NotRecordedError):
            await look()

    def redacted(self, text: str) -> str:
        """A text of the user's or a model's without the secrets of the settings."""
        return self._redact(text)

    async def problem(self, error: BaseException) -> Problem:
        """An error in words for the page, without secrets."""
        return await asyncio.to_thread(problem_of, error, self._redact)

    # What the panel uses.

    def attach(self, send: Callable[[list[Frame]], object], on_settled: Callable[[], object]) -> None:
        """Connect to the page.

        Args:
            send: Takes the frames of one message; called on the farm's loop.
            on_settled: Called on the farm's loop when the static output should be made anew.
        """
        self._outbox = Outbox(send)
        self._on_settled = on_settled

    def tell_all(self) -> None:
        """Send the present state, for a view that has just appeared."""
        if self._outbox is not None:
            self._outbox.add({"state": self.slices()})

    def receive(self, call: str, args: Mapping[str, Any], call_id: str) -> None:
        """Begin with what the page called; it is told at once that this arrived, and later how it ended."""
        if self._outbox is not None:
            self.spawn(self._answer(call, args, call_id))  # what it does at once goes out with the "ack"
            self._outbox.add({"ack": call_id}, at_once=True)

    def show(self, is_shown: bool) -> None:
        """Note whether any view is visible."""
        if is_shown == self._is_shown or self._is_closed:
            return
        self._is_shown = is_shown
        if is_shown:
            self._looking = [self.spawn(self._keep_looking(*each)) for each in self._looks]
            self.shown()
        else:
            for task in self._looking:
                task.cancel()
            self._looking = []
            self.hidden()

    async def aclose(self) -> None:
        """End all work of this part. Overridden where there is more to end; then call this as well."""
        self.show(False)
        self._is_closed = True
        left = self._tasks - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        if self._outbox is not None:
            self._outbox.close()

    async def _answer(self, call: str, args: Mapping[str, Any], call_id: str) -> None:
        problem: Problem | None = Problem("Stopped", "This was stopped before it was done.")
        try:
            await begin(self.calls(), call, args)
            problem = None
        except Exception as error:  # noqa: BLE001 - whatever it is, who called is told
            problem = await self.problem(error)
        finally:
            assert self._outbox is not None
            self._outbox.add({"done": call_id, "error": problem and asdict(problem)}, at_once=True)

    async def _keep_looking(self, period_s: float, look: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await self.glance(look)
            except Exception as error:  # noqa: BLE001 - the next look may succeed
                self.emit("problem", **asdict(await self.problem(error)))
            await self._sleep(period_s)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - nobody awaits it; the views are told
            self.emit("problem", **asdict(await self.problem(error)))


async def _nothing_more() -> None:
    """The work of a part that is closed."""


def _nothing() -> None:
    """What is called where nobody listens."""
