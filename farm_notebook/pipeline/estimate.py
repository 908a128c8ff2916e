"""How many tokens a request may take before its provider has counted them, and took when it did not.

No tokenizer is asked: each model has its own, and what is estimated here is put right by what the provider
counts. Four bytes a token are near enough for prose in any script.
Source: https://help.openai.com/en/articles/4936856-what-are-tokens-and-how-to-count-them
"""

from __future__ import annotations

import json

from farm_notebook.errors import ProviderError, ProviderTimeoutError
from farm_notebook.types import (
    ChatRequest,
    Event,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCall,
    Usage,
)

__all__ = ["BYTES_A_TOKEN", "Tally", "answer_tokens", "prompt_tokens", "text_tokens"]

BYTES_A_TOKEN = 4
MESSAGE_TOKENS = 4  # that a chat template puts around a message
IMAGE_TOKENS = 1000
ANSWER_TOKENS = 2048  # where nothing bounds the answer; nearly all are shorter


def prompt_tokens(request: ChatRequest) -> int:
    """About how many tokens the prompt has, its images and tools included."""
    size_bytes = images = 0
    for message in request.messages:
        size_bytes += _size_bytes(message.content)
        images += len(message.images)
        for call in message.tool_calls:
            size_bytes += _size_bytes(call.name) + _size_bytes(call.arguments)
    for tool in request.tools:
        size_bytes += _size_bytes(tool.description) + len(json.dumps(dict(tool.parameters), default=str))
    if request.schema is not None:
        size_bytes += len(json.dumps(dict(request.schema), default=str))
    return _tokens(size_bytes) + MESSAGE_TOKENS * len(request.messages) + IMAGE_TOKENS * images


def text_tokens(text: str) -> int:
    """About how many tokens a text has, without what a chat template puts around it."""
    return _tokens(_size_bytes(text))


def answer_tokens(request: ChatRequest) -> int:
    """How many tokens the answer may have; without ``max_tokens`` it is a guess that few answers exceed."""
    if request.kind == "embedding":
        return 0
    return ANSWER_TOKENS if request.max_tokens is None else request.max_tokens


class Tally:
    """What one stream has used so far, as the provider counted it, else by what came.

    Args:
        prompt_tokens: What the prompt is estimated to have.
    """

    def __init__(self, prompt_tokens: int) -> None:
        self.prompt_tokens = prompt_tokens
        self.is_sent = False
        self._pieces: list[str] = []
        self._finished: Usage | None = None
        self._is_refused = False

    def see(self, event: Event) -> None:
        """Note an event of the stream; what it means is found out in the end."""
        if type(event) is TextDelta or type(event) is ReasoningDelta:  # nearly all are
            self._pieces.append(event.text)
        elif isinstance(event, ToolCall):
            self._pieces += event.name, event.arguments
        elif isinstance(event, Finished):
            self._finished = event.usage
            self.is_sent = True
        elif isinstance(event, Started):
            self.is_sent = True

    def fail(self, error: ProviderError) -> None:
        """The stream ended with an error. One that came in place of an answer is not charged for, unless the
        provider was still at work.
        """
        is_at_work = isinstance(error, ProviderTimeoutError) and error.timer != "connect"
        self._is_refused = not self._pieces and not is_at_work

    @property
    def usage(self) -> Usage:
        """Tokens of the prompt and of the answer; neither is unknown."""
        if self._is_refused or not self.is_sent:
            return Usage(0, 0)
        told = self._finished or Usage()
        return Usage(
            self.prompt_tokens if told.input_tokens is None else told.input_tokens,
            _tokens(sum(map(_size_bytes, self._pieces)))
            if told.output_tokens is None
            else told.output_tokens,
            told.cached_tokens,
            told.reasoning_tokens,
        )

    @property
    def tokens(self) -> int:
        """Of the prompt and the answer together."""
        usage = self.usage
        return (usage.input_tokens or 0) + (usage.output_tokens or 0)


def _size_bytes(text: str) -> int:
    """The length in UTF-8; that of ASCII, which most text is, needs no encoding."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def _tokens(size_bytes: int) -> int:
    return -(-size_bytes // BYTES_A_TOKEN)
