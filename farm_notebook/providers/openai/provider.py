"""OpenAI as a provider, and each configured server of its protocol as one more: ``groq:MODEL``."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from importlib.util import find_spec

from farm_notebook.config import FarmConfig
from farm_notebook.errors import (
    AuthenticationError,
    FarmError,
    MissingExtraError,
    ModelNotFoundError,
)
from farm_notebook.providers.base import AIProvider
from farm_notebook.providers.http import public_url
from farm_notebook.providers.http_body import body_chunks
from farm_notebook.providers.openai.client import EndpointClient
from farm_notebook.providers.openai.dialect import Ask, asks, is_azure
from farm_notebook.providers.openai.embedding import unit_vectors
from farm_notebook.providers.openai.failure import NoSuchPathError, section_of
from farm_notebook.providers.openai.listing import is_listed, model_infos
from farm_notebook.providers.openai.stops import without_stops
from farm_notebook.types import (
    ChatRequest,
    Embeddings,
    Event,
    LoadProgress,
    ModelInfo,
    ModelRef,
    ProviderStatus,
    Started,
    Usage,
)

__all__ = ["OpenAIProvider"]

EMBEDDING_BATCH_TEXTS = 256  # texts a request, so that a cancel is noticed between two
LISTING_S = 15.0  # longest silence of /models
HEALTH_S = 5.0
_SHOWN_MODELS = 8
_INSTALL = 'pip install "farm-notebook[openai]"'


class OpenAIProvider(AIProvider):
    """A server of OpenAI's protocol: chats, completions, embeddings, or the Responses API.

    Args:
        config: The settings.
        endpoint: One of ``config.endpoints``, whose name is then the provider's; ``None`` is OpenAI itself.
    """

    name = "openai"

    def __init__(self, config: FarmConfig, endpoint: str | None = None) -> None:
        super().__init__(config)
        if endpoint is not None:
            self.name = endpoint
        self._endpoint = config.openai if endpoint is None else config.endpoints[endpoint]
        self.honours = self.honours - self._endpoint.lacks
        self._client = EndpointClient(self._endpoint, config, self.name)
        self._chat_only: set[str] = set()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        ref = request.ref
        known = False if ref.model in self._chat_only else self._endpoint.has_completions
        ways = asks(request, self._endpoint, has_completions=known)
        await self._client.ready()
        yield Started(ref)
        for way in ways:
            try:
                async with (
                    self._client.stream(way.path, way.body, ref) as response,
                    aclosing(body_chunks(response)) as chunks,
                    aclosing(self._events(way, chunks, request)) as events,
                ):
                    async for event in events:
                        yield event
            except NoSuchPathError:
                if way is ways[-1]:
                    raise
            else:
                if way is not ways[0]:
                    self._chat_only.add(ref.model)
                return

    @staticmethod
    def _events(
        way: Ask, chunks: AsyncGenerator[bytes, None], request: ChatRequest
    ) -> AsyncGenerator[Event, None]:
        events = way.decode(chunks, request.ref)
        return without_stops(events, request.stop) if request.stop else events

    async def embed(self, texts: Sequence[str], model: str) -> Embeddings:
        ref = ModelRef(self.name, model)
        vectors: list[tuple[float, ...]] = []
        tokens: int | None = None
        for start in range(0, len(texts), EMBEDDING_BATCH_TEXTS):
            batch = list(texts[start : start + EMBEDDING_BATCH_TEXTS])
            content = await self._client.post(
                "/embeddings",
                {"model": model, "input": batch, "encoding_format": "float"},
                ref,
                read_s=self.config.timeouts.first_event_s,
            )
            with self._client.typed("/embeddings"):
                # In a thread: a batch is megabytes of JSON, and others stream meanwhile.
                found, counted = await asyncio.to_thread(unit_vectors, content, len(batch), ref)
            vectors += found
            if counted is not None:
                tokens = (tokens or 0) + counted
        return Embeddings(tuple(vectors), ref, Usage(input_tokens=tokens))

    async def list_models(self) -> list[ModelInfo]:
        """The models of the endpoint; none where it wants a key and there is none."""
        if self._client.lacks_key:
            return []
        return model_infos(await self._client.get("/models", read_s=LISTING_S), self.name)

    async def load_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        await self._require(model)
        ready: tuple[LoadProgress, ...] = ()  # the far side loads its models, and does not report
        for progress in ready:
            yield progress

    async def unload_model(self, model: str) -> bool:
        await self._require(model)
        return False

    async def health_check(self) -> ProviderStatus:
        where, section = public_url(self._client.base_url), section_of(self.name)
        fix, variable = f"start the server, or correct {section}.base_url", self._endpoint.api_key_env
        if find_spec("openai") is None:
            return ProviderStatus(self.name, healthy=False, detail="openai is not installed", fix=_INSTALL)
        try:
            if self._client.lacks_key:
                detail, fix = f"{variable} is not set", f"set {variable} to your key"
                return ProviderStatus(self.name, healthy=False, detail=detail, fix=fix)
            async with asyncio.timeout(HEALTH_S):
                answer = await self._client.get("/models", read_s=None)
        except FarmError as error:
            if isinstance(error, AuthenticationError):
                fix = (
                    f"set {variable} to a valid key"
                    if variable
                    else f"name the variable that holds a key with {section}.api_key_env"
                )
            elif isinstance(error, MissingExtraError):
                fix = _INSTALL
            return ProviderStatus(self.name, healthy=False, detail=str(error), fix=fix)
        except TimeoutError:
            detail = f"{where} did not answer within {HEALTH_S:g} s"
            return ProviderStatus(self.name, healthy=False, detail=detail, fix=fix)
        count = len(model_infos(answer, self.name))
        return ProviderStatus(self.name, healthy=True, detail=f"{count} model{'s' * (count != 1)} at {where}")

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _require(self, model: str) -> None:
        """Raise ``ModelNotFoundError`` where the endpoint lists its models, and not this one."""
        if is_azure(self._endpoint):  # it lists what could be deployed, and not what is
            return
        try:
            answer = await self._client.get("/models", read_s=LISTING_S)
        except NoSuchPathError:
            return
        names = sorted(info.ref.model for info in model_infos(answer, self.name))
        if not names or is_listed(answer, model):
            return
        close = difflib.get_close_matches(model, names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        shown = ", ".join(names[:_SHOWN_MODELS]) + ", ..." * (len(names) > _SHOWN_MODELS)
        raise ModelNotFoundError(f"{self.name} has no model {model!r}. It has: {shown}.{hint}")
