"""Stop strings in a text that comes in pieces."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["StopStrings"]


class StopStrings:
    """Lets text through up to the first stop string, and holds back what may be the beginning of one.

    Args:
        stops: The strings; none of them is ever let through.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.found = False

    def push(self, piece: str) -> str:
        """What can be shown now; ``found`` says whether a stop string was in it."""
        text = self._held + piece
        if places := [place for stop in self._stops if (place := text.find(stop)) >= 0]:
            self.found, self._held = True, ""
            return text[: min(places)]
        keep = max((overlap(text, stop) for stop in self._stops), default=0)
        shown, self._held = text[: len(text) - keep], text[len(text) - keep :]
        return shown

    def flush(self) -> str:
        """What was held back, at the end."""
        held, self._held = self._held, ""
        return held


def overlap(text: str, mark: str) -> int:
    """How many of the last characters of a text are a beginning of ``mark``, not the whole of it."""
    for length in range(min(len(text), len(mark) - 1), 0, -1):
        if mark.startswith(text[-length:]):
            return length
    return 0
