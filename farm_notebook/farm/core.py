"""Every model behind one set of calls, for coroutines on any loop; the work is done on the farm's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from typing import Any

from typing_extensions import Unpack

from farm_notebook import loop
from farm_notebook.cassettes import ask
from farm_notebook.config import FarmConfig, load_config
from farm_notebook.config.layers import merge
from farm_notebook.errors import ConfigError, FarmError, ProviderError
from farm_notebook.farm.compare import ComparisonRun
from farm_notebook.farm.homes import with_home, without_home
from farm_notebook.farm.models import AsyncModels
from farm_notebook.farm.recorded import F, recorded
from farm_notebook.farm.similarity import Items, Match, labelled, nearest
from farm_notebook.farm.step_calls import StepCalls
from farm_notebook.farm.taping import tape_for
from farm_notebook.pool import shared_pool
from farm_notebook.reply import Reply, ReplyBuilder
from farm_notebook.reports import (
    CallReport,
    Comparison,
    HistoryReport,
    UsageReport,
    call_report,
    history_report,
    usage_report,
)
from farm_notebook.request import Options, Prompt, build_request
from farm_notebook.router import RouteDecision, explain, resolve
from farm_notebook.stores import StoreStats
from farm_notebook.stores.calls import UsageBy
from farm_notebook.types import (
    ChatRequest,
    Embeddings,
    Event,
    LoadProgress,
    ModelInfo,
    ModelRef,
    ProviderStatus,
    RequestKind,
    TextDelta,
)

__all__ = ["AsyncFarm"]


class AsyncFarm(StepCalls):
    """Every model, for coroutines.

    Args:
        config: The settings; without it they are read from the environment.
        settings: Single settings by name, stronger than the environment, e.g. ``model="scripted:echo"``.

    Raises:
        ConfigError: A setting is not valid.
    """

    def __init__(self, config: FarmConfig | None = None, **settings: Any) -> None:
        self.settings = None if config is not None else settings
        self.config = config if config is not None else load_config(settings)
        self._pool = shared_pool(self.config, self)
        self.tape = tape_for(self.config, self._pool)
        self.models = AsyncModels(self, self._pool)
        self._handler = self.tape.handler(self._pool.handler(in_pieces=True))
        self._whole_handler = self.tape.handler(self._pool.handler(in_pieces=False), in_pieces=False)

    def reloaded(self, overrides: Mapping[str, Any]) -> AsyncFarm:
        """A farm like this one, with the settings as they are now in files and environment.

        Args:
            overrides: Single settings by name, which take the place of those that this farm was made with.

        Raises:
            ConfigError: A setting is not valid, or this farm was made with a whole configuration.
        """
        if self.settings is None:
            raise ConfigError("This farm was made with a whole FarmConfig. Make another one with another.")
        return AsyncFarm(**merge(self.settings, overrides))

    async def let_go(self, successor: AsyncFarm) -> None:
        """Give back what this farm had for itself; it goes on working, and would open it again.

        Args:
            successor: The farm in its place, as of ``reloaded``.
        """
        if self._pool is not successor._pool:
            self._pool.users.discard(self)
            await loop.run(self._pool.let_go(successor._pool))

    def recorded(self, function: F) -> F:
        """A function of the user's, with its outcome recorded on the cassette beside the models' answers.

        In a replay it is not called, and what it returned when it was recorded is given: so a training, a
        download or a measurement needs nothing there. What it asks of models is not recorded as well.

        Args:
            function: Takes and returns what JSON can hold; dataclasses and tuples too, where the annotation
                of what it returns says so. May be ``async``.

        Returns:
            One that raises ``InvalidRequestError`` where what it takes or returns could not be replayed.
        """
        return recorded(function, lambda: self.tape)

    def request(
        self, prompt: Prompt, *, kind: RequestKind = "chat", **options: Unpack[Options]
    ) -> ChatRequest:
        """The validated request that the other calls would send.

        Raises:
            InvalidRequestError: An option or the prompt is wrong.
        """
        return build_request(prompt, self.config, options, kind=kind)

    async def chat(self, prompt: Prompt, **options: Unpack[Options]) -> Reply:
        """The whole answer.

        Raises:
            FarmError: See ``farm_notebook.errors``; what had arrived is in ``partial_text``.
        """
        return await loop.run(self._collect(self.request(prompt, **options)))

    async def generate(self, prompt: str, **options: Unpack[Options]) -> Reply:
        """The continuation of a raw prompt, with no chat template."""
        return await loop.run(self._collect(self.request(prompt, kind="completion", **options)))

    async def compare(
        self, prompt: Prompt, models: Sequence[str], *, one_by_one: bool = False, **options: Unpack[Options]
    ) -> Comparison:
        """The same prompt to several models; one that fails ends none of the others.

        Args:
            prompt: The user's text, or a conversation.
            models: At least two different names.
            one_by_one: Ask them in turn, so that none takes the machine from another.
            options: As for ``chat``, the same for all of them.

        Raises:
            InvalidRequestError: An option, the prompt or the list of models is wrong.
        """
        asked = ComparisonRun(self, prompt, models, one_by_one=one_by_one, options=options)
        return await loop.run(asked.run())

    def stream(self, prompt: Prompt, **options: Unpack[Options]) -> AsyncGenerator[str, None]:
        """The answer's text, piece by piece; leaving the loop early stops the model.

        Raises:
            FarmError: As ``chat``.
        """
        return loop.iterate(self._texts(self.request(prompt, **options)))

    async def _texts(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        """On the farm's loop, so that nobody is woken for what is no text."""
        pieces: list[str] = []
        try:
            async with aclosing(self._handler(request)) as events:
                async for event in events:
                    if isinstance(event, TextDelta):
                        pieces.append(event.text)
                        yield event.text
        except ProviderError as error:
            error.partial_text = error.partial_text or "".join(pieces)
            raise

    def events(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """All events of an answer, progress and finish mark included."""
        return loop.iterate(self._handler(request))

    async def embed(self, texts: str | Sequence[str], *, model: str | None = None) -> Embeddings:
        """One unit vector a text.

        Args:
            texts: One or several; none of them empty.
            model: One that embeds; ``None`` is the default, else another one of its provider that does.

        Raises:
            FarmError: The model does not embed, or failed.
        """
        ref, is_named = resolve(model, self.config), model is not None
        texts = (texts,) if isinstance(texts, str) else tuple(texts)
        asked = ask("embed", model=ref, texts=list(texts))
        made = self.tape.value(asked, lambda: self._embed(texts, ref, is_named=is_named), Embeddings)
        return await loop.run(made)

    async def similar(
        self, query: str, items: Items, *, k: int = 5, model: str | None = None
    ) -> tuple[Match, ...]:
        """Those of some texts that are nearest to another one by their meaning, best first.

        Args:
            query: What to look for.
            items: Texts, or texts by keys; blank ones are passed over.
            k: How many, at least 1.
            model: One that embeds; ``None`` is the default.

        Raises:
            InvalidRequestError: There are no texts, or ``k`` is below 1.
            FarmError: The model does not embed, or failed.
        """
        found = labelled(items)
        nearest((), (), k)  # a wrong k costs no embedding
        made = await self.embed((query, *(text for _, text in found)), model=model)
        best = nearest(made.vectors[0], made.vectors[1:], k)
        return tuple(Match(score, *found[place]) for score, place in best)

    async def list_models(self) -> list[ModelInfo]:
        """The models of every provider that can be reached; ``health`` tells of the others."""
        return with_home(await loop.run(self.tape.value(ask("list_models"), self._listed, list[ModelInfo])))

    async def route(self, model: str | None = None) -> RouteDecision:
        """Which model a name leads to just now, why, and who stands in for it.

        Args:
            model: A name as for a request; ``None`` is the default.

        Raises:
            FarmError: The name leads nowhere; as a request with it would.
        """
        return await loop.run(
            self.tape.value(
                ask("route", model=model),
                lambda: explain(model, self.config, self._pool.chooser, ailment=self._pool.ailment),
                RouteDecision,
            )
        )

    def load(self, model: str | None = None) -> AsyncGenerator[LoadProgress, None]:
        """See ``models.load``."""
        return self.models.load(model)

    def pull(self, model: str | None = None) -> AsyncGenerator[LoadProgress, None]:
        """Bring a model's files to this machine without loading them."""
        ref = resolve(model, self.config)
        return loop.iterate(self.tape.stream(ask("pull", model=ref), lambda: self._pull(ref)))

    async def unload(self, model: str | None = None) -> bool:
        """See ``models.unload``."""
        return await self.models.unload(model)

    def lease(self, model: str | None = None) -> AbstractAsyncContextManager[Any]:
        """See ``models.lease``."""
        return self.models.lease(model)

    def runs_here(self, ref: ModelRef) -> bool:
        """Whether a model runs on the user's own hardware."""
        return self.tape.runs_here(ref)

    async def digest(self, ref: ModelRef) -> str | None:
        """The file digest or revision of a model."""
        return await loop.run(self.tape.digest(ref))

    async def context_tokens(self, model: str | None = None) -> int | None:
        """How many tokens a model takes in, prompt and answer together; ``None`` where nobody can tell.

        Args:
            model: A name as for a request; ``None`` is the default.

        Raises:
            FarmError: The name is not valid.
        """
        ref = resolve(model, self.config)
        asked = ask("context_tokens", model=ref)
        return await loop.run(self.tape.value(asked, lambda: self._context_tokens(ref), int | None))

    async def cache_stats(self) -> StoreStats:
        """What is kept of answers, by all farms of this user.

        Raises:
            OSError: The file cannot be read.
        """
        return await loop.run(self._pool.answers.stats())

    async def cache_clear(self) -> int:
        """Forget all answers that were kept; how many there were.

        Raises:
            OSError: The file cannot be written.
        """
        return await loop.run(self._pool.answers.clear())

    async def history(
        self,
        search: str | None = None,
        *,
        model: str | None = None,
        since: str | None = None,
        limit: int = 20,
    ) -> HistoryReport:
        """The calls of this user's kernels, newest first; see ``reports.history_report``.

        Raises:
            InvalidRequestError: ``since`` is no moment.
            OSError: The file cannot be read.
        """
        return await loop.run(
            history_report(self._pool.history, search, model=model, since=since, limit=limit)
        )

    async def history_show(self, number: int) -> CallReport:
        """One of them in full, with the whole conversation that was sent.

        Raises:
            InvalidRequestError: There is none of that number.
            OSError: The file cannot be read.
        """
        return await loop.run(call_report(self._pool.history, number))

    async def history_clear(self) -> int:
        """Forget all of them; how many there were.

        Raises:
            OSError: The file cannot be written.
        """
        return await loop.run(self._pool.history.clear())

    async def usage(self, by: UsageBy = "model", *, since: str | None = None) -> UsageReport:
        """What these calls came to; see ``reports.usage_report``.

        Raises:
            InvalidRequestError: ``since`` is no moment.
            OSError: The file cannot be read.
        """
        return await loop.run(usage_report(self._pool.history, by, since=since))

    async def health(self, *, refresh: bool = False) -> list[ProviderStatus]:
        """The state of every provider, asked at once; nothing is loaded for it.

        Args:
            refresh: Ask also those that said how they are a moment ago.
        """
        return await loop.run(
            self.tape.value(
                ask("health"), lambda: self._pool.health.check_all(refresh=refresh), list[ProviderStatus]
            )
        )

    async def aclose(self) -> None:
        """Unload every model and close every connection of farms with these settings."""
        await loop.run(self._pool.aclose())

    async def _listed(self) -> list[ModelInfo]:
        asked = (provider.list_models() for provider in self._pool.providers.listed()[0])
        found = await asyncio.gather(*asked, return_exceptions=True)
        infos: list[ModelInfo] = []
        for outcome in found:
            if isinstance(outcome, list):
                infos += outcome
            elif not isinstance(outcome, FarmError):
                raise outcome
        return without_home(infos)

    async def _concrete(self, ref: ModelRef) -> ModelRef:
        return (await self._pool.chooser.concrete(ref))[0]

    async def _context_tokens(self, ref: ModelRef) -> int | None:
        with suppress(FarmError):  # the request itself will say that there is no such model now
            ref = await self._concrete(ref)
        told = await self._pool.chooser.context_tokens(ref)
        loaded_with = getattr(self.config.section(ref.provider), "context_tokens", None)
        return min(filter(None, (told, loaded_with)), default=None)

    async def _embed(self, texts: tuple[str, ...], ref: ModelRef, *, is_named: bool) -> Embeddings:
        ref = await self._pool.chooser.embedder(ref, is_named=is_named)
        return await self._pool.embed(texts, ref)

    async def _collect(self, request: ChatRequest) -> Reply:
        builder = ReplyBuilder(request)
        try:
            async with aclosing(self._whole_handler(request)) as events:
                async for event in events:
                    builder.add(event)
        except ProviderError as error:
            error.partial_text = error.partial_text or builder.text
            raise
        with suppress(FarmError):  # an answer is not lost because its model's digest cannot be told
            builder.digest = await self.digest(builder.ref)
        return builder.build()

    async def _pull(self, ref: ModelRef) -> AsyncGenerator[LoadProgress, None]:
        ref = await self._concrete(ref)
        with self._pool.providers.telling(ref, self.config):
            async with aclosing(self._pool.providers.get(ref.provider).pull_model(ref.model)) as events:
                async for event in events:
                    yield event
