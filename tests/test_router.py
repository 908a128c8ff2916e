"""A model's name is split where a provider's name stands first, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from farm_notebook.config import EMBEDDED_MODEL, FarmConfig, load_config
from farm_notebook.errors import InvalidRequestError, ModelNotFoundError, UnknownProviderError
from farm_notebook.farm import Farm
from farm_notebook.providers import provider_names
from farm_notebook.router import explaining, resolve
from farm_notebook.types import ModelRef


@pytest.fixture
def config() -> FarmConfig:
    return load_config({"model": "scripted:echo"})


@pytest.mark.parametrize(
    ("name", "ref"),
    [
        ("scripted:count-3", ModelRef("scripted", "count-3")),
        ("scripted/count-3", ModelRef("scripted", "count-3")),
        ("llamacpp:smollm2:135m", ModelRef("llamacpp", "smollm2:135m")),
        ("llamacpp/smollm2:135m", ModelRef("llamacpp", "smollm2:135m")),
        ("llamacpp:./models/x.gguf", ModelRef("llamacpp", "./models/x.gguf")),
        ("llamacpp:/abs/x.gguf", ModelRef("llamacpp", "/abs/x.gguf")),
        ("llamacpp:C:\\x.gguf", ModelRef("llamacpp", "C:\\x.gguf")),
        ("count-3", ModelRef("scripted", "count-3")),
        ("smollm2:135m", ModelRef("scripted", "smollm2:135m")),
        ("./models/x.gguf", ModelRef("scripted", "./models/x.gguf")),
        ("owner/model", ModelRef("scripted", "owner/model")),
        ("Scripted:echo", ModelRef("scripted", "Scripted:echo")),
        ("  scripted:echo\n", ModelRef("scripted", "echo")),
    ],
)
def test_a_name_resolves_to_provider_and_model(name: str, ref: ModelRef, config: FarmConfig) -> None:
    assert resolve(name, config) == ref


def test_a_resolved_name_resolves_to_itself(config: FarmConfig) -> None:
    for name in ("count-3", "smollm2:135m", "llamacpp:smollm2:135m"):
        ref = resolve(name, config)
        assert resolve(str(ref), config) == ref


def test_no_name_is_the_configured_model(config: FarmConfig) -> None:
    assert resolve(None, config) == ModelRef("scripted", "echo")


def test_the_default_configuration_names_a_model_that_resolves() -> None:
    assert str(resolve(None, FarmConfig(model=EMBEDDED_MODEL))) == EMBEDDED_MODEL


def test_a_bare_word_is_a_model_of_the_configured_models_provider() -> None:
    config = load_config({"model": "llamacpp:smollm2:135m"})
    assert resolve("other:1b", config) == ModelRef("llamacpp", "other:1b")


@pytest.mark.parametrize("name", ["", "  ", "\n"])
def test_an_empty_name_is_an_error_that_shows_a_valid_one(name: str, config: FarmConfig) -> None:
    with pytest.raises(InvalidRequestError, match=r"name is empty.*'scripted:echo'"):
        resolve(name, config)


@pytest.mark.parametrize("provider", provider_names(load_config()))
def test_a_provider_without_a_model_is_an_error_that_says_how_to_name_one(
    provider: str, config: FarmConfig
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        resolve(provider, config)
    assert f"'{provider}' is a provider" in str(caught.value)
    assert f"'{provider}:MODEL'" in str(caught.value)


@pytest.mark.parametrize("separator", [":", "/"])
def test_a_provider_with_an_empty_model_is_not_sent_to_another_one(
    separator: str, config: FarmConfig
) -> None:
    with pytest.raises(InvalidRequestError, match=r"'llamacpp[:/]?' is a provider"):
        resolve(f"llamacpp{separator}", config)


@pytest.mark.parametrize("model", ["scriptd:echo", "scriptd", "echo"])
def test_a_configured_model_of_no_provider_is_an_error_that_lists_them(model: str) -> None:
    config = load_config({"model": model})
    with pytest.raises(UnknownProviderError) as caught:
        resolve("count-3", config)
    assert repr(model.split(":")[0]) in str(caught.value)
    assert all(name in str(caught.value) for name in provider_names(config))
    with pytest.raises(UnknownProviderError):
        resolve(None, config)


def test_a_mistyped_provider_is_corrected() -> None:
    with pytest.raises(UnknownProviderError, match="Did you mean 'scripted'"):
        resolve(None, load_config({"model": "scriptd:echo"}))


# A model that is not found


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
