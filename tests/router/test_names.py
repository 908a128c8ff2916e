"""A name is an explicit ref, an alias, a provider, or a model of the default provider, in this order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm_notebook.config import AUTO, EMBEDDED_MODEL, FarmConfig, load_config
from farm_notebook.errors import ConfigError, InvalidRequestError, UnknownProviderError
from farm_notebook.providers import provider_names
from farm_notebook.router import is_dynamic, look_up, resolve
from farm_notebook.types import Deployment, ModelRef, Route


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
    for name in ("count-3", "smollm2:135m", "llamacpp:smollm2:135m", "scripted", AUTO):
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


# A provider's name alone


@pytest.mark.parametrize("provider", provider_names(load_config()))
def test_a_provider_without_a_model_is_its_default_model_or_else_any_of_its_models(provider: str) -> None:
    config = load_config({"model": "scripted:echo", "llamacpp": {"default_model": "other:1b"}})
    expected = "other:1b" if provider == "llamacpp" else AUTO
    found = look_up(provider, config)
    assert found.ref == ModelRef(provider, expected)
    assert is_dynamic(found.ref) == (expected == AUTO)
    assert found.route.reason.startswith(f"{provider} was named, and ")


def test_an_endpoint_without_a_model_is_its_default_model() -> None:
    near = {"base_url": "http://localhost:1/v1", "default_model": "qwen"}
    assert resolve("near", load_config({"endpoints": {"near": near}})) == ModelRef("near", "qwen")


@pytest.mark.parametrize("separator", [":", "/"])
def test_a_provider_with_an_empty_model_is_not_sent_to_another_one(
    separator: str, config: FarmConfig
) -> None:
    with pytest.raises(InvalidRequestError, match=r"'llamacpp' is a provider.*'llamacpp:MODEL'"):
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


# Any model


def test_auto_is_any_model_of_any_provider(config: FarmConfig) -> None:
    assert resolve(AUTO, config) == ModelRef(AUTO, AUTO)
    assert resolve(None, load_config({"model": AUTO})) == ModelRef(AUTO, AUTO)


def test_a_bare_word_is_any_providers_model_where_the_default_is_any() -> None:
    ref = resolve("llama3.2", load_config({"model": AUTO}))
    assert ref == ModelRef(AUTO, "llama3.2")
    assert is_dynamic(ref)


# What answers when none is named


def test_the_routing_of_the_environment_is_stronger_than_the_setting_model() -> None:
    settings = {"model": "scripted:echo", "routing": {"production": "scripted:count-3"}}
    assert resolve(None, load_config(settings)) == ModelRef("scripted", "echo")
    found = look_up(None, load_config({**settings, "environment": "production"}))
    assert found.ref == ModelRef("scripted", "count-3")
    assert found.route == Route("", "the setting routing.production names it")


def test_the_default_may_be_an_alias_a_provider_or_a_bare_word_of_the_models_provider() -> None:
    for named, ref in (
        ("fast", ModelRef("scripted", "count-3")),
        ("llamacpp", ModelRef("llamacpp", "smollm2:135m")),
        ("count-5", ModelRef("scripted", "count-5")),
    ):
        config = load_config(
            {
                "model": "scripted:echo",
                "routing": {"development": named},
                "aliases": {"fast": "scripted:count-3"},
            }
        )
        assert resolve(None, config) == ref


def test_a_bare_word_goes_to_the_provider_that_routing_names() -> None:
    config = load_config({"model": "scripted:echo", "routing": {"development": "openai:gpt-4o"}})
    assert resolve("gpt-4o-mini", config) == ModelRef("openai", "gpt-4o-mini")


def test_a_default_that_names_no_provider_is_told_with_its_setting() -> None:
    config = load_config({"model": "echo", "routing": {"development": "opnai:x"}})
    with pytest.raises(UnknownProviderError, match=r"'opnai'.*'openai'.*routing\.development is 'opnai:x'"):
        resolve("count-3", config)


# Aliases


def with_aliases(**aliases: Any) -> FarmConfig:
    return load_config({"model": "scripted:echo", "aliases": aliases})


def test_an_alias_stands_for_a_model_and_beats_a_model_of_its_name() -> None:
    config = with_aliases(fast="llamacpp:smollm2:135m")
    found = look_up("fast", config)
    assert found.ref == ModelRef("llamacpp", "smollm2:135m")
    assert found.route == Route("fast", "the alias 'fast' stands for it")
    assert resolve("Fast", config) == ModelRef("scripted", "Fast"), "case matters"


def test_an_alias_never_beats_an_explicit_name() -> None:
    assert resolve("scripted:fast", with_aliases(fast="llamacpp:x")) == ModelRef("scripted", "fast")


def test_an_alias_beats_a_providers_name() -> None:
    assert resolve("openai", with_aliases(openai="scripted:echo")) == ModelRef("scripted", "echo")


def test_an_alias_may_stand_for_another_one_and_the_outer_word_counts() -> None:
    inner = {"system": "Be brief.", "temperature": 0.5, "extra": {"a": 1, "b": 1}}
    outer = {"temperature": 0.0, "extra": {"b": 2}}
    config = with_aliases(
        best={"model": "good", "parameters": outer, "needs": ["vision"], "context_tokens": 10},
        good={
            "model": "scripted:echo",
            "parameters": inner,
            "needs": ["tools"],
            "context_tokens": 20,
            "fallback": ["count-3"],
        },
    )
    found = look_up("best", config)
    assert found.ref == ModelRef("scripted", "echo")
    assert found.parameters == {"system": "Be brief.", "temperature": 0.0, "extra": {"a": 1, "b": 2}}
    assert found.route == Route(
        "best",
        "the alias 'best' stands for it",
        alternates=(ModelRef("scripted", "count-3"),),
        needs=frozenset({"vision", "tools"}),
        context_tokens=20,
    )


def test_aliases_in_a_circle_are_an_error_that_shows_it() -> None:
    config = with_aliases(a="b", b="c", c="b")
    with pytest.raises(ConfigError, match="b -> c -> b"):
        resolve("a", config)
    with pytest.raises(ConfigError, match="x -> x"):
        resolve("x", with_aliases(x={"deployments": [{"model": "x"}]}))


def test_a_default_alias_that_leans_on_the_default_is_an_error_that_says_so() -> None:
    config = load_config({"model": "fast", "aliases": {"fast": "llama3.2"}})
    with pytest.raises(ConfigError, match=r"'fast' stands for 'llama3\.2'.*'PROVIDER:llama3\.2'"):
        resolve(None, config)


# Deployments


def test_deployments_are_places_of_equal_standing_each_model_once() -> None:
    config = with_aliases(
        all={"deployments": [{"model": "both", "weight": 4}, {"model": "count-3"}, {"model": "echo"}]},
        both={"deployments": [{"model": "echo", "weight": 3}, {"model": "llamacpp:x"}]},
    )
    route = look_up("all", config).route
    assert route.deployments == (
        Deployment(ModelRef("scripted", "echo"), 4.0),
        Deployment(ModelRef("llamacpp", "x"), 1.0),
        Deployment(ModelRef("scripted", "count-3"), 1.0),
    )
    assert look_up("all", config).ref == ModelRef("scripted", "echo")


def test_the_balance_is_that_of_the_alias_that_has_the_deployments() -> None:
    places = [{"model": "echo"}, {"model": "count-3"}]
    config = with_aliases(outer="inner", inner={"deployments": places, "balance": "least_busy"})
    assert look_up("outer", config).route.balance == "least_busy"


def test_a_single_deployment_leaves_nothing_to_choose() -> None:
    found = look_up("one", with_aliases(one={"deployments": [{"model": "count-3"}]}))
    assert (found.ref, found.route.deployments) == (ModelRef("scripted", "count-3"), ())


# Who stands in


def chain_of(name: str | None, **settings: Any) -> list[str]:
    found = look_up(name, load_config({"model": "scripted:echo", **settings}))
    return [str(ref) for ref in found.route.alternates]


def test_the_general_chain_stands_in_for_every_model_but_itself() -> None:
    general = {"chain": ["count-3", "scripted:echo", "count-3", "openai"]}
    assert chain_of(None, fallback=general) == ["scripted:count-3", "openai:auto"]
    assert chain_of("openai:x", fallback=general) == ["scripted:count-3", "scripted:echo", "openai:auto"]


def test_an_aliass_chain_takes_the_place_of_the_general_one_also_where_it_is_empty() -> None:
    aliases = {
        "none": {"model": "echo", "fallback": []},
        "own": {"model": "echo", "fallback": ["count-5"]},
        "general": "echo",
    }
    settings: dict[str, Any] = {"aliases": aliases, "fallback": {"chain": ["count-3"]}}
    found = {name: chain_of(name, **settings) for name in aliases}
    assert found == {"none": [], "own": ["scripted:count-5"], "general": ["scripted:count-3"]}


def test_aliases_in_a_chain_bring_their_places_and_their_own_chains_behind_them() -> None:
    aliases = {
        "a": {"model": "echo", "fallback": ["b", "count-9"]},
        "b": {"deployments": [{"model": "count-1"}, {"model": "count-2"}], "fallback": ["a", "count-3"]},
    }
    assert chain_of("a", aliases=aliases) == [f"scripted:count-{n}" for n in (1, 2, 3, 9)]


def test_deployments_do_not_stand_in_for_each_other_twice() -> None:
    places = {"deployments": [{"model": "echo"}, {"model": "count-3"}], "fallback": ["count-3", "count-5"]}
    assert chain_of("a", aliases={"a": places}) == ["scripted:count-5"]


def test_nobody_stands_in_where_fallback_is_off() -> None:
    settings: dict[str, Any] = {
        "aliases": {"a": {"model": "echo", "fallback": ["count-5"]}},
        "fallback": {"enabled": False, "chain": ["count-3"]},
    }
    assert chain_of("a", **settings) == chain_of("echo", **settings) == []


# Providers that are switched off


OFF: dict[str, Any] = {"openai": {"enabled": False}}


@pytest.mark.parametrize("name", ["openai:gpt-4o", "openai/gpt-4o", "openai", "gpt", "pool"])
def test_a_model_of_a_provider_that_is_off_is_an_error_that_names_the_setting(name: str) -> None:
    aliases = {
        "gpt": "openai:gpt-4o",
        "pool": {"deployments": [{"model": "openai:a"}, {"model": "openai:b"}]},
    }
    config = load_config({"model": "scripted:echo", "aliases": aliases, **OFF})
    for ask in (resolve, look_up):
        with pytest.raises(ConfigError, match=r"'openai' is switched off .* openai\.enabled") as caught:
            ask(name, config)
        assert "FARM_OPENAI__ENABLED=true" in str(caught.value)


def test_a_place_and_an_alternate_that_are_off_are_left_out_with_the_reason() -> None:
    alias = {"deployments": [{"model": "openai:a"}, {"model": "echo"}], "fallback": ["openai:b", "count-3"]}
    found = look_up("a", load_config({"model": "scripted:echo", "aliases": {"a": alias}, **OFF}))
    assert (found.ref, found.route.deployments) == (ModelRef("scripted", "echo"), ())
    assert found.route.alternates == (ModelRef("scripted", "count-3"),)
    assert [str(ref) for ref in found.skipped] == ["openai:a", "openai:b"]
    assert all("openai.enabled" in reason for reason in found.skipped.values())


# Precedence


NAMES = ("openai", "smart", "scripted", "gpt", "llama3.2")
TARGETS = ("openai:a", "llamacpp:b", "scripted:c", "ollama:d")


@settings(deadline=None)
@given(
    name=st.one_of(st.none(), st.sampled_from((*NAMES, *TARGETS))),
    aliases=st.dictionaries(st.sampled_from(NAMES[:4]), st.sampled_from(TARGETS)),
    routing=st.one_of(st.none(), st.sampled_from((*NAMES[:1], *TARGETS))),
    model=st.sampled_from((*NAMES[:1], *TARGETS)),
)
def test_explicit_beats_alias_beats_routing_beats_model(
    name: str | None, aliases: dict[str, str], routing: str | None, model: str
) -> None:
    def meant(text: str) -> ModelRef | None:
        if ":" in text:
            return ModelRef(*text.split(":"))
        if text in aliases:
            return meant(aliases[text])
        return ModelRef(text, AUTO) if text in ("openai", "scripted") else None

    routes = {} if routing is None else {"development": routing}
    config = FarmConfig(environment="development", model=model, routing=routes, aliases=aliases)  # type: ignore[arg-type]  # pydantic reads texts
    default = meant(routing or model)
    assert default is not None
    expected = default if name is None else meant(name) or ModelRef(default.provider, name)
    assert resolve(name, config) == look_up(name, config).ref == expected
