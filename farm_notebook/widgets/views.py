"""Which views of a panel there are, and what they show. A page that is closed does not say goodbye."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

__all__ = ["GONE_S", "Views"]

GONE_S = 45.0  # a view says that it is there every 15 s


class Views:
    """The views that were heard of lately.

    Args:
        clock: Seconds from any fixed moment.
        gone_s: After how many seconds of silence a view counts as gone.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, gone_s: float = GONE_S) -> None:
        self._clock = clock
        self._gone_s = gone_s
        self._heard: dict[str, tuple[float, frozenset[str]]] = {}

    def __len__(self) -> int:
        self._forget_silent()
        return len(self._heard)

    def heard(self, view: str, shows: Iterable[str]) -> None:
        """Note that a view is there.

        Args:
            view: Its name, of its own choice.
            shows: The parts that can be seen in it; none while it is hidden.
        """
        self._heard[view] = self._clock(), frozenset(shows)

    def left(self, view: str) -> None:
        """Note that a view is gone."""
        self._heard.pop(view, None)

    def shown(self) -> frozenset[str]:
        """The parts that can be seen somewhere."""
        self._forget_silent()
        return frozenset().union(*(shows for _, shows in self._heard.values()))

    def _forget_silent(self) -> None:
        silent_since = self._clock() - self._gone_s
        self._heard = {view: seen for view, seen in self._heard.items() if seen[0] > silent_since}
