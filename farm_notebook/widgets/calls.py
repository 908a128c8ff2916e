"""Checks what a page passes to a part before the part's own code sees it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeAlias

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ArgsKwargs

from farm_notebook.errors import InvalidRequestError

__all__ = ["Handler", "begin"]

Handler: TypeAlias = Callable[..., Coroutine[Any, Any, None]]
"""``async def`` with annotated arguments, which the page passes by name."""


def begin(
    handlers: Mapping[str, Handler], call: str, args: Mapping[str, object]
) -> Coroutine[Any, Any, None]:
    """The coroutine of a call, not yet begun.

    Args:
        handlers: The calls there are.
        call: The name of one.
        args: Its arguments; each must be of its annotated type, and none too many.

    Raises:
        InvalidRequestError: There is no such call, or an argument of it is wrong.
    """
    if call not in handlers:
        valid = ", ".join(sorted(handlers)) or "none"
        raise InvalidRequestError(f"The panel has no call {call!r}; valid: {valid}.")
    adapter: TypeAdapter[Coroutine[Any, Any, None]] = TypeAdapter[Any](handlers[call])  # type: ignore[arg-type]
    try:
        return adapter.validate_python(ArgsKwargs((), dict(args)), strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found)
        raise InvalidRequestError(f"The call {call!r} of the panel has a wrong argument. {wrong}.") from None
