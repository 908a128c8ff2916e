"""Continuous batching: requests to one module are answered together, a token each a step, and come and go at
any step.

transformers has a continuous batching of its own, which this is not. There, all requests share one random
source and one of greedy or sampled decoding, a step that fails ends every request and the engine, and a fixed
part of the device's memory is taken when it starts. ``benchmarks/huggingface.py`` compares the speed of both.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

from farm_notebook.errors import ModelUnloadedError
from farm_notebook.providers.huggingface.batch import READ_TOKENS, Batch, Item, Member, Tokens
from farm_notebook.providers.huggingface.rows import can_batch
from farm_notebook.providers.huggingface.work import Halt, HaltedError, Work
from farm_notebook.types import PromptProgress

if TYPE_CHECKING:
    from transformers import GenerationConfig, LogitsProcessor, PreTrainedModel

__all__ = ["READ_TOKENS", "Batcher", "Tokens", "can_batch"]


class Batcher:
    """Answers requests to one module.

    Its thread runs while there is something to answer. Who came first is read first. A prompt is read in
    pieces, with a step for all who are being answered in between, so that nobody waits for a long one. What
    fails, fails those it was done for, and the others go on.

    Args:
        module: One for which ``can_batch`` holds, in evaluation mode.
        name: Of the model, for errors.
        max_rows: Most requests answered at once; further ones wait.
    """

    def __init__(self, module: PreTrainedModel, *, name: str, max_rows: int) -> None:
        self._name = name
        self._batch = Batch(module, name=name, max_rows=max_rows, send=self._send)  # the thread's
        self._lock = threading.Lock()  # of all below
        self._waiting: deque[Member] = deque()
        self._is_serving = False
        self._is_closed = False
        self._work: Work[None] | None = None

    async def answer(
        self,
        prompt: Sequence[int],
        config: GenerationConfig,
        *,
        max_tokens: int,
        seed: int | None = None,
        processors: Sequence[LogitsProcessor] = (),
    ) -> AsyncGenerator[Tokens | PromptProgress, None]:
        """Continue a prompt; to close the iterator ends it within one step.

        Args:
            prompt: At least one token. It is for the caller to see that it fits the model's context.
            config: Sampling, as for ``module.generate``; what it leaves out is the checkpoint's.
            max_tokens: Longest answer.
            seed: For repeatable sampling; no other request has a part in it.
            processors: Further changes to the scores; they belong to this request alone.

        Yields:
            ``PromptProgress`` while a long prompt is read, then ``Tokens``, the last with a reason.

        Raises:
            ProviderError: The step failed, or the model was unloaded.
            OutOfMemoryError: The device has no memory left for it.
        """
        inbox: asyncio.Queue[Item] = asyncio.Queue()
        member = Member(prompt, config, max_tokens, seed, processors, inbox.put_nowait)
        self._submit(member)
        try:
            while True:
                item = await inbox.get()
                if isinstance(item, Exception):
                    raise item
                if isinstance(item, Tokens):
                    item = _with_those_behind(item, inbox)
                yield item
                if isinstance(item, Tokens) and item.reason:
                    return
        finally:
            member.is_cancelled = True

    @property
    def is_working(self) -> bool:
        """Whether its thread runs."""
        return self._is_serving

    async def aclose(self) -> None:
        """Fail what is being answered, and wait until the thread has ended."""
        with self._lock:
            is_first, self._is_closed = not self._is_closed, True
            work = self._work
        if work is not None:
            work.halt.ask()
            await asyncio.wait([work.done])
        if is_first:
            del self._batch  # which leads back here, so that the module would stay until it is collected

    def _submit(self, member: Member) -> None:
        with self._lock:
            if self._is_closed:
                raise self._unloaded()
            self._waiting.append(member)
            if not self._is_serving:
                self._is_serving = True
                self._loop = asyncio.get_running_loop()
                self._work = Work(self._serve)

    def _serve(self, halt: Halt) -> None:
        """The thread: pieces of prompts and steps of answers in turn, until there is nothing left to do."""
        import torch

        try:
            with torch.inference_mode():
                while self._has_more():
                    halt.check()
                    with self._lock:
                        chosen = self._batch.choose(self._waiting)
                    if chosen:
                        self._batch.begin(chosen)
                    self._batch.read()
                    self._batch.step()
        except HaltedError:
            self._end(self._unloaded())
        except BaseException as error:
            self._end(error)
            raise

    def _has_more(self) -> bool:
        """Let go of those who left. If nobody is there, the thread ends; the next request starts another."""
        self._batch.drop_cancelled()
        with self._lock:
            self._waiting = deque(member for member in self._waiting if not member.is_cancelled)
            self._is_serving = bool(self._waiting or self._batch.members())
            return self._is_serving

    def _end(self, error: BaseException) -> None:
        """Fail everyone: the model goes, or there is a fault in here."""
        with self._lock:
            members = [*self._waiting, *self._batch.members()]
            self._waiting.clear()
            self._is_serving = False
        self._batch.clear()
        self._batch.fail(members, error)

    def _unloaded(self) -> ModelUnloadedError:
        return ModelUnloadedError(
            f"{self._name} was unloaded before its answer was whole.", provider="huggingface"
        )

    def _send(self, items: Sequence[tuple[Member, Item]]) -> None:
        """From the thread to the loop, which is woken once for all of them."""

        def deliver() -> None:
            for member, item in items:
                member.deliver(item)

        try:
            self._loop.call_soon_threadsafe(deliver)
        except RuntimeError:  # the loop was closed: nobody waits any more
            for member, _ in items:
                member.is_cancelled = True


def _with_those_behind(tokens: Tokens, inbox: asyncio.Queue[Item]) -> Tokens:
    """One value for all tokens that have arrived already."""
    ids, reason = list(tokens.ids), tokens.reason
    while reason is None and not inbox.empty():
        item = inbox.get_nowait()
        if not isinstance(item, Tokens):  # an error, which is the last: for the next look
            inbox.put_nowait(item)
            break
        ids += item.ids
        reason = item.reason
    return Tokens(tuple(ids), reason)
