"""Stands between a farm's callers and all the work behind them: records what passes, or plays it instead.

What is recorded is what a caller sees, so that replaying needs nothing of what made it: no provider, no
policy, no network. Calls that fail are recorded as that failure, and streams that are left as far as they
came.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from farm_notebook.cassettes.asks import Ask, ask_of_request, id_of, pictures_of
from farm_notebook.cassettes.cassette import Cassette
from farm_notebook.cassettes.events import Timed, read_events, scrub_entries, write_events
from farm_notebook.cassettes.failures import write_failure
from farm_notebook.cassettes.glances import is_glance
from farm_notebook.cassettes.lines import Line
from farm_notebook.cassettes.playing import Sleep, answerer, play, recorded_value
from farm_notebook.cassettes.scrub import Scrub
from farm_notebook.cassettes.shared import cassette_path, missing, never_asked, not_recorded, shared_cassette
from farm_notebook.cassettes.values import plain
from farm_notebook.cassettes.vectors import write_embeddings
from farm_notebook.config import CassetteConfig
from farm_notebook.errors import FarmError, NotRecordedError
from farm_notebook.pipeline import Handler
from farm_notebook.pipeline.cache import known_digest
from farm_notebook.types import ChatRequest, Embeddings, Event, Finished, Image, ModelRef, Started

__all__ = ["Models", "Tape"]

T = TypeVar("T")
E = TypeVar("E", bound=Event)


class Models(Protocol):
    """What a tape asks about the models that answer, while it records."""

    async def digest(self, ref: ModelRef) -> str | None:
        """The digest or revision of a model, where it can be told."""

    def runs_here(self, ref: ModelRef) -> bool:
        """Whether a model runs on the user's own hardware."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of a call; its events and its error still with their secrets."""

    events: tuple[Timed, ...] | None = None
    value: Any = None
    error: FarmError | None = None
    is_interrupted: bool = False
    digest: str | None = None
    is_local: bool = False


