"""Gives the vector of a text that a model gave before; only the texts that are missing are asked for.

Each text is kept by itself, under the model and that model's digest, so that any selection of texts in any
order finds what there is. A text that somebody else is asking for just now is waited for, not asked again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, ParamSpec, TypeAlias, TypeVar

from farm_notebook.errors import ProviderError
from farm_notebook.pipeline.cache import Digest, known_digest
from farm_notebook.pipeline.single_flight import copy_of
from farm_notebook.stores import Store
from farm_notebook.types import CacheUse, Embeddings, ModelRef, Usage

__all__ = ["Ask", "EmbeddingCache"]

FORMAT = 1  # of a key, and of what stands under it
MANY = 50  # texts; so many are worth a thread

Ask: TypeAlias = Callable[[Sequence[str]], Awaitable[Embeddings]]
"""Asks the model for the vectors of some texts, no two of which are equal."""
Vector: TypeAlias = tuple[float, ...]
P = ParamSpec("P")
T = TypeVar("T")


class EmbeddingCache:
    """Vectors that are kept, and the calls under way; for callers on one event loop.

    Args:
        store: Where vectors are kept.
        digest: Of a model.
        settings: From a provider's name to what tells its settings from others; see ``cache``.
    """

    def __init__(
        self, store: Store, digest: Digest, settings: Callable[[str], str] = lambda provider: ""
    ) -> None:
        self._store = store
        self._digest = digest
        self._settings = settings
        self._under_way: dict[str, _Call] = {}

    async def embed(
        self, texts: Sequence[str], ref: ModelRef, ask: Ask, *, use: CacheUse = "use"
    ) -> Embeddings:
        """One vector a text, in their order.

        Args:
            texts: Any number of them.
            ref: The model.
            ask: Called at most once, with what is missing, each text once, in the order in which they come.
            use: ``refresh`` asks for everything and keeps it, ``off`` neither looks nor keeps.

        Returns:
            The vectors, with the usage of what was asked for here: no tokens where nothing was.

        Raises:
            FarmError: What ``ask`` raised, here or where it was asked for before.
        """
        try:
            known = None if use == "off" else await known_digest(self._digest, ref)
        except TimeoutError:
            use = "off"
        if use == "off" or not texts:
            return await ask(texts)
        keys = await _worked(len(texts), self._keys, texts, ref, known)
        wanted = dict(zip(keys, texts, strict=True))
        vectors = await self._kept(list(wanted)) if use == "use" else {}
        missing = {key: text for key, text in wanted.items() if key not in vectors}
        calls = self._calls(missing, lambda some: self._asked(some, ref, known, ask), anew=use == "refresh")
        usages: list[Usage] = []
        try:
            for call in calls:
                vectors |= await call.vectors()
                usages += call.take_usage()
        finally:
            if stopped := [call.task for call in calls if call.is_left_by_all()]:
                await asyncio.wait(stopped)
        return Embeddings(tuple(vectors[key] for key in keys), ref, _sum(usages))

    def _keys(self, texts: Iterable[str], ref: ModelRef, digest: str | None) -> list[str]:
        """What the vectors of texts are kept under; the texts themselves are in no key."""
        start = f"embedding-{FORMAT}-{self._settings(ref.provider)}-"
        plain = (json.dumps([str(ref), digest, text]) for text in texts)
        return [start + hashlib.sha256(each.encode()).hexdigest() for each in plain]

    async def _kept(self, keys: Sequence[str]) -> dict[str, Vector]:
        contents = await self._store.get_many(keys)
        return await _worked(len(contents), _loaded, contents)

    def _calls(
        self, missing: Mapping[str, str], start: Callable[[Mapping[str, str]], _Asking], *, anew: bool
    ) -> list[_Call]:
        """The calls that bring what is missing: those under way, and one for all the rest."""
        here = asyncio.get_running_loop()
        running = {} if anew else {key: self._under_way[key] for key in missing if key in self._under_way}
        joined = {key: call for key, call in running.items() if call.task.get_loop() is here}
        calls = list(dict.fromkeys(joined.values()))
        if rest := {key: text for key, text in missing.items() if key not in joined}:
            calls.append(_Call(start(rest), self._forget))
            self._under_way |= dict.fromkeys(rest, calls[-1])
        for call in calls:
            call.riders += 1
        return calls

    def _forget(self, call: _Call) -> None:
        self._under_way = {key: other for key, other in self._under_way.items() if other is not call}

    async def _asked(
        self, missing: Mapping[str, str], ref: ModelRef, known: str | None, ask: Ask
    ) -> tuple[dict[str, Vector], Usage]:
        texts = tuple(missing.values())
        answer = await ask(texts)
        if len(answer.vectors) != len(texts):
            raise ProviderError(
                f"{ref} gave {len(answer.vectors):,} embeddings for {len(texts):,} texts.",
                provider=ref.provider,
            )
        try:
            told = await known_digest(self._digest, ref)
        except TimeoutError:
            pass
        else:
            if known in (None, told):  # or the model was changed under way
                keys = await _worked(len(texts), self._keys, texts, ref, told)
                contents = await _worked(len(texts), _dumped, dict(zip(keys, answer.vectors, strict=True)))
                for key, content in contents.items():
                    self._store.put(key, content)
        return dict(zip(missing, answer.vectors, strict=True)), answer.usage


_Asking: TypeAlias = Coroutine[Any, Any, tuple[dict[str, Vector], Usage]]


class _Call:
    """One call of the model, in a task that belongs to all who wait for it.

    Args:
        asking: The call.
        forget: Called when nobody can join any more.
    """

    def __init__(self, asking: _Asking, forget: Callable[[_Call], None]) -> None:
        self.riders = 0
        self.task = asyncio.create_task(asking)
        self.task.add_done_callback(self._land)
        self._forget = forget
        self._is_error_taken = self._is_usage_taken = False

    async def vectors(self) -> dict[str, Vector]:
        """What it brought, by key."""
        await asyncio.wait([self.task])
        error = None if self.task.cancelled() else self.task.exception()
        if error is None:
            return self.task.result()[0]
        is_first, self._is_error_taken = not self._is_error_taken, True
        raise error if is_first else copy_of(error)

    def take_usage(self) -> list[Usage]:
        """What it used, for the first who asks: the others used nothing."""
        is_first, self._is_usage_taken = not self._is_usage_taken, True
        return [self.task.result()[1]] if is_first else []

    def is_left_by_all(self) -> bool:
        """Leave it; whether it is stopped because nobody waits for it now."""
        self.riders -= 1
        if self.riders or self.task.done():
            return False
        self._forget(self)
        return self.task.cancel()

    def _land(self, task: asyncio.Task[Any]) -> None:
        self._forget(self)
        if not task.cancelled():
            task.exception()  # or asyncio would tell of one that nobody waited for


async def _worked(count: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What some work gives, done in a thread where it is much."""
    if count < MANY:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


def _dumped(vectors: Mapping[str, Vector]) -> dict[str, bytes]:
    """Vectors as JSON, which gives every number back as it was; one that holds no numbers is left out."""
    contents: dict[str, bytes] = {}
    for key, vector in vectors.items():
        try:
            contents[key] = json.dumps(vector, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError):
            continue
    return contents


def _loaded(contents: Mapping[str, bytes]) -> dict[str, Vector]:
    """The vectors of what was kept; one that is damaged is missing, and so asked for again."""
    vectors: dict[str, Vector] = {}
    for key, content in contents.items():
        try:
            numbers = json.loads(content)
        except (ValueError, RecursionError):
            continue
        if isinstance(numbers, list) and numbers and {float, int}.issuperset(map(type, numbers)):
            vectors[key] = tuple(numbers)
    return vectors


def _sum(usages: Sequence[Usage]) -> Usage:
    if len(usages) == 1:
        return usages[0]
    counts = [usage.input_tokens for usage in usages]
    return Usage(None if None in counts else sum(count or 0 for count in counts))
