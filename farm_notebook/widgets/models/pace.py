"""How fast bytes arrive, and how long the rest will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

__all__ = ["WINDOW_S", "Pace"]

WINDOW_S = 5.0  # the speed is that of the last seconds
SHORTEST_S = 0.3  # of less than that nothing can be said


class Pace:
    """The pace of one transfer; another stage of it begins anew.

    Args:
        clock: Seconds from any fixed moment.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()
        self._stage = ""

    def add(self, stage: str, completed_bytes: int) -> None:
        """Note how far it is."""
        now = self._clock()
        if stage != self._stage or (self._seen and completed_bytes < self._seen[-1][1]):
            self._seen.clear()
        self._stage = stage
        self._seen.append((now, completed_bytes))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW_S:
            self._seen.popleft()

    @property
    def bytes_per_s(self) -> float | None:
        """Lately; ``None`` where nothing can be said yet."""
        if not self._seen:
            return None
        (began_at, before), (_, now_bytes) = self._seen[0], self._seen[-1]
        span_s = self._clock() - began_at
        return None if span_s < SHORTEST_S else (now_bytes - before) / span_s

    def remaining_s(self, total_bytes: int | None) -> float | None:
        """Seconds until all of it is here at this pace; ``None`` where nobody can tell.

        Args:
            total_bytes: In all; ``None`` where unknown.
        """
        speed = self.bytes_per_s
        if total_bytes is None or not speed:
            return None
        return max(0, total_bytes - self._seen[-1][1]) / speed
