"""Converts a configuration of the JavaScript framework FARM into settings.

No key is ever taken over: a setting gets the name of the variable that holds it, and a key that stands in the
configuration itself is warned of. What has no counterpart is told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from farm_notebook.config.javascript import PROGRAMS, evaluate, find_node, placeholders
from farm_notebook.config.masking import masked
from farm_notebook.config.problems import near
from farm_notebook.config.settings import FarmConfig
from farm_notebook.errors import ConfigError

__all__ = ["Imported", "convert", "import_file"]

_NAMES: Mapping[str, Mapping[str, str]] = {  # ours, by the other's
    "ollama": {
        "enabled": "enabled",
        "url": "url",
        "defaultModel": "default_model",
        "autoStart": "auto_start",
        "autoPull": "auto_pull",
    },
    "openai": {"enabled": "enabled", "url": "base_url", "defaultModel": "default_model"},
    "huggingface": {"enabled": "enabled", "defaultModel": "default_model", "device": "device"},
}
_LIMITS = {
    "requestsPerMinute": "requests_per_minute",
    "tokensPerMinute": "tokens_per_minute",
    "concurrency": "concurrency",
}
_SWITCHES = ("enabled", "autoStart", "autoPull")
_KEYS = ("apiKey", "token")
_HUB_TOKENS = ("HF_TOKEN", "HUGGINGFACE_TOKEN")
_WRITTEN_OUT = re.compile(
    r"(?:process\.env\.|\$)\{?([A-Z_][A-Z0-9_]*)\}?|\$\{process\.env\.([A-Z_][A-Z0-9_]*)\}"
)


@dataclass(slots=True)
class Imported:
    """What came of it.

    Args:
        values: The settings, nested.
        notes: What was left out or changed, and why.
        warnings: What the user must do something about.
    """

    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def set(self, section: str, key: str, value: Any) -> None:
        """Set one setting, unless there may be a secret in it."""
        if masked((section, key), value) != value:
            self.warnings.append(f"{section}.{key} was left out: there may be a key in it.")
            return
        self.values.setdefault(section, {})[key] = value


def import_file(path: Path, *, node: str | None = None) -> Imported:
    """Read a configuration; a program is run, twice.

    Args:
        path: A ``.json``, ``.js``, ``.mjs`` or ``.cjs``.
        node: Who runs a program; by default the one that a shell would.

    Raises:
        ConfigError: It cannot be read or run, or is none.
    """
    if path.suffix == ".json":
        try:
            whole = json.loads(path.read_text("utf-8-sig"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read as JSON: {error}.") from None
        return convert(whole, whole)
    if path.suffix not in PROGRAMS:
        raise ConfigError(f"{path} cannot be imported. Valid are files in .json, {', '.join(PROGRAMS)}.")
    if not path.is_file():
        raise ConfigError(f"There is no file {path}.")
    if (node := node or find_node()) is None:
        raise ConfigError(f"{path} is a program, and node, which could run it, is not on the PATH.")
    return convert(
        evaluate(path, node, with_placeholders=True), evaluate(path, node, with_placeholders=False)
    )


def convert(placed: Any, bare: Any) -> Imported:
    """The settings that a configuration means.

    Args:
        placed: The configuration, with placeholders where it uses variables.
        bare: The same where no variable is set.

    Raises:
        ConfigError: It has no ``ai``.
    """
    if not isinstance(placed, Mapping) or not isinstance(placed.get("ai"), Mapping):
        raise ConfigError("The configuration has no object `ai`, in which FARM has what can be converted.")
    imported = Imported()
    _leave(imported, "", placed, ("ai",))
    ai, without = placed["ai"], _mapping(bare, "ai")
    _leave(imported, "ai.", ai, ("providers", "routing", "features"))
    for name, provider in _mapping(ai, "providers").items():
        if name in _NAMES and isinstance(provider, Mapping):
            _provider(imported, name, provider, _mapping(_mapping(without, "providers"), name))
        else:
            imported.notes.append(
                f"ai.providers.{name} has no counterpart.{near(name, _NAMES)} A server of OpenAI's protocol "
                "goes under [endpoints]."
            )
    _routing(imported, _mapping(ai, "routing"), _mapping(without, "routing"))
    _features(imported, _mapping(ai, "features"), _mapping(without, "features"))
    _drop_what_is_not_valid(imported)
    return imported


def _provider(imported: Imported, name: str, placed: Mapping[str, Any], bare: Mapping[str, Any]) -> None:
    where, names = f"ai.providers.{name}", _NAMES[name]
    found = {
        key: _settled(imported, f"{where}.{key}", placed.get(key), bare.get(key))
        for key in (*names, "models")
    }
    for key in _SWITCHES:
        may_be = (bool, list) if key == "autoPull" else (bool,)
        if found.get(key) is not None and not isinstance(found[key], may_be):
            imported.notes.append(
                f"{where}.{key} is {masked((where,), found[key])!r}, which is neither true nor false, and "
                "was left out."
            )
            found[key] = None  # JavaScript takes "no" for true, and we would take it for false
    pulls, models = found.get("autoPull"), found["models"]
    for key, ours in names.items():
        if found[key] is not None:  # what to pull is a list there, and then it does pull
            imported.set(name, ours, True if key == "autoPull" and isinstance(pulls, list) else found[key])
    for key in _KEYS:
        if placed.get(key):
            _secret(imported, f"{where}.{key}", name, placed[key])
    if isinstance(pulls, list):
        imported.set(name, "pull", pulls)
    if isinstance(models, list) and models and all(isinstance(model, str) for model in models):
        first = models[0]
        if name == "ollama" and pulls is True:
            imported.set(name, "pull", models)
        elif "default_model" not in imported.values.get(name, {}):
            imported.set(name, "default_model", first)
            imported.notes.append(
                f"{where}.models: the first one, {masked((where,), first)!r}, became default_model."
            )
        else:
            imported.notes.append(f"{where}.models has no counterpart: a provider is asked what it has.")
    _leave(imported, f"{where}.", placed, (*names, *_KEYS, "models"))


def _secret(imported: Imported, where: str, provider: str, value: Any) -> None:
    """The variable that holds a key; never the key."""
    usual = FarmConfig.model_fields[provider].default
    default = _HUB_TOKENS[0] if provider == "huggingface" else usual.api_key_env
    variable = _variable(value)
    if variable is None:
        imported.warnings.append(
            f"{where} holds a key itself, which was not taken over. Keep it with "
            f"`farm config set-key {default}` or in a file .env, and take it out of there."
        )
    elif provider == "huggingface":
        if variable not in _HUB_TOKENS:
            imported.warnings.append(
                f"{where} is read from {variable}; here it is from {' or '.join(_HUB_TOKENS)}."
            )
    elif variable != default:
        imported.set(provider, "api_key_env", variable)


def _variable(value: Any) -> str | None:
    """The variable that a text stands for, as a whole."""
    if not isinstance(value, str):
        return None
    if (names := placeholders(value)) and value == f"\x01env:{names[0]}\x01":
        return str(names[0])
    found = _WRITTEN_OUT.fullmatch(value.strip())
    return (found[1] or found[2]) if found else None


def _settled(imported: Imported, where: str, placed: Any, bare: Any) -> Any:
    """A value as it is without variables, where it depends on some."""
    if placed == bare:
        if placed is not None and _variable(placed) is not None:
            imported.notes.append(f"{where} is a variable's, and was left out.")
            return None
        return placed
    names = placeholders(placed)
    of = f"the variable{'s' * (len(names) > 1)} {', '.join(names)}" if names else "variables"
    # Whether there is a key is seen when it is needed; and what is made of a variable is nothing without it.
    if isinstance(placed, bool) or (names and _variable(placed) is None):
        bare = None
    was = "was left out" if bare is None else f"is {masked((where,), bare)!r} here, as it is without"
    imported.notes.append(f"{where} depends on {of}, and {was}.")
    return bare


def _routing(imported: Imported, placed: Mapping[str, Any], bare: Mapping[str, Any]) -> None:
    for environment, found in placed.items():
        where = f"ai.routing.{environment}"
        target = _settled(imported, where, found, bare.get(environment))
        if isinstance(target, Mapping) and isinstance(target.get("provider"), str):
            model = target.get("model")
            target = f"{target['provider']}:{model}" if model else target["provider"]
        if isinstance(target, str) and target:
            imported.set("routing", environment, target)
        elif target is not None:
            imported.notes.append(f"{where} names no provider or model, and was left out.")


def _features(imported: Imported, placed: Mapping[str, Any], bare: Mapping[str, Any]) -> None:
    for name, found in placed.items():
        where = f"ai.features.{name}"
        if (value := _settled(imported, where, found, bare.get(name))) is None:
            continue
        options = value if isinstance(value, Mapping) else {}
        is_on = options.get("enabled", True) if options else value
        match name:
            case "streaming" if isinstance(is_on, bool):
                imported.set("display", "live", is_on)
            case "caching" if isinstance(is_on, bool):
                imported.set("cache", "enabled", is_on)
                if isinstance(ttl := options.get("ttl"), int | float):
                    imported.set("cache", "ttl_s", ttl)
                    imported.notes.append(f"{where}.ttl={ttl} was taken for seconds: cache.ttl_s.")
            case "rateLimiting":
                _rate_limiting(imported, where, value, options)
            case "fallback" if isinstance(is_on, bool):
                imported.set("fallback", "enabled", is_on)
                if is_on:
                    imported.notes.append(
                        f"{where} does not say whom to ask: name them, as in [fallback] chain = "
                        '["openai:gpt-4o-mini"]. Until then nobody else is asked.'
                    )
            case "fallback" if isinstance(value, str | list):
                imported.set("fallback", "chain", [value] if isinstance(value, str) else value)
            case "streaming" | "caching" | "fallback":
                shown = masked((where,), is_on)
                imported.notes.append(
                    f"{where} is {shown!r}, which is neither true nor false, and was left out."
                )
            case _:
                imported.notes.append(f"{where} has no counterpart.")
        _leave(imported, f"{where}.", options, ("enabled", "ttl", *_LIMITS))


def _rate_limiting(imported: Imported, where: str, value: Any, options: Mapping[str, Any]) -> None:
    found = {ours: options[theirs] for theirs, ours in _LIMITS.items() if theirs in options}
    if isinstance(value, int) and not isinstance(value, bool):
        found = {"requests_per_minute": value}
    for key, amount in found.items():
        imported.set("limits", key, amount)
    if not found and value is not False:
        imported.notes.append(
            f"{where} does not say how much: set it, as in [limits] requests_per_minute = 60. Until then "
            "there is no limit."
        )


def _drop_what_is_not_valid(imported: Imported) -> None:
    try:
        FarmConfig.model_validate(imported.values)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            section, key = (str(part) for part in problem["loc"][:2])
            imported.values[section].pop(key, None)
            words = problem["msg"].removeprefix("Value error, ")
            imported.notes.append(f"{section}.{key} was left out, as its value is not valid: {words}.")
    imported.values = {section: values for section, values in imported.values.items() if values}


def _leave(imported: Imported, prefix: str, found: Mapping[str, Any], known: tuple[str, ...]) -> None:
    imported.notes += [f"{prefix}{key} has no counterpart." for key in found if key not in known]


def _mapping(found: Any, key: str) -> Mapping[str, Any]:
    inner = found.get(key) if isinstance(found, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}
