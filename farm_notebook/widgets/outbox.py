"""What a part sends to the page: in order, gathered, and at a bounded rate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

__all__ = ["Frame", "Outbox", "Slices"]

PERIOD_S = 0.05  # between two messages: 20 a second

Slices: TypeAlias = dict[str, Any]
"""Pieces of a part's state by their names; JSON values."""

Frame: TypeAlias = dict[str, Any]
"""One thing told: ``{state}``, ``{set}``, ``{event, data}``, ``{ack}`` or ``{done, error}``; JSON values."""


class Outbox:
    """Frames on their way out. Lives on one event loop.

    The first frame after a pause goes out in the same turn of the loop, those that follow together, at most
    ``PERIOD_S`` later; what answers a person's call does not wait, nor what was said before it. Of a slice
    that is set again before it went out only the last value is sent. The order of frames holds, so that who
    hears that a call is done has seen what it changed.

    Args:
        send: Takes the frames of one message.
        period_s: Seconds between two messages.
    """

    def __init__(self, send: Callable[[list[Frame]], object], *, period_s: float = PERIOD_S) -> None:
        self._send = send
        self._period_s = period_s
        self._frames: list[Frame] = []
        self._sent_at = float("-inf")
        self._timer: asyncio.Handle | None = None
        self._is_closed = False

    def set(self, slices: Mapping[str, Any]) -> None:
        """Tell new values of some slices."""
        if self._frames and "set" in self._frames[-1]:
            self._frames[-1]["set"].update(slices)
            return
        self.add({"set": dict(slices)})

    def add(self, frame: Frame, *, at_once: bool = False) -> None:
        """Tell anything else.

        Args:
            frame: What.
            at_once: Do not wait for others.
        """
        if self._is_closed:
            return
        self._frames.append(frame)
        if at_once and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            loop = asyncio.get_running_loop()
            wait_s = 0.0 if at_once else self._sent_at + self._period_s - loop.time()
            self._timer = loop.call_later(wait_s, self._flush) if wait_s > 0 else loop.call_soon(self._flush)

    def close(self) -> None:
        """Send what is left, and nothing from then on."""
        if self._timer is not None:
            self._timer.cancel()
            self._flush()
        self._is_closed = True

    def _flush(self) -> None:
        self._timer = None
        frames, self._frames = self._frames, []
        self._sent_at = asyncio.get_running_loop().time()
        self._send(frames)
