"""What is said of every request of a chat panel besides its conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farm_notebook.request import Options

__all__ = ["ChatSettings"]


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """Fields as of ``ChatRequest``; ``None`` leaves one to the model's alias or provider.

    Args:
        system: A system message, put before the conversation.
        temperature: 0 and up.
        top_p: Above 0 and at most 1.
        max_tokens: At least 1.
        seed: 0 and up.
    """

    system: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None

    def options(self, model: str | None) -> Options:
        """The same as options of a request to a model."""
        return {
            "model": model,
            "system": self.system,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
        }
