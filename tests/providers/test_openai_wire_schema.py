"""A JSON schema is given OpenAI's strict form only where an answer to that still is one to the schema."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from farm_notebook.providers.openai_wire.schema import strict_schema


class Street(BaseModel):
    name: str


class City(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(description="In English.")
    streets: list[Street]
    twin: Street | None


class Loose(BaseModel):
    name: str
    note: str = ""


def test_a_pydantic_model_whose_fields_are_all_required_is_strict_all_the_way_down() -> None:
    schema = City.model_json_schema()
    strict = strict_schema(schema)
    assert strict is not None
    assert strict["$defs"]["Street"]["additionalProperties"] is False
    assert strict["properties"] == schema["properties"]
    assert "additionalProperties" not in schema["$defs"]["Street"], "the caller's schema was changed"


def nested(**inner: Any) -> dict[str, Any]:
    """A strict object around a property."""
    return {"type": "object", "properties": {"a": inner}, "required": ["a"]}


@pytest.mark.parametrize(
    "schema",
    [
        nested(type="string", enum=["a", "b"]),
        nested(type=["string", "null"]),
        nested(type="array", items=nested(type="integer", minimum=0)),
        nested(anyOf=[nested(type="string"), {"type": "null"}]),
        {"type": "object", "properties": {}, "additionalProperties": False},
    ],
    ids=str,
)
def test_what_strict_mode_knows_is_strict(schema: dict[str, Any]) -> None:
    strict = strict_schema(schema)
    assert strict is not None
    assert strict["additionalProperties"] is False


@pytest.mark.parametrize(
    "schema",
    [
        Loose.model_json_schema(),
        {"type": "object"},
        {"type": "object", "properties": {}},
        {"type": "array", "items": {"type": "string"}},
        {"anyOf": [nested(type="string")]},
        nested(type="string") | {"additionalProperties": True},
        nested(type="string") | {"additionalProperties": {"type": "string"}},
        nested(type="string") | {"required": []},
        nested(type="string", maxLength=5),
        nested(type="object", additionalProperties={"type": "integer"}),
        nested(type="array", items={"type": "object"}),
        nested(anyOf=[{"type": "object"}]),
        nested(allOf=[{"type": "string"}]),
        nested(type="array", items=True),
        {"$defs": {"A": {"not": {}}}, **nested(type="string")},
    ],
    ids=str,
)
def test_what_would_have_to_change_its_meaning_is_left_alone(schema: dict[str, Any]) -> None:
    assert strict_schema(schema) is None
