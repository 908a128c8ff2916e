"""From what a user has at hand to a JSON schema that can be sent, and from an answer to a checked value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeAlias, get_origin, runtime_checkable

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from farm_notebook.errors import InvalidRequestError, MissingExtraError

__all__ = ["SchemaSource", "Shape", "TellsSchema", "as_plain", "as_schema", "as_shape"]

MOST_PROBLEMS = 5
LONGEST_QUOTE = 200  # characters of what does not fit
MOST_STARTS = 20  # places in an answer where a value that stands between words is looked for

_FENCED = re.compile(r"```\w*[ \t]*\n(.*?)```", re.DOTALL)


@runtime_checkable
class TellsSchema(Protocol):
    """A pydantic model class, or whatever else can tell its JSON schema."""

    def model_json_schema(self) -> dict[str, Any]: ...


SchemaSource: TypeAlias = Mapping[str, Any] | TellsSchema | type[Any]


def as_plain(values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """JSON values as they will be sent, which nobody else can change.

    Args:
        values: By name.
        what: They are, for the error.

    Raises:
        InvalidRequestError: JSON cannot say them.
    """
    try:
        copy: dict[str, Any] = json.loads(json.dumps(values, default=_as_dict, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"{what}={values!r} cannot be sent as JSON: {error}.") from None
    return copy


def as_schema(source: SchemaSource) -> dict[str, Any]:
    """A JSON schema of plain values, which nobody else can change.

    Args:
        source: A JSON schema, a pydantic model class, or another annotated type, such as ``list[City]``.

    Raises:
        InvalidRequestError: Quoting what was given, and what is valid.
    """
    try:
        if isinstance(source, TellsSchema):
            return source.model_json_schema()
        if isinstance(source, type) or get_origin(source) is not None:
            return TypeAdapter[Any](source).json_schema()  # type: ignore[arg-type]  # a type, or list[type]
    except PydanticUserError as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise InvalidRequestError(f"{source!r} cannot be told as a JSON schema: {reason}.") from None
    if isinstance(source, Mapping):
        return as_plain(source, "schema")
    raise InvalidRequestError(
        f"{source!r} is not a schema. Valid: a JSON schema (dict), a pydantic model class, or another "
        "annotated type."
    )


def as_shape(source: SchemaSource) -> Shape:
    """What an answer is to be, to be asked for and to be checked.

    Args:
        source: As for ``as_schema``. What is no object by itself, such as ``list[City]``, is asked for as the
            one property of an object, since some providers take nothing else.

    Raises:
        InvalidRequestError: It is no schema.
        MissingExtraError: It is a JSON schema, and ``jsonschema``, which checks these, is not installed.
    """
    schema = as_schema(source)
    if isinstance(source, Mapping):
        return Shape(schema, str(schema.get("title", "the schema")), _JsonSchema(schema))
    adapter = TypeAdapter[Any](source)  # type: ignore[arg-type]  # as above
    name = getattr(source, "__name__", None) if isinstance(source, type) else None
    key = ""
    if schema.get("type") != "object" and "$ref" not in schema:
        key = "items" if schema.get("type") == "array" else "value"
        schema = _wrapped(schema, key)
    return Shape(schema, name or str(source), _Type(adapter), key)


class Check(Protocol):
    """What tells whether a JSON text fits."""

    def value(self, text: str) -> Any:
        """The value.

        Raises:
            ValueError: A clause that says what does not fit.
        """

    def plain(self, value: Any) -> Any:
        """A value as JSON values."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What an answer is to be.

    Args:
        schema: To be sent.
        name: For the user.
        check: Tells whether an answer fits.
        key: The property that the value is wrapped in; empty where it is not.
    """

    schema: Mapping[str, Any]
    name: str
    check: Check
    key: str = ""

    def parse(self, text: str) -> Any:
        """The value that an answer holds, also between words or in a code block.

        Raises:
            ValueError: What does not fit, as a clause in one line.
        """
        found = next(_json_texts(text), None)
        if found is None:
            raise ValueError(f"it is no JSON: {_quoted(text)}")
        if self.key:
            value = json.loads(found)
            if isinstance(value, dict) and set(value) == {self.key}:
                found = json.dumps(value[self.key])
        return self.check.value(found)

    def plain(self, value: Any) -> Any:
        """A value that ``parse`` gave as JSON values: dicts, lists, texts, numbers."""
        return self.check.plain(value)


class _Type:
    """Checks by an annotated type."""

    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        self._adapter = adapter

    def value(self, text: str) -> Any:
        try:
            return self._adapter.validate_json(text)
        except ValidationError as error:
            raise ValueError(problems_of(error)) from None

    def plain(self, value: Any) -> Any:
        return self._adapter.dump_python(value, mode="json")


class _JsonSchema:
    """Checks by a JSON schema, in the dialect that it names. Nothing is fetched for it."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        try:
            from jsonschema import SchemaError
            from jsonschema.validators import validator_for
            from referencing import Registry
        except ImportError as error:
            raise MissingExtraError(
                f"A JSON schema needs a package to be checked by ({error}); a pydantic model or a dataclass "
                'does not. Run: pip install "farm-notebook[schema]"'
            ) from error
        kind = validator_for(schema)
        try:
            kind.check_schema(schema)
        except SchemaError as error:
            raise InvalidRequestError(f"It is no JSON schema: {error.message}. Got: {schema!r}.") from None
        self._validator = kind(schema, registry=Registry())

    def value(self, text: str) -> Any:
        from referencing.exceptions import Unresolvable

        value = json.loads(text)
        try:
            errors = sorted(self._validator.iter_errors(value), key=lambda error: error.json_path)
        except Unresolvable as error:
            raise InvalidRequestError(f"The schema refers to what is not in it: {error}.") from None
        if errors:
            raise ValueError(_joined(f"{error.json_path}: {_cut(error.message)}" for error in errors))
        return value

    def plain(self, value: Any) -> Any:
        return value


def problems_of(error: ValidationError) -> str:
    """What pydantic found, in one line, with the values that do not fit."""
    found = []
    for each in error.errors(include_url=False, include_context=False):
        place = ".".join(map(str, each["loc"]))
        quoted = "" if each["type"].startswith("missing") else f" (it is {_quoted(each['input'])})"
        found.append(f"{place}{': ' if place else ''}{each['msg']}{quoted}")
    return _joined(found)


def _joined(problems: Iterator[str] | list[str]) -> str:
    listed = list(problems)
    more = len(listed) - MOST_PROBLEMS
    return "; ".join(listed[:MOST_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")


def _quoted(value: object) -> str:
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…"


def _json_texts(text: str) -> Iterator[str]:
    """Where an answer may hold JSON: as a whole, in a code block, from its first bracket on."""
    for candidate in (text, *_FENCED.findall(text)):
        try:
            json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        yield candidate
    for bracket in islice(re.finditer(r"[{\[]", text), MOST_STARTS):
        try:
            _, end = json.JSONDecoder().raw_decode(text, bracket.start())
        except json.JSONDecodeError as error:
            if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
                return  # it was cut off: what is inside of it is not what it was to be
            continue
        except RecursionError:
            continue
        yield text[bracket.start() : end]


def _wrapped(schema: Mapping[str, Any], key: str) -> dict[str, Any]:
    """An object with one property; definitions stay at the root, where references look for them."""
    inner = {name: value for name, value in schema.items() if name != "$defs"}
    outer = {"type": "object", "properties": {key: inner}, "required": [key], "additionalProperties": False}
    return outer | ({"$defs": schema["$defs"]} if "$defs" in schema else {})


def _as_dict(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")
