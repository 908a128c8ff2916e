"""Checks what a page passes to a part before the part's own code sees it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from inspect import Parameter, signature
from typing import Any, NotRequired, TypeAlias, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from farm_notebook.errors import InvalidRequestError

__all__ = ["Handler", "begin"]

Handler: TypeAlias = Callable[..., Coroutine[Any, Any, None]]
"""``async def`` with annotated arguments, which the page passes by name.

The annotations are looked up when it is called, so their names must be imported at run time.
"""


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
    try:
        checked = _arguments(handlers[call]).validate_python(dict(args), strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found)
        raise InvalidRequestError(f"The call {call!r} of the panel has a wrong argument. {wrong}.") from None
    return handlers[call](**checked)


def _arguments(handler: Handler) -> TypeAdapter[dict[str, Any]]:
    """What a handler takes, as a dictionary."""
    hints = get_type_hints(handler, include_extras=True)
    fields = {
        name: hints[name] if parameter.default is Parameter.empty else NotRequired[hints[name]]
        for name, parameter in signature(handler).parameters.items()
    }
    shape: Any = TypedDict("Arguments", fields)  # type: ignore[misc] # its fields are not known before
    adapter: TypeAdapter[Any] = TypeAdapter(with_config(ConfigDict(extra="forbid"))(shape))
    return adapter
