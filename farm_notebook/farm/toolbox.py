"""The functions that a model may have called: its arguments are checked, its mistakes told to it in words."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from farm_notebook.errors import InvalidRequestError
from farm_notebook.farm.caller import in_caller
from farm_notebook.schemas import problems_of
from farm_notebook.tools import ToolSource, as_tool
from farm_notebook.types import Tool, ToolCall, ToolResult

__all__ = ["Confirm", "Toolbox"]

Confirm = Callable[[ToolCall], bool | Awaitable[bool]]

LONGEST_RESULT = 20_000  # characters that the model is told
LONGEST_PROBLEM = 500
MOST_ROWS = 200  # of a table


class Toolbox:
    """Functions by the names that a model knows them by.

    Args:
        functions: What may be called; see ``tools.as_tool``.
        render: Says in words what JSON cannot say of a result.
        redact: Takes secrets out of what an error says.
        took: Gets a call and the seconds that it took; what is told of that. Without it, as it was measured.
        clock: Seconds from any fixed moment.

    Raises:
        InvalidRequestError: One of them is described only, and nothing could be called.
    """

    def __init__(
        self,
        functions: Sequence[ToolSource],
        *,
        render: Callable[[object], str] = str,
        redact: Callable[[str], str] = str,
        took: Callable[[ToolCall, float], Awaitable[float]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._render = render
        self._redact = redact
        self._took = took
        self._clock = clock
        self._functions: dict[str, Callable[..., Any]] = {}
        for function in functions:
            name = as_tool(function).name
            if isinstance(function, Tool | Mapping):
                raise InvalidRequestError(
                    f"The tool {name!r} is described, but there is no function to be called. Give the "
                    "function, or ask with farm.chat, whose reply has the tool_calls."
                )
            self._functions[name] = function
        self._checks = {name: _arguments_of(function) for name, function in self._functions.items()}

    async def call(self, call: ToolCall, confirm: Confirm | None = None) -> ToolResult:
        """Do what the model asks for, in the thread that waits for the answer.

        Args:
            call: As the model wrote it.
            confirm: Asked first, in that thread too; without its consent nothing is called.

        Returns:
            What the model is told. What is wrong with the call, and what the function raised, is told too.
        """
        try:
            function = self._checked(call)
        except ValueError as error:
            return self._failed(call, str(error))
        if confirm is not None and not await in_caller(partial(confirm, call)):
            return self._failed(call, "The user does not allow this call.")
        begun_at = self._clock()
        try:
            value = await in_caller(function)
        except Exception as error:  # noqa: BLE001 - it is the user's function; the model is told of its error
            line = str(error).strip().partition("\n")[0]
            problem = f"{type(error).__name__}: {line}" if line else type(error).__name__
            return self._failed(call, problem, took_s=await self._told_s(call, begun_at))
        took_s = await self._told_s(call, begun_at)
        return ToolResult(call, _sendable(self._text(value), LONGEST_RESULT), took_s=took_s)

    async def _told_s(self, call: ToolCall, begun_at: float) -> float:
        measured_s = self._clock() - begun_at
        return measured_s if self._took is None else await self._took(call, measured_s)

    def _checked(self, call: ToolCall) -> Callable[[], Any]:
        """The call, ready to be made.

        Raises:
            ValueError: What is wrong with it, for the model.
        """
        if call.name not in self._functions:
            raise ValueError(f"There is no tool {call.name!r}. Valid: {', '.join(self._functions)}.")
        try:
            given = call.parsed
        except ValueError as error:
            raise ValueError(f"The arguments are no JSON object: {error}.") from None
        try:
            made = self._checks[call.name].validate_json(json.dumps(given))
        except ValidationError as error:
            raise ValueError(f"The arguments do not fit: {problems_of(error)}.") from None
        return (lambda: made) if isinstance(self._functions[call.name], type) else made

    def _failed(self, call: ToolCall, problem: str, *, took_s: float = 0.0) -> ToolResult:
        text = _sendable(self._redact(problem), LONGEST_PROBLEM)
        return ToolResult(call, text, is_error=True, took_s=took_s)

    def _text(self, value: object) -> str:
        """A result in words: text as it is, tables as records, what JSON can say as JSON."""
        if isinstance(value, str):
            return value
        try:
            if type(value).__name__ in ("DataFrame", "Series") and _library(value) == "pandas":
                return _table(value)
            return to_json(value, fallback=_plain).decode()
        except Exception:  # noqa: BLE001 - of a value of the user's anything may fail; words are found for it
            return self._render(value)


def _arguments_of(function: Callable[..., Any]) -> TypeAdapter[Any]:
    """What makes a call out of arguments, without making it: a class is a record of its own fields."""
    if isinstance(function, type):
        return TypeAdapter(function)

    def arguments(*positional: Any, **named: Any) -> Callable[[], Any]:
        return partial(function, *positional, **named)

    plain = function.func if isinstance(function, partial) else function
    if not hasattr(plain, "__name__"):
        plain = plain.__call__  # type: ignore[operator]  # an object that can be called
    arguments.__module__ = plain.__module__
    arguments.__annotations__ = getattr(plain, "__annotations__", {})
    arguments.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]  # read by inspect
    return TypeAdapter(arguments)  # type: ignore[arg-type]  # functions are taken too


def _table(frame: Any) -> str:
    """Records, in which an index that says something is a column."""
    rows = len(frame)
    shown = frame.head(MOST_ROWS)
    if type(frame.index).__name__ != "RangeIndex":
        shown = shown.reset_index()
    text = str(shown.to_json(orient="records", date_format="iso"))
    return text if rows <= MOST_ROWS else f"{text}\n({rows:,} rows; these are the first {MOST_ROWS})"


def _library(value: object) -> str:
    return type(value).__module__.partition(".")[0]


def _plain(value: object) -> object:
    """An array or a number of numpy as Python's."""
    if _library(value) == "numpy":
        return value.tolist()  # type: ignore[attr-defined]  # all of its values have it
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _sendable(text: str, longest: int) -> str:
    """Bounded, and of whole characters."""
    text = text.encode("utf-8", "replace").decode()
    more = len(text) - longest
    return text if more <= 0 else f"{text[:longest]}… ({more:,} more characters)"
