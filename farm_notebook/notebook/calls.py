"""The calls of a model as they are shown: one line each, what is called with what, and what came of it."""

from __future__ import annotations

import json

from farm_notebook.sanitize import as_inline_text, printable
from farm_notebook.types import ToolCall, ToolResult

__all__ = ["Calls", "written_call", "written_result"]

LONGEST = 200  # characters of the arguments, and of the result
SHORTEST_S = 0.01  # that is told


class Calls:
    """Some calls in a row, made, under way or stopped."""

    def __init__(self) -> None:
        self._calls: list[ToolCall] = []
        self._results: list[ToolResult] = []
        self._is_stopped = False

    def __bool__(self) -> bool:
        return bool(self._calls)

    @property
    def is_waiting(self) -> bool:
        """Whether the last call has no result yet."""
        return len(self._results) < len(self._calls)

    def begin(self, call: ToolCall) -> None:
        """A call is next."""
        self._calls.append(call)

    def end(self, result: ToolResult) -> None:
        """What came of it."""
        self._results.append(result)

    def stop(self) -> None:
        """The answer has ended, and what is under way will have no result."""
        self._is_stopped = True

    @property
    def lines(self) -> list[str]:
        """One line of plain text a call, without control characters."""
        return [f"{written_call(call)} {self._outcome(place)}" for place, call in enumerate(self._calls)]

    @property
    def markdown(self) -> str:
        """A list; nothing in it is read as Markdown, HTML or a formula."""
        items = []
        for place, call in enumerate(self._calls):
            item = f"- <code>{as_inline_text(written_call(call))}</code>"
            if place >= len(self._results):
                items.append(f"{item} {self._outcome(place)}")
                continue
            result = self._results[place]
            time = f" <small>{_seconds(result)}</small>" if _seconds(result) else ""
            items.append(f"{item} {_sign(result)} <code>{as_inline_text(_line(result.text))}</code>{time}")
        return "\n".join(items)

    def _outcome(self, place: int) -> str:
        if place < len(self._results):
            return written_result(self._results[place])
        return "✗ stopped" if self._is_stopped else "…"


def written_call(call: ToolCall) -> str:
    """A call as Python writes it, in one line, not too long; arguments that are none as they stand."""
    try:
        given = ", ".join(
            f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.parsed.items()
        )
    except ValueError:
        given = call.arguments
    return f"{_line(call.name)}({_line(given)})"


def written_result(result: ToolResult) -> str:
    """What came of a call, in one line, not too long, and how long it took."""
    return f"{_sign(result)} {_line(result.text)} {_seconds(result)}".rstrip()


def _sign(result: ToolResult) -> str:
    return "✗" if result.is_error else "→"


def _seconds(result: ToolResult) -> str:
    return f"({result.took_s:.2f} s)" if result.took_s >= SHORTEST_S else ""


def _line(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
