"""Settings come from variables, arguments win, and a bad one is named with its value."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from farm_notebook.config import (
    AUTO,
    DisplayConfig,
    EndpointConfig,
    FarmConfig,
    LlamaCppConfig,
    TimeoutConfig,
    load_config,
)
from farm_notebook.errors import ConfigError


def message_of(overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides)
    return str(caught.value)


def test_without_settings_the_defaults_hold() -> None:
    config = load_config()
    assert config.model == AUTO
    assert config.offline is False
    assert config.llamacpp.threads >= 1
    assert config.timeouts == TimeoutConfig(connect_s=10, first_event_s=300, idle_s=120, total_s=None)
    assert config.models_dir == config.cache_dir / "models"


@pytest.mark.parametrize(
    ("variable", "text", "path", "value"),
    [
        ("FARM_MODEL", "scripted:echo", "model", "scripted:echo"),
        ("FARM_OFFLINE", "1", "offline", True),
        ("FARM_OFFLINE", "false", "offline", False),
        ("FARM_CACHE_DIR", "/tmp/cache", "cache_dir", Path("/tmp/cache")),
        ("FARM_LLAMACPP__THREADS", "4", "llamacpp.threads", 4),
        ("FARM_LLAMACPP__CONTEXT_TOKENS", "512", "llamacpp.context_tokens", 512),
        ("FARM_TIMEOUTS__IDLE_S", "1.5", "timeouts.idle_s", 1.5),
        ("FARM_DISPLAY__LIVE", "no", "display.live", False),
        ("farm_model", "scripted:echo", "model", "scripted:echo"),
    ],
)
def test_a_variable_sets_its_setting(
    variable: str, text: str, path: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    found: Any = load_config()
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value


def test_a_nested_variable_leaves_its_neighbours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_TIMEOUTS__IDLE_S", "7")
    assert load_config().timeouts == TimeoutConfig(idle_s=7)


def test_an_override_is_stronger_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_MODEL", "scripted:count-3")
    assert load_config({"model": "scripted:echo"}).model == "scripted:echo"
    assert load_config().model == "scripted:count-3"


def test_an_override_may_be_a_section_or_a_mapping() -> None:
    section = DisplayConfig(live=False)
    assert load_config({"display": section}).display == section
    assert load_config({"display": {"live": False}}).display == section


def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_YIELD", "12 t")
    assert load_config() == FarmConfig()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FARM_OFFLINE", "perhaps"),
        ("FARM_MODEL", ""),
        ("FARM_LLAMACPP__THREADS", "many"),
        ("FARM_LLAMACPP__THREADS", "0"),
        ("FARM_TIMEOUTS__IDLE_S", "-1"),
        ("FARM_DISPLAY__REPAINT_S", "99"),
    ],
)
def test_a_bad_variable_is_named_with_its_value(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert f"{variable}={value!r} is not valid: " in message_of()


def test_every_bad_setting_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_OFFLINE", "perhaps")
    message = message_of({"display": {"repaint_s": 99}})
    assert "FARM_OFFLINE='perhaps'" in message
    assert "display.repaint_s=99" in message
    assert "less than or equal to 2" in message


def test_a_bad_override_is_not_blamed_on_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_OFFLINE", "1")
    message = message_of({"offline": "perhaps"})
    assert "offline='perhaps' is not valid" in message
    assert "FARM_OFFLINE" not in message


def test_an_unknown_setting_is_quoted_and_the_valid_ones_are_listed() -> None:
    message = message_of({"modell": "scripted:echo"})
    assert "'modell'" in message
    assert all(name in message for name in FarmConfig.model_fields)


def test_an_unknown_setting_of_a_section_is_named() -> None:
    assert "display.colour='red'" in message_of({"display": {"colour": "red"}})


def test_an_unknown_variable_of_a_section_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_DISPLAY__COLOUR", "red")
    assert "FARM_DISPLAY__COLOUR='red'" in message_of()


def test_a_section_that_is_not_json_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_TIMEOUTS", "ten seconds")
    message = message_of()
    assert "FARM_TIMEOUTS" in message
    assert "ten seconds" in message


def test_an_error_does_not_show_the_validator_behind_it() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config({"offline": "perhaps"})
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("section", "name"),
    [
        (FarmConfig(), "model"),
        (LlamaCppConfig(), "threads"),
        (TimeoutConfig(), "idle_s"),
        (DisplayConfig(), "live"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_settings_cannot_be_changed(section: Any, name: str) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(section, name, getattr(section, name))


def test_equal_settings_are_equal_whatever_they_were_given_as() -> None:
    """Farms with equal settings share their providers; settings with mappings in them have no hash."""
    endpoint = {"base_url": "http://localhost:8000/v1", "headers": {"x-team": "a"}}
    given = {"model": "scripted:echo", "timeouts": {"idle_s": 3}, "endpoints": {"near": endpoint}}
    one, same = load_config(given), load_config(given | {"timeouts": TimeoutConfig(idle_s=3)})
    assert one == same
    assert one != load_config(given | {"timeouts": {"idle_s": 4}})
    assert one != load_config(given | {"endpoints": {"near": endpoint | {"headers": {}}}})


def test_what_concerns_no_provider_does_not_tell_providers_apart() -> None:
    plain = load_config().for_providers()
    policies = {
        "model": "scripted:echo",
        "seed": 7,
        "routing": {"production": "scripted:count"},
        "aliases": {"fast": "scripted:echo"},
        "retry": {"attempts": 1},
        "fallback": {"chain": ["fast"]},
        "breaker": {"failures": 2},
        "limits": {"concurrency": 3, "per": {"openai": {"requests_per_minute": 1}}},
        "budget": {"cost_per_day": 1},
        "prices": {"scripted": {"input": 1, "output": 2}},
        "redis": {"url": "redis://localhost"},
        "cache": {"ttl_s": 5},
        "cassette": {"mode": "auto"},
        "history": {"texts": False},
        "health": {"ttl_s": 1},
        "telemetry": {"enabled": False},
        "display": {"live": False},
        "models": {"evict": True},
    }
    assert load_config(policies).for_providers() == plain
    providers = {
        "environment": "production",
        "cache_dir": "/elsewhere",
        "offline": True,
        "timeouts": {"connect_s": 1},
        "llamacpp": {"parallel": 1},
        "ollama": {"url": "http://far:1"},
        "openai": {"api": "responses"},
        "huggingface": {"device": "cpu"},
        "endpoints": {"near": {"base_url": "http://near/v1"}},
    }
    for name, value in providers.items():
        changed = load_config(policies | {name: value}).for_providers()
        assert changed != plain, name
        assert getattr(changed, name) == getattr(load_config({name: value}), name)
    assert policies.keys() | providers.keys() == FarmConfig.model_fields.keys(), (
        "or a new setting is in neither"
    )


# The page in docs/

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")
ENDPOINTS = json.loads("".join(re.findall(r"^```json\n(.*?)^```", PAGE, re.M | re.S)))


@pytest.mark.parametrize("name", ENDPOINTS)
def test_an_endpoint_of_the_page_can_be_copied(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_ENDPOINTS", json.dumps({name: ENDPOINTS[name]}))
    endpoint = load_config().endpoints[name]
    told = endpoint.model_dump(exclude_unset=True)
    told |= {"lacks": sorted(told["lacks"])} if "lacks" in told else {}
    assert told == ENDPOINTS[name]


def test_every_way_of_the_page_to_name_an_endpoint_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    groq = {"groq": EndpointConfig(**ENDPOINTS["groq"])}
    as_json, one_by_one = (
        dict(re.findall(rf"^export ({name})='?(.*?)'?$", PAGE, re.M))
        for name in (r"FARM_ENDPOINTS", r"FARM_ENDPOINTS__\w+")
    )
    assert len(as_json) == 1
    assert len(one_by_one) == 2
    for variables in (as_json, one_by_one):
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            assert load_config().endpoints == groq
    (in_python,) = re.findall(r"Farm\(endpoints=(\{.*\})\)", PAGE)
    assert load_config({"endpoints": ast.literal_eval(in_python)}).endpoints == groq


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        ("OLLAMA_URL", "ollama.url"),
        ("OLLAMA_HOST", "ollama.url"),
        ("OPENAI_BASE_URL", "openai.base_url"),
        ("OPENAI_ORG_ID", "openai.organization"),
        ("OPENAI_PROJECT_ID", "openai.project"),
    ],
)
def test_a_variable_of_others_is_read_where_ours_is_not_set(
    variable: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    section, name = path.split(".")
    assert f"`{variable}`" in PAGE
    for foreign in ("OLLAMA_URL", "OLLAMA_HOST"):
        monkeypatch.delenv(foreign, raising=False)
    monkeypatch.setenv(variable, " http://far:1/v1 ")
    assert getattr(getattr(load_config(), section), name) == "http://far:1/v1"
    monkeypatch.setenv(f"FARM_{section}__{name}".upper(), "http://near:1/v1")
    assert getattr(getattr(load_config(), section), name) == "http://near:1/v1"


def test_the_first_of_two_variables_of_others_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_URL", "http://one:1")
    monkeypatch.setenv("OLLAMA_HOST", "http://two:2")
    assert load_config().ollama.url == "http://one:1"
    monkeypatch.setenv("OLLAMA_URL", "")
    assert load_config().ollama.url == "http://two:2"


# Endpoints


@pytest.mark.parametrize(
    ("endpoints", "said"),
    [
        (
            {"Groq": {"base_url": "http://x/v1"}},
            "endpoints.Groq='Groq' is not valid: a name has small letters",
        ),
        ({"9b": {"base_url": "http://x/v1"}}, "begins with a letter"),
        ({"openai": {"base_url": "http://x/v1"}}, "taken by a setting or by another provider"),
        ({"cache_dir": {"base_url": "http://x/v1"}}, "taken by a setting or by another provider"),
        ({"scripted": {"base_url": "http://x/v1"}}, "taken by a setting or by another provider"),
        ({"groq": {}}, "endpoints.groq.base_url"),
        ({"groq": {"base_url": "api.groq.com"}}, "base_url='api.groq.com' is not valid: it takes an address"),
        ({"groq": {"base_url": "ftp://x/v1"}}, "it takes an address"),
        ({"groq": {"base_url": "http://x/v1?api-version=1"}}, "belong into the setting query"),
        ({"groq": {"base_url": "http://x/v1", "api": "grpc"}}, "endpoints.groq.api='grpc'"),
    ],
)
def test_a_bad_endpoint_is_named_with_what_is_valid(endpoints: dict[str, Any], said: str) -> None:
    assert said in message_of({"endpoints": endpoints})


@pytest.mark.parametrize(
    "endpoint",
    [
        {"api_key_env": "sk-do-not-show-this"},
        {"api_key": "sk-do-not-show-this"},
        {"base_url": "https://me:sk-do-not-show-this@x/v1"},
    ],
    ids=str,
)
def test_a_key_in_the_wrong_place_is_not_shown(endpoint: dict[str, Any]) -> None:
    message = message_of({"endpoints": {"groq": {"base_url": "http://x/v1"} | endpoint}})
    assert "do-not-show" not in message
    assert "api_key_env" in message


def test_endpoints_that_are_not_json_are_not_shown_but_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_ENDPOINTS", "sk-do-not-show-this")
    message = message_of()
    assert "FARM_ENDPOINTS__GROQ__BASE_URL" in message
    assert "do-not-show" not in message


def test_a_base_url_loses_its_last_slashes() -> None:
    endpoints = {"a-b_1": {"base_url": "http://x/v1//"}}
    assert load_config({"endpoints": endpoints}).endpoints["a-b_1"].base_url == "http://x/v1"
