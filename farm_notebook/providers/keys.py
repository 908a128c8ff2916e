"""The key of a server, as it is when a request is made."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from farm_notebook.config import FarmConfig
from farm_notebook.config.secrets import find_secret

__all__ = ["ServerKey"]

BELIEVED_S = 1.0  # what files say: to look through all folders upward takes a tenth of a short request


class ServerKey:
    """A function that gives the key; it can be changed while the kernel runs.

    Args:
        variable: Its name; ``None`` is none.
        config: The settings; they say where else than in the environment keys are.
        clock: Seconds from any fixed moment.
    """

    def __init__(
        self, variable: str | None, config: FarmConfig, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._variable = variable
        self._config = config
        self._clock = clock
        self._found = ""  # where the environment has none
        self._until = float("-inf")

    def __call__(self) -> str:
        """The key without the white space around it; empty where there is none."""
        if self._variable is None:
            return ""
        if key := os.environ.get(self._variable, "").strip():
            return key
        if self._clock() >= self._until:
            self._found = find_secret(self._variable, self._config)
            self._until = self._clock() + BELIEVED_S
        return self._found
