"""From the tokens of an answer to its events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from farm_notebook.providers.huggingface.batching import Tokens
from farm_notebook.providers.huggingface.detokenize import Detokenizer
from farm_notebook.providers.huggingface.grammar import must_call
from farm_notebook.providers.huggingface.likelihoods import Likelihoods
from farm_notebook.providers.huggingface.loaded import LoadedModel
from farm_notebook.providers.huggingface.markup import Markup
from farm_notebook.providers.huggingface.prompt import Prompt
from farm_notebook.providers.stopping import StopStrings
from farm_notebook.types import (
    ChatRequest,
    Event,
    Finished,
    FinishReason,
    PromptProgress,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCall,
    Usage,
)

__all__ = ["read_answer"]


async def read_answer(
    request: ChatRequest,
    prompt: Prompt,
    loaded: LoadedModel,
    tokens: AsyncGenerator[Tokens | PromptProgress, None],
    likelihoods: Likelihoods | None = None,
) -> AsyncGenerator[Event, None]:
    """The events of an answer; the engine is stopped when this is closed, or a stop string was said.

    Args:
        request: Its stop strings, and whether tools were offered.
        prompt: What the answer continues.
        loaded: Its tokenizer.
        tokens: Of an engine.
        likelihoods: Saw the scores of these tokens, where they were asked for.

    Yields:
        The answer's deltas and tool calls, and one ``Finished``.
    """
    is_chat = request.kind == "chat"
    text = Detokenizer(loaded.tokenizer, () if is_chat else prompt.tokens)
    stops = StopStrings(request.stop)
    # An answer that follows a grammar has no room for thinking.
    is_thinking = prompt.is_thinking and request.schema is None and not must_call(request)
    markup = Markup(is_thinking=is_thinking, has_tools=bool(request.tools))
    count, reason = 0, None
    logprobs: list[TokenLogprob] = []

    def parts(piece: str) -> Iterator[TextDelta | ReasoningDelta | ToolCall]:
        return markup.push(piece) if is_chat else iter([TextDelta(piece)] if piece else [])

    async with aclosing(tokens):
        async for step in tokens:
            if isinstance(step, PromptProgress):
                yield step
                continue
            said = ""
            for token in step.ids:
                count += 1
                if likelihoods is not None:
                    logprobs.append(likelihoods.next(token))
                said += stops.push(text.push(token))
                if stops.found:
                    break
            for part in parts(said):
                yield part
            reason = step.reason
            if stops.found:
                break
    if not stops.found:
        count += reason == "stop"  # the token that ends it
        for part in parts(stops.flush()):
            yield part
    for part in markup.flush():
        yield part
    ended: FinishReason = "stop" if stops.found or reason == "stop" else "length"
    usage = Usage(input_tokens=len(prompt.tokens), output_tokens=count)
    if markup.calls and ended == "stop":
        ended = "tool_calls"
    yield Finished(ended, usage, logprobs=tuple(logprobs))
