"""Every setting is told with its value and where it came from."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from farm_notebook.config import FarmConfig, load_config
from farm_notebook.config.provenance import SettingOrigin, explain_settings


def origin(key: str) -> SettingOrigin:
    (found,) = [one for one in explain_settings() if one.key == key]
    return found


def test_without_settings_every_one_is_a_default() -> None:
    origins = explain_settings()
    assert {one.source for one in origins} == {"default"}
    keys = [one.key for one in origins]
    assert len(keys) == len(set(keys))
    for name in FarmConfig.model_fields:
        assert any(key == name or key.startswith(f"{name}.") for key in keys), name


def test_every_setting_is_told_and_its_value_is_the_one_that_holds() -> None:
    def count(section: BaseModel) -> int:
        values = [getattr(section, name) for name in type(section).model_fields]
        return sum(count(value) if isinstance(value, BaseModel) else 1 for value in values)

    origins = explain_settings()
    assert len(origins) == count(load_config())
    told = {one.key: one.value for one in origins}
    assert told["cache.ttl_s"] == 3600
    assert told["timeouts.total_s"] is None


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("user", "{user}: cache.ttl_s"),
        ("project", "{project}/farm.toml: cache.ttl_s"),
        ("dotenv", "{project}/.env: FARM_CACHE__TTL_S"),
        ("environment", "FARM_CACHE__TTL_S"),
    ],
)
def test_each_source_is_named_with_the_weaker_ones_that_had_no_effect(
    source: str, place: str, project: Path, user_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def named(place: str) -> str:
        return place.format(user=user_file, project=project)

    weaker: list[str] = []
    user_file.write_text("[cache]\nttl_s = 1\n")
    if source != "user":
        (project / "farm.toml").write_text("[cache]\nttl_s = 2\n")
        weaker.insert(0, named("{user}: cache.ttl_s"))
    if source in ("dotenv", "environment"):
        (project / ".env").write_text("FARM_CACHE__TTL_S=3\n")
        weaker.insert(0, named("{project}/farm.toml: cache.ttl_s"))
    if source == "environment":
        monkeypatch.setenv("FARM_CACHE__TTL_S", "4")
        weaker.insert(0, named("{project}/.env: FARM_CACHE__TTL_S"))
    found = origin("cache.ttl_s")
    assert (found.source, found.place, found.weaker) == (source, named(place), tuple(weaker))
    assert origin("cache.enabled").source == "default"


def test_an_argument_is_named_by_its_key() -> None:
    (found,) = [one for one in explain_settings({"cache": {"ttl_s": 5}}) if one.source != "default"]
    assert found == SettingOrigin("cache.ttl_s", 5, "arguments", "cache.ttl_s")


def test_a_variable_of_a_whole_section_is_the_origin_of_what_it_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_CACHE", '{"ttl_s": 5}')
    assert origin("cache.ttl_s").place == "FARM_CACHE: ttl_s"
    assert origin("cache.enabled").source == "default"


def test_what_stands_in_a_mapping_is_told_one_by_one(project: Path) -> None:
    (project / "farm.toml").write_text(
        "[aliases]\nfast = 'scripted:echo'\n'gpt-4.1' = 'openai:gpt-4.1'\n"
        "[prices.'openai:gpt-4o']\ninput = 1\noutput = 2\n[routing]\nproduction = 'fast'\n"
    )
    for key, value in {
        "aliases.fast.model": "scripted:echo",
        'aliases."gpt-4.1".model': "openai:gpt-4.1",
        'prices."openai:gpt-4o".output': 2,
        "routing.production": "fast",
    }.items():
        found = origin(key)
        assert (found.value, found.place) == (value, f"{project / 'farm.toml'}: {key}")


def test_nothing_that_may_be_secret_is_told(project: Path) -> None:
    (project / "farm.toml").write_text(
        "[openai]\nheaders = {x-key = 'do-not-show'}\nquery = {key = 'do-not-show'}\n"
        "[ollama]\nurl = 'http://me:do-not-show@far:1'\n[endpoints.x]\nbase_url = 'http://x/v1'\n"
        "headers = {a = 'do-not-show'}\n"
        "[aliases.a]\nmodel = 'x'\nparameters.extra = {token = 'do-not-show'}\n"
    )
    assert "do-not-show" not in repr(explain_settings())
    assert origin("openai.headers.x-key").value == "***"
    assert origin("openai.api_key_env").value == "OPENAI_API_KEY"
