"""Settings come from the environment, overrides win, and a bad one is named with its value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from farm_notebook.config import (
    DEFAULT_MODEL,
    DisplayConfig,
    FarmConfig,
    LlamaCppConfig,
    TimeoutConfig,
    load_config,
)
from farm_notebook.errors import ConfigError


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.upper().startswith("FARM_")]:
        monkeypatch.delenv(name)


def message_of(overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides)
    return str(caught.value)


def test_without_settings_the_defaults_hold() -> None:
    config = load_config()
    assert config.model == DEFAULT_MODEL
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


def test_equal_settings_are_equal_keys() -> None:
    one, same = (load_config({"model": "scripted:echo", "timeouts": {"idle_s": 3}}) for _ in range(2))
    other = load_config({"model": "scripted:echo", "timeouts": {"idle_s": 4}})
    assert one == same
    assert hash(one) == hash(same)
    assert len({one, same, other}) == 2
