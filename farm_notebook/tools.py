"""From a Python function to a ``Tool`` that a model may ask to be called."""

from __future__ import annotations

import functools
import inspect
import json
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, PydanticJsonSchemaWarning

from farm_notebook.errors import InvalidRequestError
from farm_notebook.types import Tool

__all__ = ["ToolSource", "as_tool"]

ToolSource: TypeAlias = Tool | Callable[..., Any] | Mapping[str, Any]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VALID = (
    "a function with annotated parameters, a Tool, or a mapping with 'name', 'description' and 'parameters'"
)


def as_tool(source: ToolSource) -> Tool:
    """A function's name, docstring and signature, in the words of the model APIs.

    A parameter without an annotation may be anything that JSON can say. ``Annotated[str, Field(description=
    ...)]`` describes a parameter; a pydantic model or a dataclass is a tool whose parameters are its fields.

    Args:
        source: A function, whose parameters become a JSON schema; or a ``Tool``; or a mapping as OpenAI
            writes tools, with or without ``{"type": "function", "function": ...}`` around it.

    Returns:
        A tool whose parameters are plain JSON values, and nobody else's.

    Raises:
        InvalidRequestError: Quoting what was given, and what is valid.
    """
    if isinstance(source, Tool):
        tool = source
    elif isinstance(source, Mapping):
        tool = _of_mapping(source)
    elif callable(source):
        tool = _of_function(source)
    else:
        raise InvalidRequestError(f"{source!r} is no tool. Valid: {_VALID}.")
    if not isinstance(tool.name, str) or not _NAME.fullmatch(tool.name):
        raise InvalidRequestError(
            f"{tool.name!r} is no name of a tool. Valid: up to 64 letters, digits, '_' and '-'."
        )
    if not isinstance(tool.parameters, Mapping) or tool.parameters.get("type") != "object":
        raise InvalidRequestError(
            f"The parameters of the tool {tool.name!r} are no JSON schema of type 'object': "
            f"{tool.parameters!r}."
        )
    try:
        parameters = json.loads(json.dumps(tool.parameters, default=dict, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(
            f"The parameters of the tool {tool.name!r} cannot be sent as JSON: {error}."
        ) from None
    return Tool(tool.name, tool.description, parameters)


def _of_mapping(source: Mapping[str, Any]) -> Tool:
    function = source.get("function", source)
    if not isinstance(function, Mapping) or "name" not in function:
        raise InvalidRequestError(f"{source!r} is no tool: it has no name. Valid: {_VALID}.")
    parameters = function.get("parameters")
    if parameters is None:  # as OpenAI lets one write a function without parameters
        parameters = {"type": "object", "properties": {}}
    return Tool(function["name"], str(function.get("description") or ""), parameters)


def _of_function(source: Callable[..., Any]) -> Tool:
    """What is called by name, whichever of Python's kinds of callables it is."""
    plain = source
    if isinstance(source, functools.partial):
        plain = source.func
    name = getattr(plain, "__name__", type(plain).__name__)
    if not hasattr(plain, "__name__"):  # an object with a ``__call__``, whose signature and words count
        source = plain = plain.__call__  # type: ignore[operator]  # it is callable, and no type
    if name == "<lambda>":
        raise InvalidRequestError("A lambda has no name to be called by. Write the tool as a function: def.")
    schema = _schema(source, name)
    if schema.get("type") != "object":
        raise InvalidRequestError(
            f"The tool {name!r} takes {_positional(source)}; models pass arguments by name only."
        )
    if "self" in schema.get("properties", {}):
        raise InvalidRequestError(
            f"The tool {name!r} is a method of no object. Give it bound, as in my_object.{name}."
        )
    return Tool(name, inspect.getdoc(plain) or "", schema)


def _unbound(source: functools.partial[Any]) -> Callable[..., Any]:
    """A function with a partial's signature; pydantic would look its annotations up in ``functools``."""

    def stub() -> None: ...

    stub.__module__ = source.func.__module__
    stub.__annotations__ = getattr(source.func, "__annotations__", {})
    stub.__signature__ = inspect.signature(source)  # type: ignore[attr-defined]  # read by inspect
    return stub


class _Untitled(GenerateJsonSchema):
    """Pydantic's schema without a ``title`` for every parameter, which only repeats its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _schema(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        if isinstance(function, functools.partial):
            function = _unbound(function)
        with warnings.catch_warnings():
            # A default that JSON cannot say is left out: the parameter is optional all the same.
            warnings.simplefilter("ignore", PydanticJsonSchemaWarning)
            return TypeAdapter[Any](function).json_schema(  # type: ignore[arg-type]  # functions are taken too
                schema_generator=_Untitled
            )
    except (PydanticUserError, NameError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise InvalidRequestError(
            f"The parameters of {name!r} cannot be told as a JSON schema: {reason}. "
            "Annotate them with simple types, or give the tool as a mapping."
        ) from None


def _positional(function: Callable[..., Any]) -> str:
    """The parameters that have no name to a caller, as they were written; else what else is wrong."""
    nameless = {inspect.Parameter.POSITIONAL_ONLY: "{}, /", inspect.Parameter.VAR_POSITIONAL: "*{}"}
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # int, for one, has no signature
        return "no parameters that have names"
    found = [nameless[each.kind].format(each.name) for each in parameters if each.kind in nameless]
    return f"({', '.join(found)})" if found else "no parameters that have names"
