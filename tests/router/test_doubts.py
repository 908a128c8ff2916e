"""What is said of a name that may be a model's and probably is none."""

from __future__ import annotations

import asyncio

import pytest

from farm_notebook.config import load_config
from farm_notebook.errors import ConfigError, ProviderConnectionError
from farm_notebook.router import doubt
from farm_notebook.types import ModelInfo, ModelRef

LISTED = [ModelInfo(ModelRef("ollama", "llama3.2")), ModelInfo(ModelRef("llamacpp", "smollm2:135m"))]


async def listed() -> list[ModelInfo]:
    return LISTED


async def doubted(name: str, model: str = "auto") -> str:
    config = load_config({"model": model, "aliases": {"two": "openai:gpt-4o"}})
    return await doubt(name, config, listed)


@pytest.mark.parametrize(
    "name", ["llama3.2", "smollm2:135m", "ollama:llama3.2", "ollama", "auto", "two", "openai:gpt-4o"]
)
async def test_nothing_is_said_of_what_is_listed_or_cannot_be_known(name: str) -> None:
    assert await doubted(name) == ""


@pytest.mark.parametrize(
    ("name", "model", "told"),
    [
        (
            "nonexistent:foo",
            "auto",
            ["No provider lists 'nonexistent:foo'", "is no provider either; those are"],
        ),
        (
            "ollama:lama3.2",
            "auto",
            ["ollama does not list 'lama3.2' now, so that a request with it may fail."],
        ),
        ("twoo", "auto", ["No provider lists 'twoo'", "Did you mean the alias 'two'?"]),
        ("twoo", "ollama", ["ollama does not list 'twoo'", "Did you mean the alias 'two'?"]),
        ("opnai", "auto", ["Did you mean 'openai'?"]),
        (
            "twoo",
            "scripted:echo",
            ["is taken for a model of the default provider. Did you mean the alias 'two'?"],
        ),
    ],
)
async def test_what_nobody_lists_is_said_with_what_was_meant(name: str, model: str, told: list[str]) -> None:
    said = await doubted(name, model)
    assert [words for words in told if words not in said] == []


async def test_a_file_is_listed_by_nobody() -> None:
    assert await doubted(f"llamacpp:{__file__}") == ""


async def test_where_nobody_can_be_asked_nothing_is_known() -> None:
    async def fail() -> list[ModelInfo]:
        raise ProviderConnectionError("out of reach", provider="ollama")

    async def stall() -> list[ModelInfo]:
        await asyncio.Event().wait()
        return []

    config = load_config({"model": "auto"})
    assert await doubt("x", config, fail) == ""
    assert await doubt("x", config, stall, deadline_s=0.01) == ""


async def test_a_name_that_leads_nowhere_is_an_error_as_ever() -> None:
    with pytest.raises(ConfigError):
        await doubt("two", load_config({"aliases": {"two": "two"}}), listed)
