"""Reads the settings, and says in one sentence what is wrong with each that is not valid."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from farm_notebook.config.settings import ENV_PREFIX, FarmConfig
from farm_notebook.config.values import Section
from farm_notebook.errors import ConfigError

__all__ = ["load_config"]


def load_config(overrides: Mapping[str, Any] | None = None) -> FarmConfig:
    """Read the settings; ``overrides`` win over the environment.

    Raises:
        ConfigError: Naming each bad setting, its value and what is valid.
    """
    overrides = dict(overrides or {})
    unknown = sorted(set(overrides) - set(FarmConfig.model_fields))
    if unknown:
        raise ConfigError(
            f"Unknown setting {unknown[0]!r}. Valid settings: {', '.join(sorted(FarmConfig.model_fields))}."
        )
    try:
        return FarmConfig(**overrides)
    except ValidationError as error:
        raise ConfigError(_explain(error, overrides)) from None
    except SettingsError:
        raise ConfigError(_explain_sections()) from None


def _explain_sections() -> str:
    """One sentence for each variable that should hold a whole section as JSON, and does not."""
    sentences = []
    for name, field in FarmConfig.model_fields.items():
        section, variable = field.annotation, f"{ENV_PREFIX}{name.upper()}"
        if name == "endpoints" and os.environ.get(variable):
            sentences.append(
                f"{variable} is not valid: it takes a JSON object of endpoints by name; or set one setting "
                f"of one endpoint, as in {variable}__GROQ__BASE_URL."
            )
        if isinstance(section, type) and issubclass(section, Section) and (text := os.environ.get(variable)):
            example = next(iter(section.model_fields)).upper()
            sentences.append(
                f"{variable}={text!r} is not valid: it takes a JSON object; or set one setting, as in "
                f"{variable}__{example}."
            )
    return " ".join(sentences)


def _explain(error: ValidationError, overrides: Mapping[str, Any]) -> str:
    """One sentence for each bad setting: where it was set, what it was, what is wrong with it."""
    sentences = []
    for problem in error.errors():
        path = [str(part) for part in problem["loc"] if part != "[key]"]
        variable = ENV_PREFIX + "__".join(path).upper()
        in_environment = path[0] not in overrides and variable in {name.upper() for name in os.environ}
        source = variable if in_environment else ".".join(path)
        what = source if _may_be_secret(path[-1], problem["input"]) else f"{source}={problem['input']!r}"
        words = problem["msg"].removeprefix("Value error, ")
        if path[-1] == "api_key":
            words = "a key is no setting; name the variable that holds it with api_key_env"
        sentences.append(f"{what} is not valid: {words}.")
    return " ".join(sentences)


def _may_be_secret(name: str, value: object) -> bool:
    """Whether a rejected value is better not shown: a key in the wrong place, or one in a URL."""
    is_named_so = re.search(r"key|token(?!s)|secret|passw|auth", name, re.IGNORECASE) is not None
    return (is_named_so and not isinstance(value, int | float)) or "@" in str(value)
