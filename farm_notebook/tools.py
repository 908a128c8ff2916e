"""From a Python function to a ``Tool`` that a model may ask to be called."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

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

    Args:
        source: A function, whose parameters become a JSON schema; or a ``Tool``; or a mapping as OpenAI
            writes tools, with or without ``{"type": "function", "function": ...}`` around it.

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
    if not _NAME.fullmatch(tool.name):
        raise InvalidRequestError(
            f"{tool.name!r} is no name of a tool. Valid: up to 64 letters, digits, '_' and '-'."
        )
    if tool.parameters.get("type") != "object":
        raise InvalidRequestError(
            f"The parameters of the tool {tool.name!r} are no JSON schema of type 'object': "
            f"{tool.parameters!r}."
        )
    return tool


def _of_mapping(source: Mapping[str, Any]) -> Tool:
    function = source.get("function", source)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise InvalidRequestError(f"{source!r} is no tool: it has no name. Valid: {_VALID}.")
    parameters = function.get("parameters", {"type": "object", "properties": {}})
    if not isinstance(parameters, Mapping):
        raise InvalidRequestError(f"The tool {function['name']!r} has parameters that are no JSON schema.")
    return Tool(function["name"], str(function.get("description") or ""), parameters)


def _of_function(function: Callable[..., Any]) -> Tool:
    name = getattr(function, "__name__", type(function).__name__)
    try:
        schema = TypeAdapter[Any](function).json_schema()  # type: ignore[arg-type]  # functions are taken too
    except (PydanticUserError, NameError, TypeError) as error:
        raise InvalidRequestError(
            f"The parameters of {name!r} cannot be told as a JSON schema: {error}. "
            "Annotate them with simple types, or give the tool as a mapping."
        ) from None
    if schema.get("type") != "object":
        raise InvalidRequestError(
            f"The tool {name!r} takes positional parameters only; models call tools by parameter names."
        )
    return Tool(name, inspect.getdoc(function) or "", schema)