class Tape:
    """The cassette of one farm's settings; nothing is read or written before the first call.

    Args:
        settings: What is to be done, and with which file.
        models: Tells of those that answer.
        scrub: Takes secrets out.
        notebook: Finds the notebook's file, where the settings name no cassette.
        clock: Seconds from any fixed moment.
        sleep: Waits, to replay in real time.
    """

    def __init__(
        self,
        settings: CassetteConfig,
        models: Models,
        *,
        scrub: Scrub,
        notebook: Callable[[], Path | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.settings = settings
        self._models = models
        self._scrub = scrub
        self._notebook = notebook
        self._clock = clock
        self._sleep = sleep
        self._path: Path | None = None
        self._digests: dict[ModelRef, str | None] = {}
        self._is_local: dict[ModelRef, bool] = {}
        self._took_ms: dict[str, int] = {}  # the last call of each kind
        self._last: dict[str, Line] = {}  # of each call, by its id

    @property
    def is_replaying(self) -> bool:
        """Whether nobody is to be asked for anything."""
        return self.settings.mode == "replay"

    @property
    def path(self) -> Path:
        """The file.

        Raises:
            CassetteError: None is named, and the notebook's name cannot be known.
        """
        if self._path is None:
            self._path = cassette_path(self.settings.file, self._notebook).expanduser().resolve()
        return self._path

    @property
    def cassette(self) -> Cassette | None:
        """What it uses; ``None`` where it is off.

        Raises:
            CassetteError: As ``path``.
        """
        mode = self.settings.mode
        return None if mode == "off" else shared_cassette(self.path, mode)

    def handler(self, inner: Handler, *, in_pieces: bool = True) -> Handler:
        """The same handler, recorded or replayed.

        Args:
            inner: Answers requests.
            in_pieces: Replay a text in the pieces it came in. Who waits for all of it has it sooner without.
        """
        if self.settings.mode == "off":
            return inner

        def taped(request: Any) -> AsyncGenerator[Event, None]:
            asked, pictures = ask_of_request(request), pictures_of(request)
            return self.stream(asked, lambda: inner(request), pictures=pictures, in_pieces=in_pieces)

        return taped

    async def stream(
        self,
        asked: Ask,
        make: Callable[[], AsyncGenerator[E, None]],
        *,
        pictures: Iterable[Image] = (),
        in_pieces: bool = True,
    ) -> AsyncGenerator[E, None]:
        """The events of a call, recorded or replayed.

        Args:
            asked: The call.
            make: Makes them.
            pictures: Images it asks about.
            in_pieces: As of ``handler``.

        Raises:
            NotRecordedError: Replaying, it is not there; the error tells what differs from those that are.
            InterruptedReply: The recorded call was left by its caller, and this one goes on.
            FarmError: As it was recorded, or as ``make`` raises it.
        """
        cassette = self.cassette
        if cassette is None:
            events = make()
        else:
            asked = cast(Ask, self._scrub(asked))
            line = await self._recorded(cassette, asked)
            if line is None:
                events = self._record(cassette, asked, make, pictures)
            else:
                sleep = self._sleep if self.settings.realtime else None
                events = cast(AsyncGenerator[E, None], play(line, in_pieces=in_pieces, sleep=sleep))
        async with aclosing(events):
            async for event in events:
                yield event

    async def value(self, asked: Ask, make: Callable[[], Coroutine[Any, Any, T]], kind: Any) -> T:
        """The outcome of a call, recorded or replayed.

        Args:
            asked: The call.
            make: Does it.
            kind: The type of its outcome, as an annotation writes it.

        Raises:
            FarmError: As ``stream``.
        """
        cassette = self.cassette
        if cassette is None:
            return await make()
        asked = cast(Ask, self._scrub(asked))
        if (line := await self._recorded(cassette, asked)) is not None:
            if self.settings.realtime:
                await self._sleep(line.took_ms / 1000)
            return cast(T, recorded_value(line, kind))
        number, called = cassette.number(), self._clock()
        try:
            value = await make()
        except FarmError as error:
            await self._keep(cassette, asked, number, called, _Outcome(error=error))
            raise
        # Of vectors nothing is scrubbed: their bytes may look like a key.
        told = write_embeddings(value) if isinstance(value, Embeddings) else self._scrub(plain(value))
        await self._keep(cassette, asked, number, called, _Outcome(value=told))
        return value

    async def digest(self, ref: ModelRef) -> str | None:
        """The digest of a model; replaying, that of the one whose answer was replayed last.

        Raises:
            NotRecordedError: Replaying, no answer of it is recorded.
        """
        if self.is_replaying:
            if ref not in self._digests:
                raise NotRecordedError(f"No answer of {ref} was replayed, so that its digest is not known.")
            return self._digests[ref]
        if self.settings.mode == "auto" and ref in self._digests:
            return self._digests[ref]
        return await self._models.digest(ref)

    def check(self, *, always: bool = False) -> None:
        """See that all that is recorded was asked for.

        Args:
            always: Also where the settings are not strict.

        Raises:
            CassetteError: Naming what was not.
        """
        cassette = self.cassette if self.settings.strict or always else None
        if cassette is not None and (unasked := cassette.unasked()):
            raise never_asked(cassette.file.path, unasked)

    async def measured(self, asked: Ask, measured_s: float) -> float:
        """A time that no model has to do with, such as a tool's; replayed, the recorded one, if there is one.

        Args:
            asked: What took it.
            measured_s: By whoever asks.
        """

        async def now() -> float:
            return measured_s

        try:
            return await self.value(asked, now, float)
        except NotRecordedError:
            return measured_s

    def took_s(self, call: str, measured_s: float) -> float:
        """How long the last call of a kind took: the same when it is replayed as when it was recorded.

        Args:
            call: The kind, as in ``ask``.
            measured_s: By whoever asks; it holds where nothing is recorded.
        """
        return self._took_ms[call] / 1000 if call in self._took_ms else measured_s

    def moments(self, request: ChatRequest) -> tuple[list[Timed], float] | None:
        """The events of a request that has ended, when each came, and the seconds that all of it took.

        Replayed, they are those of the recording; ``None`` where nothing is recorded of it.
        """
        line = self._last.get(id_of(cast(Ask, self._scrub(ask_of_request(request)))))
        try:
            return None if line is None else (read_events(line.events or []), line.took_ms / 1000)
        except ValueError:  # whoever replays it is told
            return None

    def runs_here(self, ref: ModelRef) -> bool:
        """Whether a model runs on the user's hardware; replaying, whether it did when it was recorded."""
        if self.is_replaying or ref in self._is_local:
            return self._is_local.get(ref, False)
        return self._models.runs_here(ref)

    async def _recorded(self, cassette: Cassette, asked: Ask) -> Line | None:
        """The recorded call to give; ``None`` where it is to be made and recorded."""
        if cassette.mode == "replay" and cassette.file.version is None:
            raise missing(cassette.file.path, self.settings.record_command)
        await cassette.open()
        if cassette.mode == "record":
            return None
        line = cassette.latest(asked) if is_glance() else cassette.take(asked)
        if line is None and cassette.mode == "replay":
            raise not_recorded(asked, cassette, self.settings.record_command)
        if is_glance():
            return line
        if line is not None and cassette.mode == "auto" and not await self._is_of_that_model(line):
            cassette.replace(line)
            line = None
        if line is not None:
            self._note(line)
        return line

    async def _is_of_that_model(self, line: Line) -> bool:
        """Whether the model that answered is still the same, as far as that can be told here and now."""
        ref = answerer(line)
        if ref is None or line.digest is None or not line.is_local:
            return True
        try:
            return await known_digest(self._models.digest, ref) in (None, line.digest)
        except TimeoutError:
            return True

    def _note(self, line: Line) -> None:
        """That a recorded call is given: to those who ask about its model, and to other programs."""
        self._took_ms[line.ask["call"]], self._last[line.id] = line.took_ms, line
        if (ref := answerer(line)) is not None:
            self._digests[ref], self._is_local[ref] = line.digest, line.is_local
        if (file := self.settings.asked_file) is not None:
            with file.open("a") as told:
                told.write(f"{line.id} {line.take}\n")

    async def _record(
        self,
        cassette: Cassette,
        asked: Ask,
        make: Callable[[], AsyncGenerator[E, None]],
        pictures: Iterable[Image],
    ) -> AsyncGenerator[E, None]:
        number, called = cassette.number(), self._clock()
        passed: list[tuple[float, E]] = []

        def outcome(error: FarmError | None = None, *, is_interrupted: bool = False) -> _Outcome:
            events = tuple(Timed(round((at - called) * 1000), event) for at, event in passed)
            return _Outcome(events, error=error, is_interrupted=is_interrupted)

        try:
            async with aclosing(make()) as events:
                async for event in events:
                    passed.append((self._clock(), event))
                    if isinstance(
                        event, Started
                    ):  # what was told of its model when that was replayed is past
                        self._digests.pop(event.ref, None)
                        self._is_local.pop(event.ref, None)
                    yield event
        except FarmError as error:
            await self._keep(cassette, asked, number, called, outcome(error), pictures)
            raise
        except (asyncio.CancelledError, GeneratorExit):
            is_whole = bool(passed) and isinstance(passed[-1][1], Finished)
            left = outcome(is_interrupted=not is_whole)
            _in_background(self._keep(cassette, asked, number, called, left, pictures))
            raise
        await self._keep(cassette, asked, number, called, outcome(), pictures)

    async def _keep(
        self,
        cassette: Cassette,
        asked: Ask,
        number: int,
        called: float,
        outcome: _Outcome,
        pictures: Iterable[Image] = (),
    ) -> None:
        """Add a call that has ended to the cassette, and write it; of a glance nothing is kept."""
        if is_glance():
            return
        took_ms = self._took_ms[asked["call"]] = round((self._clock() - called) * 1000)
        digest, is_local = None, False
        if (ref := _started(event for _, event in outcome.events or ())) is not None:
            is_local = self._models.runs_here(ref)
            if not outcome.is_interrupted:
                with suppress(FarmError, OSError):  # it is recorded all the same
                    digest = await self._models.digest(ref)
        scrub = self._scrub
        events = None if outcome.events is None else scrub_entries(write_events(outcome.events), scrub)
        line = Line(
            asked,
            events=events,
            value=outcome.value,
            error=None if outcome.error is None else scrub(write_failure(outcome.error)),
            is_interrupted=outcome.is_interrupted,
            digest=digest,
            is_local=is_local,
            took_ms=took_ms,
        )
        self._last[line.id] = line
        cassette.keep(number, line, pictures)
        await cassette.save()


_tasks: set[asyncio.Task[None]] = set()


def _in_background(work: Coroutine[Any, Any, None]) -> None:
    """Do something without having a caller wait who wants to leave."""
    task = asyncio.create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def _started(events: Iterable[Any]) -> ModelRef | None:
    """Who answers: whom the last ``Started`` names."""
    refs = [event.ref for event in events if isinstance(event, Started)]
    return refs[-1] if refs else None
