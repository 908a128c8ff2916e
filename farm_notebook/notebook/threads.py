"""Conversations by name: what a thread has said so far, kept in the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farm_notebook.types import ChatMessage

__all__ = ["Threads"]


class Threads:
    """The notebook's conversations. A thread holds prompts and answers only: no system message or option
    of one request is seen by the next.
    """

    def __init__(self) -> None:
        self._messages: dict[str, tuple[ChatMessage, ...]] = {}

    def history(self, name: str) -> tuple[ChatMessage, ...]:
        """The turns of a thread, oldest first; a new thread has none."""
        return self._messages.get(name, ())

    def add(self, name: str, prompt: str, answer: str) -> None:
        """Append one turn of the user and one of the model."""
        from farm_notebook.types import ChatMessage  # the first answer pays for it, not %load_ext

        turn = (ChatMessage("user", prompt), ChatMessage("assistant", answer))
        self._messages[name] = self.history(name) + turn

    def reset(self, name: str) -> None:
        """Forget a thread."""
        self._messages.pop(name, None)
