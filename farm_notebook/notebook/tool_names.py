"""From the names behind ``--tool`` and ``--schema`` to the functions and classes of the notebook."""

from __future__ import annotations

import ast
import builtins
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.interpolation import look_up
from farm_notebook.notebook.line import NameKind, suggestion
from farm_notebook.notebook.offers import names_of_values

__all__ = ["named_functions", "named_schema"]

_TYPES = {name: value for name, value in vars(builtins).items() if isinstance(value, type)}
_IN_TYPES = (
    *(ast.Expression, ast.Name, ast.Attribute, ast.Subscript, ast.Tuple, ast.List, ast.Constant),
    *(ast.BinOp, ast.BitOr, ast.Load),
)


def named_functions(names: Sequence[str], namespace: Mapping[str, object]) -> tuple[Callable[..., Any], ...]:
    """What a model may have called.

    Args:
        names: Of functions, which may go on with ``.attribute``, and may stand in braces.
        namespace: The notebook's variables.

    Raises:
        InvalidRequestError: One names nothing, or nothing that can be called; with the closest that can.
    """
    return tuple(_function(_bare(name), namespace) for name in names)


def named_schema(source: str, namespace: Mapping[str, object]) -> Any:
    """What an answer is to be.

    Args:
        source: The name of a class, or of a JSON schema; a type, as in ``list[City]`` and ``City | None``; or
            a JSON schema as it stands. No code is run for it.
        namespace: The notebook's variables; Python's own types are known as well.

    Raises:
        InvalidRequestError: Quoting what names nothing, with the closest that does.
    """
    source = _bare(source).strip()
    if source.startswith("{"):
        return _json(source)
    known = {**_TYPES, **namespace}
    try:
        tree = ast.parse(source, mode="eval")
    except (SyntaxError, ValueError):
        raise InvalidRequestError(f"--schema {source!r} is no type. {_VALID}") from None
    for node in ast.walk(tree):
        if not isinstance(node, _IN_TYPES) or (isinstance(node, ast.Attribute) and node.attr.startswith("_")):
            raise InvalidRequestError(
                f"--schema {source!r} is more than a type. {_VALID} Bind it to a name first."
            )
        if isinstance(node, ast.Name) and node.id not in known:
            raise InvalidRequestError(
                f"--schema {source!r}: {node.id!r} is not defined in this notebook. "
                f"{_closest(node.id, 'class', namespace)}"
            )
    try:
        return eval(
            compile(tree, "<--schema>", "eval"), {"__builtins__": {}}, known
        )  # of names and types only
    except Exception as error:  # noqa: BLE001 - a class may raise anything when it is subscripted
        raise InvalidRequestError(
            f"--schema {source!r} cannot be read: {type(error).__name__}: {error}."
        ) from None


_VALID = (
    "Valid: a pydantic model, a dataclass, a TypedDict, or a type of these, as in list[City]; a JSON schema, "
    "by name or as it stands."
)


def _json(source: str) -> Any:
    try:
        return json.loads(source)
    except ValueError as error:
        raise InvalidRequestError(f"--schema {source!r} is no JSON: {error}.") from None


def _function(name: str, namespace: Mapping[str, object]) -> Callable[..., Any]:
    try:
        value = look_up(name, namespace)
    except LookupError:
        base = name.partition(".")[0]
        what = "has no such attribute" if base in namespace and base != name else "is not in this notebook"
        raise InvalidRequestError(
            f"--tool {name!r} {what}. {_closest(name, 'callable', namespace)}"
        ) from None
    if not callable(value):
        raise InvalidRequestError(
            f"--tool {name!r} is {type(value).__name__!r}, and no function. "
            f"{_closest(name, 'callable', namespace)}"
        )
    return value


def _closest(name: str, kind: NameKind, namespace: Mapping[str, object]) -> str:
    if found := names_of_values(kind, namespace):
        return suggestion(name, found)
    what = "function" if kind == "callable" else "class"
    return f"There is no {what} in it yet: run the cell that defines it."


def _bare(name: str) -> str:
    """A name without the braces that it may stand in, as it would in a prompt."""
    return name[1:-1] if name.startswith("{") and name.endswith("}") and name[1:-1].isidentifier() else name
