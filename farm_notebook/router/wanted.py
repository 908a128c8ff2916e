"""What a request wants of a model, and what a model is known to lack of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from farm_notebook.pipeline.estimate import prompt_tokens
from farm_notebook.types import Capability, ChatRequest, ModelInfo

__all__ = ["Wanted", "wanted_by"]

SMALL_TOKENS = 2000  # a prompt that nearly every model has room for, and needs no look
_ORDINARY: frozenset[Capability] = frozenset({"chat", "completion"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a model must be able to do.

    Args:
        needs: Its capabilities.
        context_tokens: The smallest context window that will do; ``None`` where any will.
        is_estimate: Whether that was only estimated from the length of the prompt.
    """

    needs: frozenset[Capability] = frozenset()
    context_tokens: int | None = None
    is_estimate: bool = False

    @property
    def is_particular(self) -> bool:
        """Whether a model that can chat may lack anything of it, so that it is worth asking."""
        return self.context_tokens is not None or not self.needs <= _ORDINARY

    @property
    def certain(self) -> Wanted:
        """The same without what was only estimated."""
        return replace(self, context_tokens=None, is_estimate=False) if self.is_estimate else self

    def lacking(self, info: ModelInfo) -> str:
        """What a model is known to lack, in words; empty where nothing. What its provider does not say it
        may have."""
        lacks: list[str] = []
        if info.capabilities is not None:
            implied = _ORDINARY if "chat" in info.capabilities else frozenset[Capability]()
            lacks += sorted(self.needs - info.capabilities - implied)
        if self.context_tokens and info.context_tokens and info.context_tokens < self.context_tokens:
            lacks.append(
                f"a context window of {self.context_tokens:,} tokens (it has {info.context_tokens:,})"
            )
        return ", ".join(lacks)

    def __str__(self) -> str:
        words: list[str] = sorted(self.needs - _ORDINARY)
        if self.context_tokens:
            words.append(f"a context window of {self.context_tokens:,} tokens")
        return ", ".join(words) or "chat"


def wanted_by(request: ChatRequest) -> Wanted:
    """What a request shows that it needs, and what its route says."""
    needs: set[Capability] = {request.kind, *request.route.needs}
    if any(message.images for message in request.messages):
        needs.add("vision")
    if request.tools:
        needs.add("tools")
    window = request.route.context_tokens
    if (tokens := prompt_tokens(request)) > max(SMALL_TOKENS, window or 0):
        window = tokens
    return Wanted(
        frozenset(needs), window, is_estimate=window is not None and request.route.context_tokens is None
    )
