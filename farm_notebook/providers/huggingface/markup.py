"""What models write around parts of an answer: ``<think>`` around reasoning, ``<tool_call>`` around calls.

Both are conventions of chat templates (Qwen, DeepSeek, SmolLM and Hermes), not of transformers.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

from farm_notebook.providers.stopping import overlap
from farm_notebook.types import ReasoningDelta, TextDelta, ToolCall

__all__ = ["Markup"]

THINK, THOUGHT = "<think>", "</think>"
CALL, CALLED = "<tool_call>", "</tool_call>"

Part = TextDelta | ReasoningDelta | ToolCall


class Markup:
    """Takes the text of an answer apart as it comes.

    Reasoning is looked for at the beginning only: further on the words may be about the tag itself. A tool
    call that is not the JSON it should be stays text.

    Args:
        is_thinking: The prompt ended with ``<think>``, so the answer begins inside.
        has_tools: Tools were offered; else their tags are text like any other.
    """

    def __init__(self, *, is_thinking: bool, has_tools: bool) -> None:
        self._has_tools = has_tools
        self._read = self._thinking if is_thinking else self._beginning
        self._held = ""
        self._drop_space = is_thinking
        self.calls = 0

    def push(self, piece: str) -> Iterator[Part]:
        """The parts that are settled with the next piece of text."""
        self._held += piece
        while True:
            read = self._read
            yield from read()
            if self._read == read:
                return

    def flush(self) -> Iterator[Part]:
        """What was held back, at the end."""
        held, self._held = self._held, ""
        if self._read == self._calling:
            yield self._settle(held, as_written=f"{CALL}{held}")
        elif held:
            yield ReasoningDelta(held) if self._read == self._thinking else TextDelta(held)

    def _beginning(self) -> Iterator[Part]:
        """Before the first word: is it reasoning?"""
        start = self._held.lstrip()
        if start.startswith(THINK):
            self._held, self._read, self._drop_space = start[len(THINK) :], self._thinking, True
        elif start and not THINK.startswith(start):
            self._read = self._saying
        yield from ()

    def _thinking(self) -> Iterator[Part]:
        if self._drop_space:  # after either tag there is a line break or two, which say nothing
            self._held = self._held.lstrip()
        thought, found, rest = self._held.partition(THOUGHT)
        if found:
            self._held, self._read, self._drop_space = rest, self._saying, True
        else:
            thought, self._held = _split_before(thought, THOUGHT)
        if thought:
            self._drop_space = bool(found)
            yield ReasoningDelta(thought)

    def _saying(self) -> Iterator[Part]:
        if self._drop_space:
            self._held = self._held.lstrip()
        if not self._has_tools:
            said, self._held = self._held, ""
        else:
            said, found, rest = self._held.partition(CALL)
            if found:
                self._held, self._read = rest, self._calling
            else:
                said, self._held = _split_before(said, CALL)
        if said and not (self._read == self._calling and not said.strip()):
            self._drop_space = False
            yield TextDelta(said)

    def _calling(self) -> Iterator[Part]:
        inside, found, rest = self._held.partition(CALLED)
        if not found:
            return
        self._held, self._read, self._drop_space = rest, self._saying, True
        yield self._settle(inside, as_written=f"{CALL}{inside}{CALLED}")

    def _settle(self, inside: str, *, as_written: str) -> Part:
        if (call := _call(inside)) is None:
            return TextDelta(as_written)
        self.calls += 1
        return call


def _split_before(text: str, mark: str) -> tuple[str, str]:
    """The text without, and with only, what may be the beginning of a mark."""
    keep = overlap(text, mark)
    return text[: len(text) - keep], text[len(text) - keep :]


def _call(text: str) -> ToolCall | None:
    """The call written as ``{"name": ..., "arguments": {...}}``; ``None`` where it is not."""
    try:
        call = json.loads(text)
    except ValueError:
        return None
    if not (isinstance(call, dict) and isinstance(call.get("name"), str)):
        return None
    arguments = call.get("arguments", call.get("parameters", {}))
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolCall(f"call_{uuid.uuid4().hex[:24]}", call["name"], text)
