"""The smallest value that a JSON schema allows: the answer of a provider that has no model to ask."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

__all__ = ["smallest"]

Schema: TypeAlias = Mapping[str, Any]

_ANNOTATIONS = {"$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default"}
_ANNOTATIONS |= {"examples", "deprecated", "readOnly", "writeOnly", "discriminator", "format"}
_KNOWN = _ANNOTATIONS | {
    *("$ref", "const", "enum", "anyOf", "oneOf", "allOf", "type"),
    *("properties", "required", "additionalProperties", "prefixItems", "items", "minItems", "maxItems"),
    *("minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}
_FORMATS = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT0S",
    "email": "a@example.org",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-0000-0000-000000000000",
}


def smallest(schema: Schema) -> Any:
    """Optional properties are left out, numbers are the nearest to 0, texts and lists the shortest.

    Args:
        schema: In the words of JSON Schema 2020-12 that pydantic writes, ``$ref`` within it included.

    Returns:
        A JSON value, the same for the same schema.

    Raises:
        ValueError: Naming a word that would narrow the value further and is not known here.
    """
    try:
        return _value(schema, schema)
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no schema that ends ({type(error).__name__}: {error})") from None


def _value(schema: Schema | bool, root: Schema) -> Any:
    if isinstance(schema, bool):
        if not schema:
            raise ValueError("the schema 'false' allows no value")
        return None
    if unknown := sorted(set(schema) - _KNOWN):
        raise ValueError(f"{unknown[0]!r} is not known")
    if "$ref" in schema:
        rest = {name: value for name, value in schema.items() if name != "$ref"}
        return _value({**_target(schema["$ref"], root), **rest}, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "allOf" in schema:
        return _value(_merged(schema, root), root)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            options = schema[word]
            null = [option for option in options if option == {"type": "null"}]  # the smallest of them
            rest = {name: value for name, value in schema.items() if name != word}
            return _value({**rest, **(null or options)[0]}, root)
    return _typed(schema, root)


def _typed(schema: Schema, root: Schema) -> Any:
    types = schema.get("type", "object" if "properties" in schema else "null")
    match types if isinstance(types, str) else types[0]:
        case "object":
            properties = schema.get("properties", {})
            return {name: _value(properties.get(name, True), root) for name in schema.get("required", ())}
        case "array":
            first = schema.get("prefixItems", [])
            rest = [schema.get("items", True)] * (schema.get("minItems", 0) - len(first))
            return [_value(item, root) for item in (*first, *rest)]
        case "string":
            text = _FORMATS.get(schema.get("format", ""), "")
            return text or "x" * schema.get("minLength", 0)
        case "integer":
            return _nearest_to_zero(schema, step=1)
        case "number":
            return _nearest_to_zero(schema, step=0.5)
        case "boolean":
            return False
        case "null":
            return None
        case other:
            raise ValueError(f"the type {other!r} is not known")


def _nearest_to_zero(schema: Schema, *, step: float) -> float:
    """Of the numbers within the limits; ``step`` leads past a limit that is not allowed itself."""
    low = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf) + step)
    high = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf) - step)
    if low > high:
        raise ValueError(f"no number was found between {low} and {high}")
    value: float = min(max(0, low), high)
    if step < 1:
        return float(value)
    return math.ceil(value) if value > 0 else math.floor(value)


def _target(reference: str, root: Schema) -> Schema:
    """What a ``$ref`` such as ``#/$defs/City`` points at."""
    found: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        if part:
            found = found[part.replace("~1", "/").replace("~0", "~")]
    return dict(found)


def _merged(schema: Schema, root: Schema) -> Schema:
    """A schema with those of its ``allOf`` written into it."""
    merged: dict[str, Any] = {name: value for name, value in schema.items() if name != "allOf"}
    for part in schema["allOf"]:
        for name, value in (_target(part["$ref"], root) if "$ref" in part else part).items():
            if name == "properties":
                merged[name] = {**merged.get(name, {}), **value}
            elif name == "required":
                merged[name] = [*merged.get(name, ()), *value]
            else:
                merged[name] = value
    return merged
