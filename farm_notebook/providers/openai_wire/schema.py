"""JSON schemas in the form that OpenAI can hold a model to, where they have such a form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["json_schema_format", "strict_schema"]

_KNOWN = frozenset(
    {
        *("type", "enum", "const", "title", "description", "anyOf", "$ref", "$defs", "definitions"),
        *("properties", "required", "additionalProperties"),
        *("items", "minItems", "maxItems"),
        *("pattern", "format"),
        *("multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    }
)


def json_schema_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Name, schema and strictness, as both the chat and the Responses API take them."""
    strict = strict_schema(schema)
    return {
        "name": "answer",
        "schema": dict(schema) if strict is None else strict,
        "strict": strict is not None,
    }


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """A schema in OpenAI's strict form, or ``None`` where that would change what it asks for.

    Strict mode wants every object closed and every property required, and knows some keywords only. An
    object that does not say whether it is open is closed: what satisfies the closed one satisfies it too.
    Source: https://platform.openai.com/docs/guides/structured-outputs, "Supported schemas".
    """
    if schema.get("type") != "object" or "anyOf" in schema:  # so the root must be
        return None
    return _strict(schema)


def _strict(schema: Any) -> dict[str, Any] | None:
    if not isinstance(schema, Mapping) or not schema.keys() <= _KNOWN:
        return None
    strict = dict(schema)
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        if not isinstance(properties, Mapping) or set(schema.get("required", ())) != set(properties):
            return None
        if schema.get("additionalProperties", not properties) is not False:  # without any, it means all
            return None
        strict["additionalProperties"] = False
    for name in ("properties", "$defs", "definitions"):
        if name in schema:
            inner = {key: _strict(value) for key, value in schema[name].items()}
            if None in inner.values():
                return None
            strict[name] = inner
    if "items" in schema and (items := _strict(schema["items"])) is None:
        return None
    if "items" in schema:
        strict["items"] = items
    if "anyOf" in schema:
        choices = [_strict(choice) for choice in schema["anyOf"]]
        if None in choices:
            return None
        strict["anyOf"] = choices
    return strict
