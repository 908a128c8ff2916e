"""A name that leads nowhere is told with what it was probably meant to be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from farm_notebook.config import FarmConfig, load_config
from farm_notebook.errors import ModelNotFoundError, UnknownProviderError
from farm_notebook.farm import Farm
from farm_notebook.router import explaining, resolve
from farm_notebook.types import ModelRef


@pytest.fixture
def config() -> FarmConfig:
    return load_config({"model": "scripted:echo"})


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("opnai:gpt-4o", ["'opnai' is no provider either", "scripted", "Did you mean 'openai:gpt-4o'?"]),
        ("OpenAI:gpt-4o", ["Did you mean 'openai:gpt-4o'?"]),
        ("llama-cpp:smollm2:135m", ["Did you mean 'llamacpp:smollm2:135m'?"]),
        ("nearby:qwen3:8b", ["'nearby' is no provider either; those are "]),
    ],
)
def test_what_may_have_been_meant_as_a_provider_is_said_not_to_be_one(
    model: str, words: list[str], config: FarmConfig
) -> None:
    with pytest.raises(ModelNotFoundError) as caught, explaining(resolve(model, config), config):
        raise ModelNotFoundError("Not here.")
    message = str(caught.value)
    assert message.startswith("Not here. ")
    assert [word for word in words if word not in message] == []


def test_nothing_is_guessed_where_no_provider_is_near(config: FarmConfig) -> None:
    with pytest.raises(ModelNotFoundError) as caught, explaining(ModelRef("llamacpp", "smollm2:1b"), config):
        raise ModelNotFoundError("Not here.")
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize("model", ["nope", "owner/model", "C:\\x.gguf", "./a:b.gguf", "scripted:nope", "x:"])
def test_a_name_that_cannot_have_been_meant_so_is_left_alone(model: str, config: FarmConfig) -> None:
    with pytest.raises(ModelNotFoundError) as caught, explaining(ModelRef("scripted", model), config):
        raise ModelNotFoundError("Not here.")
    assert str(caught.value) == "Not here."


def test_every_call_of_a_farm_explains_a_model_that_is_not_found() -> None:
    farm, model = Farm(model="scripted:echo"), "lamacpp:smollm2:135m"
    calls: list[Callable[[], object]] = [
        lambda: farm.chat("hello", model=model),
        lambda: list(farm.stream("hello", model=model)),
        lambda: farm.generate("hello", model=model),
        lambda: farm.embed("hello", model=model),
        lambda: list(farm.load(model)),
        lambda: farm.unload(model),
    ]
    for call in calls:
        with pytest.raises(ModelNotFoundError, match=r"Did you mean 'llamacpp:smollm2:135m'\?") as caught:
            call()
        assert str(caught.value).count("is no provider either") == 1


def with_aliases(model: str = "scripted:echo") -> FarmConfig:
    return load_config({"model": model, "aliases": {"fast": "scripted:echo", "Careful": "scripted:count-3"}})


@pytest.mark.parametrize(("model", "alias"), [("fasst", "fast"), ("Fast", "fast"), ("careful", "Careful")])
def test_an_alias_that_is_near_is_asked_about(model: str, alias: str) -> None:
    config = with_aliases()
    with pytest.raises(ModelNotFoundError) as caught, explaining(resolve(model, config), config):
        raise ModelNotFoundError("Not here.")
    assert str(caught.value) == f"Not here. Did you mean the alias {alias!r}?"


@pytest.mark.parametrize("model", ["nope", "gpt-4o", "./fast.gguf"])
def test_an_alias_that_is_not_near_is_not_mentioned(model: str) -> None:
    config = with_aliases()
    with pytest.raises(ModelNotFoundError) as caught, explaining(resolve(model, config), config):
        raise ModelNotFoundError("Not here.")
    assert str(caught.value) == "Not here."


def test_a_setting_that_names_an_alias_wrongly_is_told_with_the_alias() -> None:
    with pytest.raises(UnknownProviderError) as caught:
        resolve(None, with_aliases("fasst"))
    assert "The setting model is 'fasst'. Did you mean the alias 'fast'?" in str(caught.value)
