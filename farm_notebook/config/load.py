"""Reads the settings from wherever they are set.

Strongest first: arguments; variables of the environment; those in ``.env.{environment}``; those in ``.env``;
``farm.toml``, or ``[tool.farm]`` of a ``pyproject.toml``; the user's own ``farm.toml``; the defaults.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from farm_notebook.config import files
from farm_notebook.config.layers import Sources, gather
from farm_notebook.config.masking import CARRIES_SECRETS, carries_key, without_keys
from farm_notebook.config.problems import explain
from farm_notebook.config.settings import FarmConfig
from farm_notebook.config.variables import KeyPath, unknown_variables
from farm_notebook.errors import ConfigError

__all__ = [
    "find_problems",
    "find_sources",
    "find_unknown",
    "find_warnings",
    "load_config",
    "load_with_sources",
]


def load_config(overrides: Mapping[str, Any] | None = None, *, folder: Path | None = None) -> FarmConfig:
    """Read the settings.

    Args:
        overrides: Stronger than all that is set elsewhere.
        folder: Where the search for files begins; the working folder where there is none.

    Raises:
        ConfigError: Naming each bad setting, where it stands, its value and what is valid.
    """
    return load_with_sources(overrides, folder=folder)[0]


def load_with_sources(
    overrides: Mapping[str, Any] | None = None, *, folder: Path | None = None
) -> tuple[FarmConfig, Sources]:
    """The same, with what each source said.

    Raises:
        ConfigError: As for ``load_config``.
    """
    sources, config, problems = _read(overrides, folder)
    if config is None or problems:
        raise ConfigError(" ".join(problems)) from None
    return config, sources


def find_problems(overrides: Mapping[str, Any] | None = None, *, folder: Path | None = None) -> list[str]:
    """All that ``load_config`` would complain of, a sentence each."""
    return _read(overrides, folder)[2]


def find_sources(*, folder: Path | None = None) -> list[str]:
    """The variables and files that settings are read from, strongest first."""
    sources = gather({}, folder if folder is not None else files.working_folder())
    names = [
        name for layer in sources.layers if layer.source == "environment" for name in layer.names.values()
    ]
    variables = [f"the environment: {', '.join(sorted(names))}"] if names else []
    return [*variables, *map(str, sources.files)]


def find_unknown(*, folder: Path | None = None) -> list[tuple[str, str]]:
    """The variables, of the environment and of files, that look like a setting and set nothing.

    Returns:
        Where each stands and its name; and the name that may have been meant, or nothing.
    """
    sources = gather({}, folder if folder is not None else files.working_folder())
    unknown = unknown_variables(os.environ)
    for dotenv in sources.dotenvs:
        found = unknown_variables({name for name, _ in dotenv.bindings})
        unknown += [(f"{dotenv.path}: {name}", meant) for name, meant in found]
    return unknown


def find_warnings(*, folder: Path | None = None) -> list[str]:
    """What is valid and may yet be a mistake, a sentence each: names that set nothing, files not read,
    keys in the wrong place.
    """
    folder = folder if folder is not None else files.working_folder()
    warnings = [
        f"{place} sets nothing.{f' Did you mean {meant}?' if meant else ''}"
        for place, meant in find_unknown(folder=folder)
    ]
    sources = gather({}, folder)
    warnings += _keys_in_settings(sources)
    for dotenv in sources.dotenvs:
        warnings += [f"{dotenv.path}, line {line}: it is no binding." for line, _ in dotenv.broken]
    with contextlib.suppress(ConfigError):  # of which `find_problems` tells
        if folder is not None and (beside := files.find_overruled(folder)) is not None:
            warnings.append(f"{beside} is not read: a {files.FARM_TOML} stands beside it.")
    return warnings


def _keys_in_settings(sources: Sources) -> Iterator[str]:
    """Where a key seems to stand in a header or a parameter; it is not quoted."""
    for layer in sources.layers:
        for path, value in _carried(layer.values):
            if carries_key(path[-1], value):
                place = without_keys(layer.place(path))
                yield (
                    f"{place}: that looks like a key, which is no setting. Put it into a variable; name "
                    "that with api_key_env, and the header with api_key_header."
                )


def _carried(values: Mapping[str, Any]) -> Iterator[tuple[KeyPath, object]]:
    """The headers and parameters among the settings of one source, whether these are valid or not."""
    for section in (("openai",), *(("endpoints", name) for name in _at(values, ("endpoints",)))):
        for kind in CARRIES_SECRETS:
            path = (*section, kind)
            for name, value in _at(values, path).items():
                yield (*path, str(name)), value


def _at(values: Any, path: KeyPath) -> Mapping[str, Any]:
    """The mapping at a place, or an empty one."""
    for key in path:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values if isinstance(values, Mapping) else {}


def _read(
    overrides: Mapping[str, Any] | None, folder: Path | None
) -> tuple[Sources, FarmConfig | None, list[str]]:
    folder = folder if folder is not None else files.working_folder()
    files.remember(folder)
    sources = gather(dict(overrides or {}), folder)
    problems = list(sources.problems)
    try:
        return sources, FarmConfig.model_validate(sources.merged()), problems
    except ValidationError as error:
        return sources, None, [*problems, *explain(error, sources)]
