"""Conversations by name: what a thread has said so far, kept in the kernel for cells and panels alike."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farm_notebook.reply import Reply
    from farm_notebook.types import ChatMessage

__all__ = ["DEFAULT_THREAD", "Exchange", "Listener", "Threads", "default_threads"]

DEFAULT_THREAD = "notebook"

Listener = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question and its answer.

    Args:
        prompt: The user's turn, as it was sent.
        reply: The answer, whole or partial.
    """

    prompt: ChatMessage
    reply: Reply

    @property
    def messages(self) -> tuple[ChatMessage, ChatMessage]:
        """Both as turns of a conversation. Tool calls are left out: their results are kept nowhere."""
        from farm_notebook.types import ChatMessage  # the first answer pays for it, not %load_ext

        return self.prompt, ChatMessage("assistant", self.reply.text)


class Threads:
    """Conversations by name, for any thread of the process.

    One holds prompts and answers only: no system message or option of one request is seen by the next.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exchanges: dict[str, tuple[Exchange, ...]] = {}
        self._listeners: list[Listener] = []

    def names(self) -> tuple[str, ...]:
        """The threads in which something was said, in the order in which they began."""
        return tuple(self._exchanges)

    def exchanges(self, name: str) -> tuple[Exchange, ...]:
        """What was asked and answered in a thread, oldest first; a new thread has nothing."""
        return self._exchanges.get(name, ())

    def history(self, name: str) -> tuple[ChatMessage, ...]:
        """The same as turns of a conversation, to be sent before the next prompt."""
        return tuple(message for exchange in self.exchanges(name) for message in exchange.messages)

    def add(self, name: str, prompt: ChatMessage, reply: Reply) -> None:
        """Append an exchange."""
        with self._lock:
            self._exchanges[name] = (*self.exchanges(name), Exchange(prompt, reply))
        self._tell(name)

    def cut(self, name: str, keep: int) -> None:
        """Forget all but the first exchanges of a thread, to go on from there.

        Args:
            name: Which thread.
            keep: How many stay.
        """
        with self._lock:
            kept = self.exchanges(name)[:keep]
            if kept:
                self._exchanges[name] = kept
            else:
                self._exchanges.pop(name, None)
        self._tell(name)

    def reset(self, name: str) -> None:
        """Forget a thread."""
        self.cut(name, 0)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Have each change told; what is returned ends that.

        Args:
            listener: Gets the thread's name, on the thread of whoever changed it, which waits for it.
        """
        self._listeners.append(listener)

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return end

    def _tell(self, name: str) -> None:
        for listener in tuple(self._listeners):
            listener(name)


_default = Threads()


def default_threads() -> Threads:
    """Those of this process's notebook."""
    return _default
