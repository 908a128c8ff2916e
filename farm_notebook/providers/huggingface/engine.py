"""From the tokens of a prompt to those of its answer: the seam, and the engine that answers one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from farm_notebook.errors import ModelUnloadedError, ProviderError
from farm_notebook.providers.huggingface.batching import Tokens
from farm_notebook.providers.huggingface.failure import generation_error
from farm_notebook.providers.huggingface.runtime import quiet
from farm_notebook.providers.huggingface.sampling import completed, end_tokens, greedy_config, processors
from farm_notebook.providers.huggingface.work import Halt, HaltedError, Work
from farm_notebook.types import PromptProgress

if TYPE_CHECKING:
    from transformers import GenerationConfig, LogitsProcessor, PreTrainedModel

__all__ = ["Engine", "SingleStream"]


class Engine(Protocol):
    """Answers requests to one module; the batching engine is another."""

    def answer(
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
            prompt: At least one token; with ``max_tokens`` it fits the model's context.
            config: Sampling; what it leaves out is the checkpoint's.
            max_tokens: Longest answer.
            seed: For repeatable sampling.
            processors: Further changes to the scores; they belong to this request alone.

        Yields:
            ``Tokens``, the last with a reason.
        """
        ...

    @property
    def is_working(self) -> bool:
        """Whether its thread runs."""
        ...

    async def aclose(self) -> None:
        """End what is being answered, and wait until no thread uses the module."""
        ...


class SingleStream:
    """``module.generate`` in a thread, one request after the other, in the order they came.

    Args:
        module: Can generate; in evaluation mode.
        name: Of the model, for errors.
    """

    def __init__(self, module: PreTrainedModel, *, name: str) -> None:
        self._module = module
        self._name = name
        self._turn = asyncio.Lock()
        self._work: Work[None] | None = None
        self._is_closed = False

    async def answer(
        self,
        prompt: Sequence[int],
        config: GenerationConfig,
        *,
        max_tokens: int,
        seed: int | None = None,
        processors: Sequence[LogitsProcessor] = (),
    ) -> AsyncGenerator[Tokens | PromptProgress, None]:
        await self._turn.acquire()
        if self._is_closed:
            self._turn.release()
            raise self._unloaded()
        feed = _Feed()
        work = self._work = Work(
            lambda halt: self._generate(feed, halt, prompt, config, max_tokens, seed, processors)
        )
        # Not when the caller leaves: until the step it is in has ended, the thread uses the module.
        work.done.add_done_callback(self._end_turn)
        work.done.add_done_callback(feed.end)
        try:
            ends = end_tokens(completed(self._module, config))
            count = 0
            while ids := await feed.next():
                count += len(ids)
                over = "stop" if ids[-1] in ends else "length" if count >= max_tokens else None
                yield Tokens(tuple(ids[:-1] if over == "stop" else ids), over)  # type: ignore[arg-type]  # mypy widens the words
                if over:
                    return
            if work.halt.is_asked:
                raise self._unloaded()
            await work.done  # which raises what the thread did
            raise ProviderError(f"{self._name} ended without an end.", provider="huggingface")
        finally:
            work.halt.ask()

    @property
    def is_working(self) -> bool:
        return self._work is not None

    async def aclose(self) -> None:
        self._is_closed = True
        if (work := self._work) is not None:
            work.halt.ask()
            await asyncio.wait([work.done])

    def _end_turn(self, _: object) -> None:
        self._work = None
        self._turn.release()

    def _unloaded(self) -> ModelUnloadedError:
        return ModelUnloadedError(
            f"{self._name} was unloaded before its answer was whole.", provider="huggingface"
        )

    def _generate(
        self,
        feed: _Feed,
        halt: Halt,
        prompt: Sequence[int],
        config: GenerationConfig,
        max_tokens: int,
        seed: int | None,
        first: Sequence[LogitsProcessor],
    ) -> None:
        """The thread: one call of ``generate``, whose streamer tells the loop of each token."""
        import torch
        from transformers import LogitsProcessorList

        module: Any = self._module  # its own type says that ``generate`` may be a tensor
        try:
            with quiet():
                whole = completed(module, config)
                ids = torch.tensor([list(prompt)], device=module.device)
                module.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    generation_config=greedy_config(whole, max_tokens),
                    logits_processor=LogitsProcessorList(processors(whole, seed, module.device, first)),
                    streamer=_Streamer(feed, halt),
                )
        except HaltedError:
            return
        except Exception as error:
            raise generation_error(error, self._name) from error


class _Feed:
    """Tokens on their way from the thread to the loop; the loop is woken once for all that wait."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._ids: list[int] = []
        self._is_called = False
        self._is_over = False

    def put(self, ids: list[int]) -> None:
        """In the thread: the next tokens."""
        self._ids += ids
        if not self._is_called:
            self._is_called = True
            self._loop.call_soon_threadsafe(self._wake)

    async def next(self) -> list[int]:
        """On the loop: all that arrived since, at least one; none at the end."""
        while not self._ids and not self._is_over:
            self._arrived.clear()
            await self._arrived.wait()
        ids, self._ids = self._ids, []
        return ids

    def end(self, _: object) -> None:
        """On the loop: nothing more will come."""
        self._is_over = True
        self._arrived.set()

    def _wake(self) -> None:
        self._is_called = False
        self._arrived.set()


class _Streamer:
    """What ``generate`` gives its tokens to; raising here is the quickest way out of it."""

    def __init__(self, feed: _Feed, halt: Halt) -> None:
        self._feed = feed
        self._halt = halt
        self._is_prompt = True

    def put(self, value: Any) -> None:
        self._halt.check()
        if self._is_prompt:
            self._is_prompt = False
        else:
            self._feed.put(value.tolist())

    def end(self) -> None:
        return
