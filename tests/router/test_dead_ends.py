"""What is told of names in the settings that lead nowhere, before anybody asks for them."""

from __future__ import annotations

from typing import Any

import pytest

from farm_notebook.config import load_config
from farm_notebook.router.dead_ends import DeadEnd, find_dead_ends


def dead_ends(**settings: Any) -> list[DeadEnd]:
    return list(find_dead_ends(load_config({"model": "scripted:echo", **settings})))


def test_what_leads_somewhere_is_not_told_of() -> None:
    assert not dead_ends(
        aliases={
            "fast": "ollama:llama3.2",
            "small": "smollm2:135m",  # a model of the default provider
            "careful": {"model": "openai:gpt-4o", "fallback": ["fast", "llamacpp"]},
            "big": {"deployments": [{"model": "openai:gpt-4o"}, {"model": "fast"}]},
        },
        routing={"production": "careful", "test": "auto"},
        fallback={"chain": ["fast", "scripted:echo"]},
        limits={"per": {"openai": {"concurrency": 1}, "scripted:echo": {"concurrency": 1}}},
        prices={"openai:gpt-4o": {"input": 1, "output": 1}},
    )


def test_a_circle_of_aliases_is_told_of_once() -> None:
    (found,) = dead_ends(aliases={"a": "b", "b": "c", "c": "a"})
    assert found.key == "aliases.a.model"
    assert found.is_certain
    assert "round in a circle" in found.text


def test_what_is_mistyped_in_two_places_is_told_of_in_both() -> None:
    found = dead_ends(routing={"development": "olama"}, fallback={"chain": ["olama"]})
    assert {each.key for each in found} == {"routing.development", "fallback.chain"}


def test_a_default_that_names_no_provider_is_certain() -> None:
    (found,) = dead_ends(model="fsat", aliases={"fast": "scripted:echo"})
    assert (found.key, found.is_certain) == ("model", True)
    assert "'fsat'" in found.text
    assert "the alias 'fast'" in found.text
    (found,) = dead_ends(model="openai", routing={"development": "ollama"}, ollama={"enabled": False})
    assert (found.key, found.is_certain) == ("routing.development", True)


def test_a_provider_that_is_switched_off_is_nobodys_mistake() -> None:
    assert not dead_ends(aliases={"cloud": "openai:gpt-4o"}, openai={"enabled": False})


@pytest.mark.parametrize(
    ("settings", "key", "meant"),
    [
        ({"aliases": {"fast": "olama:llama3.2"}}, "aliases.fast.model", "'ollama:llama3.2'"),
        ({"routing": {"development": "olama"}}, "routing.development", "'ollama'"),
        ({"routing": {"production": "carefull"}}, "routing.production", "the alias 'careful'"),
        ({"fallback": {"chain": ["olama"]}}, "fallback.chain", "'ollama'"),
        ({"fallback": {"chain": ["carfeul"]}}, "fallback.chain", "the alias 'careful'"),
        ({"limits": {"per": {"opnai": {"concurrency": 1}}}}, "limits.per.opnai", "'openai'"),
        ({"prices": {"opnai:x": {"input": 1, "output": 1}}}, 'prices."opnai:x"', "'openai'"),
        ({"environment": "productoin"}, "environment", "'production'"),
    ],
)
def test_a_mistyped_name_is_told_of_with_the_one_that_may_have_been_meant(
    settings: dict[str, Any], key: str, meant: str
) -> None:
    aliases = {"careful": "scripted:echo", **settings.pop("aliases", {})}
    (found,) = dead_ends(aliases=aliases, **settings)
    assert (found.key, found.is_certain) == (key, False)
    assert f"Did you mean {meant}?" in found.text
