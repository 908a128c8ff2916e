"""Variables that other programs know set settings too, and are weaker than ours of the same source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from farm_notebook.config import FarmConfig, load_config
from farm_notebook.config.provenance import explain_settings

VARIABLES = [
    ("FARM_ENV", "production", "environment", "production", "FARM_ENVIRONMENT", "staging"),
    ("AI_DEFAULT_MODEL", "openai:gpt-4o", "model", "openai:gpt-4o", "FARM_MODEL", "scripted:echo"),
    ("AI_PROVIDER", "openai", "model", "openai", "FARM_MODEL", "scripted:echo"),
    ("AI_FALLBACK_PROVIDER", "ollama", "fallback.chain", ("ollama",), "FARM_FALLBACK__CHAIN", '["a"]'),
    ("AI_FALLBACK_PROVIDER", "ollama:a:b, openai", "fallback.chain", ("ollama:a:b", "openai"), "", ""),
    ("AI_RATE_LIMIT", "60", "limits.requests_per_minute", 60, "FARM_LIMITS__REQUESTS_PER_MINUTE", "5"),
    ("OLLAMA_URL", "http://a:1", "ollama.url", "http://a:1", "FARM_OLLAMA__URL", "http://b:1"),
    ("OLLAMA_HOST", "0.0.0.0", "ollama.url", "0.0.0.0", "FARM_OLLAMA__URL", "http://b:1"),
    (
        "OPENAI_BASE_URL",
        "http://a/v1",
        "openai.base_url",
        "http://a/v1",
        "FARM_OPENAI__BASE_URL",
        "http://b/v1",
    ),
    ("OPENAI_ORG_ID", "org", "openai.organization", "org", "FARM_OPENAI__ORGANIZATION", "other"),
    ("OPENAI_PROJECT_ID", "a", "openai.project", "a", "FARM_OPENAI__PROJECT", "b"),
]


def setting(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = getattr(config, name)
    return config


@pytest.mark.parametrize(("name", "text", "path", "value", "ours", "stronger"), VARIABLES)
def test_a_variable_of_others_works_from_everywhere_and_yields_to_ours(
    name: str,
    text: str,
    path: str,
    value: object,
    ours: str,
    stronger: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (project / "farm.toml").write_text("[ollama]\nurl = 'http://toml:1'\n")
    dotenv = project / ".env"
    dotenv.write_text(f"{name}={text}\n")
    assert setting(load_config(), path) == value
    if ours:
        dotenv.write_text(f"{name}={text}\n{ours}='{stronger}'\n")
        assert setting(load_config(), path) == setting(load_config({}), path) != value
    monkeypatch.setenv(name, f" {text} ")
    assert setting(load_config(), path) == value, "the environment is stronger than a file"
    if ours:
        monkeypatch.setenv(ours, stronger)
        assert setting(load_config(), path) != value


@pytest.mark.parametrize("name", [row[0] for row in VARIABLES])
def test_an_empty_variable_of_others_sets_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, " ")
    assert load_config() == FarmConfig()


@pytest.mark.parametrize(
    ("environment", "special", "general", "model"),
    [
        ("", "", "provider=openai model=gpt-4o-mini", "openai:gpt-4o-mini"),
        ("provider=ollama model=llama3.1:8b", "", "", "ollama:llama3.1:8b"),
        ("provider=openai model=openai:gpt-4o", "", "", "openai:gpt-4o"),
        ("provider=openai model=openai/gpt-4o", "", "", "openai/gpt-4o"),
        ("model=gpt-4o", "", "provider=openai model=gpt-4o-mini", "openai:gpt-4o"),
        ("model=gpt-4o", "provider=azure", "provider=openai", "azure:gpt-4o"),
        ("provider=openai", "model=gpt-4o", "", "openai:gpt-4o"),
        ("provider=ollama", "", "provider=openai model=gpt-4o-mini", "ollama"),
        ("provider=openai", "", "provider=openai model=gpt-4o-mini", "openai:gpt-4o-mini"),
        ("provider=openai", "", "", "openai"),
        ("", "model=ollama:a", "provider=openai model=b", "ollama:a"),
    ],
)
def test_provider_and_model_of_others_belong_together(
    environment: str,
    special: str,
    general: str,
    model: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = {"provider": "AI_PROVIDER", "model": "AI_DEFAULT_MODEL"}

    def variables(text: str) -> dict[str, str]:
        return {names[name]: value for name, _, value in (word.partition("=") for word in text.split())}

    for name, value in variables(environment).items():
        monkeypatch.setenv(name, value)
    for file, text in ((".env.development", special), (".env", general)):
        (project / file).write_text("".join(f"{name}={value}\n" for name, value in variables(text).items()))
    assert load_config().model == model


def test_both_variables_are_told_as_the_origin(project: Path) -> None:
    (project / ".env").write_text("AI_PROVIDER=openai\nAI_DEFAULT_MODEL=gpt-4o-mini\n")
    (model,) = [origin for origin in explain_settings() if origin.key == "model"]
    assert model.place == f"{project / '.env'}: AI_PROVIDER and AI_DEFAULT_MODEL"
