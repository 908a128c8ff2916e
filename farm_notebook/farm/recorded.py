"""A user's function whose outcome is recorded: a training, a download, a measurement, which no model does.

In a replay it is not called, and what it returned is given: nothing has to be there of what it needs.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any, TypeVar, cast, get_type_hints

from farm_notebook.cassettes import Ask, Tape, ask, glancing
from farm_notebook.cassettes.values import build, plain
from farm_notebook.errors import InvalidRequestError
from farm_notebook.farm import caller

__all__ = ["recorded"]

F = TypeVar("F", bound=Callable[..., Any])


def recorded(function: F, tape: Callable[[], Tape]) -> F:
    """The function, with what it returns recorded, or replayed in place of a call.

    What tells one call from another are its name and its arguments. It is called in its caller's thread, and
    what it asks of models is not recorded as well. An error of this package that it raises is recorded too.

    Args:
        function: Takes and returns what JSON can hold; dataclasses and tuples too, where the annotation of
            what it returns says so. May be ``async``.
        tape: Tells what records or replays.

    Returns:
        One that raises ``InvalidRequestError`` where what it takes or returns could not be replayed.
    """

    kind = _kind(function)

    async def outcome(do: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        async def make() -> Any:
            return _checked(function, await caller.in_caller(partial(do, *args, **kwargs)), kind)

        return await tape().value(_asked(function, args, kwargs), make, kind)

    def do(*args: Any, **kwargs: Any) -> Any:
        with glancing():
            return function(*args, **kwargs)

    async def do_awaited(*args: Any, **kwargs: Any) -> Any:
        with glancing():
            return await function(*args, **kwargs)

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if tape().settings.mode == "off":
            return function(*args, **kwargs)
        return caller.run_blocking(outcome(do, args, kwargs))

    @wraps(function)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        if tape().settings.mode == "off":
            return await function(*args, **kwargs)
        return await caller.run(outcome(do_awaited, args, kwargs))

    return cast(F, awaited if inspect.iscoroutinefunction(function) else called)


def _asked(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Ask:
    """The call, as a cassette has it."""
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    arguments = {name: plain(value) for name, value in bound.arguments.items()}
    for name, value in arguments.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(
                f"{function.__qualname__}() is recorded, and its argument {name} cannot be told in JSON "
                f"({error}). Have it take texts, numbers, lists and dictionaries."
            ) from None
    return ask("function", name=function.__qualname__, arguments=arguments)


def _checked(function: Callable[..., Any], value: Any, kind: Any) -> Any:
    """What a function returned, if a replay can give the same."""
    name = function.__qualname__
    try:
        again = build(kind, json.loads(json.dumps(plain(value))))
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(
            f"{name}() is recorded, and what it returned cannot be ({error}). Have it return texts, numbers, "
            "lists, dictionaries or dataclasses, and nothing where it is called for what it does."
        ) from None
    if again != value:
        raise InvalidRequestError(
            f"{name}() returned {value!r:.60}, and a replay would give {again!r:.60}. Say in its first line "
            f"what it returns: def {name}(...) -> {type(value).__name__}."
        )
    return value


def _kind(function: Callable[..., Any]) -> Any:
    """The type of what a function returns; ``Any`` where it does not say, or says what is not defined."""
    try:
        return get_type_hints(function).get("return", Any)
    except NameError:
        return Any
