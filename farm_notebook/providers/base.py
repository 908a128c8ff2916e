"""The contract of a provider: five primitives to write, and the familiar calls on top of them.

An author writes ``stream``, ``embed``, ``list_models``, ``load_model`` / ``unload_model`` and
``health_check``. ``chat``, ``chat_stream``, ``generate`` and ``generate_stream`` stand here once,
on ``stream``. Everything runs on the farm's event loop; constructors do no I/O.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from farm_notebook.config import FarmConfig
from farm_notebook.errors import InvalidRequestError, UnsupportedParameterError
from farm_notebook.providers.logprobs import as_asked
from farm_notebook.reply import Reply, ReplyBuilder
from farm_notebook.types import (
    PARAMETERS,
    ChatRequest,
    Embeddings,
    Event,
    LoadOptions,
    LoadProgress,
    ModelInfo,
    ModelStatus,
    ProviderStatus,
    TextDelta,
)

if TYPE_CHECKING:
    from farm_notebook.lifecycle.common import Lifecycle

__all__ = ["AIProvider"]


class AIProvider(ABC):
    """One way to reach models.

    Args:
        config: The settings; a provider reads its own section.
    """

    name: str
    is_listed: ClassVar[bool] = True  # whether users are shown it and its models
    is_real: ClassVar[bool] = True  # whether it asks anyone or loads a model, as most tests must not
    honours: frozenset[str] = frozenset({*PARAMETERS, "images", "completion"})
    """What this provider does not drop in silence: parameters of a request by name, ``images`` in messages,
    and ``completion``, a request without a chat template. A request with anything else is refused."""

    def __init__(self, config: FarmConfig) -> None:
        self.config = config

    @cached_property
    def lifecycle(self) -> Lifecycle:
        """What its models share with those of other providers; a farm sets its own as soon as it is made."""
        from farm_notebook.lifecycle.common import Lifecycle

        return Lifecycle(self.config.models)

    def answer(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """``stream``, for a request that asks for nothing this provider would drop in silence.

        Raises:
            UnsupportedParameterError: At once; it lists what this provider honours. At the end, if logprobs
                were asked for and not told.
        """
        asked = {*request.parameters()}
        if any(message.images for message in request.messages):
            asked.add("images")
        if request.kind == "completion":
            asked.add("completion")
        if dropped := sorted(asked - self.honours):
            raise UnsupportedParameterError(
                f"{request.ref} cannot honour {', '.join(dropped)}. {self.name} takes: "
                f"{', '.join(sorted(self.honours))}.",
                provider=self.name,
            )
        events = self.stream(request)
        return events if request.logprobs is None else as_asked(events, request)

    @abstractmethod
    def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """Answer a request as events; closing the iterator stops the work on the far side.

        Yields:
            ``LoadProgress`` while a local model is brought up, one ``Started``, the answer's
            deltas, and one ``Finished``.

        Raises:
            FarmError: In the terms of ``farm_notebook.errors``; no foreign error leaves a provider.
        """

    @abstractmethod
    async def embed(self, texts: Sequence[str], model: str) -> Embeddings:
        """One unit vector a text, in order."""

    @abstractmethod
    async def list_models(self) -> list[ModelInfo]:
        """The models this provider can answer with, or could after a fetch."""

    @abstractmethod
    def load_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        """Make a model ready; a model that is ready yields nothing."""

    async def pull_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        """Bring a model's files to this machine without loading them; files that are here yield nothing.

        Raises:
            InvalidRequestError: This provider's models are not files of this machine.
        """
        raise InvalidRequestError(f"{self.name} has no files to pull; {self.name}:{model} runs elsewhere.")
        yield  # type: ignore[unreachable]  # what makes this a generator

    async def delete_model(self, model: str) -> bool:
        """Remove a model's files from where the provider keeps them; whether there were any.

        Raises:
            InvalidRequestError: This provider's models are not files it may delete.
        """
        raise InvalidRequestError(f"{self.name} has no files to delete; {self.name}:{model} runs elsewhere.")

    @abstractmethod
    async def unload_model(self, model: str) -> bool:
        """Give a model's memory back; whether there was anything to give."""

    async def place_model(self, model: str, options: LoadOptions) -> AsyncGenerator[LoadProgress, None]:
        """``load_model`` where and how the options say, from now on; what is there otherwise is loaded anew.

        Raises:
            InvalidRequestError: This provider decides that itself.
        """
        raise InvalidRequestError(
            f"{self.name}:{model} cannot be told where and how to be loaded; {self.name} decides that."
        )
        yield  # type: ignore[unreachable]  # what makes this a generator

    async def reload_model(
        self, model: str, *, drain_s: float | None = None
    ) -> AsyncGenerator[LoadProgress, None]:
        """Have a model answer from its files as they are now. Where they are files of this machine, the new
        one is loaded beside the old one, which answers until the new one works, and where it does not.

        Args:
            model: Which one; one that is not loaded is loaded.
            drain_s: How long answers under way may take to end; 0 ends them, ``None`` is as the settings say.
        """
        await self.unload_model(model)
        async with aclosing(self.load_model(model)) as loading:
            async for progress in loading:
                yield progress

    async def set_aside_model(self, model: str) -> bool:
        """Have a model leave its device for host memory, from where ``load_model`` brings it back; whether it
        is there now. A provider that has no such place unloads it.
        """
        await self.unload_model(model)
        return False

    async def interrupt_model(self, model: str) -> None:  # noqa: B027 - a provider need not be able to
        """End what a model is answering, with an error for whoever asked."""

    async def give_back_memory(self) -> None:  # noqa: B027 - a provider need not keep any
        """Return memory that no model needs to the system and to the devices' drivers."""

    async def model_statuses(self) -> list[ModelStatus]:
        """The models that are in memory, are on their way there, or failed to get there."""
        return []

    async def fingerprint(self, model: str) -> str | None:
        """What tells the present files of a model from others; ``None`` while they are not whole."""
        return await self.digest(model)

    async def loaded_fingerprint(self, model: str) -> str | None:
        """The same of the files that the model in memory was loaded from; ``None`` where it is not there."""
        return None

    def lease(self, model: str) -> AbstractAsyncContextManager[Any]:
        """A loaded model in this process for as long as the block lasts; it is not unloaded meanwhile.

        Raises:
            InvalidRequestError: This provider's models run in another process.
        """
        raise InvalidRequestError(
            f"{self.name}:{model} runs in another process; there is nothing of it to get hold of here."
        )

    def runs_here(self, model: str) -> bool:
        """Whether a model runs on the user's own hardware, so that its answers cost nothing."""
        return False

    @abstractmethod
    async def health_check(self) -> ProviderStatus:
        """Whether this provider could answer now, without loading anything."""

    async def digest(self, model: str) -> str | None:
        """The revision or file digest of a model, where the provider knows one."""
        return None

    async def aclose(self) -> None:  # noqa: B027 - a provider that holds nothing need not say so
        """Give everything back: connections, processes, models."""

    async def chat(self, request: ChatRequest) -> Reply:
        """The whole answer to a conversation."""
        return await self._collect(replace(request, kind="chat"))

    def chat_stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        """The answer's text, piece by piece."""
        return self._texts(replace(request, kind="chat"))

    async def generate(self, request: ChatRequest) -> Reply:
        """The continuation of a raw prompt, with no chat template."""
        return await self._collect(replace(request, kind="completion"))

    def generate_stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        """The continuation's text, piece by piece."""
        return self._texts(replace(request, kind="completion"))

    async def _collect(self, request: ChatRequest) -> Reply:
        builder = ReplyBuilder(request)
        async with aclosing(self.answer(request)) as events:
            async for event in events:
                builder.add(event)
        return builder.build()

    async def _texts(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        async with aclosing(self.answer(request)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    yield event.text
