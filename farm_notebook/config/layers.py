"""Gathers what every source sets, strongest first, and puts it together.

Each source is a layer. Mappings are put together key by key; of one key the strongest layer's value holds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from farm_notebook.config import files, variables
from farm_notebook.config.files import Dotenv
from farm_notebook.config.settings import FarmConfig
from farm_notebook.config.toml import as_key
from farm_notebook.errors import ConfigError

__all__ = ["Layer", "Source", "Sources", "gather", "merge"]

Source: TypeAlias = Literal["arguments", "environment", "dotenv", "project", "user", "default"]

_ENVIRONMENT = ("FARM_ENVIRONMENT", *variables.FOREIGN["environment",])
_A_NAME = re.compile(r"[\w.-]+")
_ABOUT_US = re.compile(r"\b(FARM|AI|OLLAMA|OPENAI|HF|HUGGINGFACE)_\w+")


@dataclass(frozen=True, slots=True)
class Layer:
    """What one source sets.

    Args:
        source: Which kind it is.
        values: The settings, nested.
        file: Where they stand, if in a file.
        names: The variables behind settings, where they come from variables.
        table: What stands before each key in the file.
    """

    source: Source
    values: Mapping[str, Any]
    file: Path | None = None
    names: Mapping[variables.KeyPath, str] = field(default_factory=dict)
    table: str = ""

    def sets(self, path: variables.KeyPath) -> bool:
        """Whether a setting stands here: itself, or the whole of what it is in."""
        found: Any = self.values
        for key in path:
            if not isinstance(found, Mapping):
                return True
            if key not in found:
                return False
            found = found[key]
        return True

    def name(self, path: variables.KeyPath) -> str:
        """How a setting is called here: the variable, or its key."""
        for depth in range(len(path), 0, -1):
            if (name := self.names.get(path[:depth])) is not None:
                return ": ".join((name, *([as_key(path[depth:])] if path[depth:] else [])))
        return self.table + as_key(path)

    def place(self, path: variables.KeyPath) -> str:
        """Where a setting stands: the file, if it is one, and its name there."""
        return f"{self.file}: {self.name(path)}" if self.file else self.name(path)


@dataclass(frozen=True, slots=True)
class Sources:
    """All that was found.

    Args:
        layers: Strongest first.
        problems: What could not be read, a sentence each.
        environment: Which one's files were read.
        files: Those that were read, strongest first.
        dotenvs: Those of them that hold variables.
    """

    layers: tuple[Layer, ...]
    problems: tuple[str, ...]
    environment: str
    files: tuple[Path, ...]
    dotenvs: tuple[Dotenv, ...]

    def origin(self, path: variables.KeyPath) -> Layer | None:
        """The layer whose value of a setting holds; ``None`` where it is the default."""
        return next((layer for layer in self.layers if layer.sets(path)), None)

    def merged(self) -> dict[str, Any]:
        """What all of them set together; where they contradict each other, the strongest."""
        values: dict[str, Any] = {}
        for layer in reversed(self.layers):
            values = merge(values, layer.values)
        return values


def gather(overrides: Mapping[str, Any], folder: Path | None) -> Sources:
    """Read every source. What cannot be read is a problem, and the others are read all the same.

    Args:
        overrides: What was said in so many words.
        folder: Where the search for files begins; ``None`` searches for none but the user's own.
    """
    reader = _Reader(folder)
    environ, dotenv = dict(os.environ), reader.dotenv()
    general = dotenv.variables() if dotenv else {}
    weakest = [*reader.project(), *reader.user()]
    environment = _environment(overrides, environ, general, weakest)
    chosen = reader.dotenv(environment)
    by_name: list[tuple[Source, Mapping[str, str], Path | None]] = [("environment", environ, None)]
    dotenvs = tuple(one for one in (chosen, dotenv) if one is not None)
    by_name += [("dotenv", one.variables() if one is not dotenv else general, one.path) for one in dotenvs]
    model = variables.choose_model([found for _, found, _ in by_name])
    layers = [Layer("arguments", overrides)] if overrides else []
    for index, (source, found, file) in enumerate(by_name):
        layers += _of_variables(source, found, file, model[1:] if model and model[0] == index else None)
    if chosen is not None:
        reader.refuse_another_environment(chosen, environment)
    return Sources(
        layers=_settled([*layers, *weakest], environment),
        problems=tuple(reader.problems),
        environment=environment,
        files=(*(one.path for one in dotenvs), *(layer.file for layer in weakest if layer.file)),
        dotenvs=dotenvs,
    )


class _Reader:
    """Reads files, and keeps what is wrong with them."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.problems: list[str] = []

    def dotenv(self, environment: str | None = None) -> Dotenv | None:
        if self.folder is None or (path := files.find_dotenv(self.folder, environment)) is None:
            return None
        try:
            found = files.read_dotenv(path)
        except ConfigError as error:
            self.problems.append(str(error))
            return None
        for line, text in found.broken:
            if name := _ABOUT_US.search(text):
                self.problems.append(
                    f"{path}, line {line}: it begins with {name[0]} and is no binding; write {name[0]}=VALUE."
                )
        return found

    def project(self) -> list[Layer]:
        if self.folder is None:
            return []
        try:
            found = files.find_project_file(self.folder)
        except ConfigError as error:
            self.problems.append(str(error))
            return []
        return [Layer("project", found.values, found.path, table=found.table)] if found else []

    def user(self) -> list[Layer]:
        path = files.user_file()
        try:
            return [Layer("user", files.read_toml(path), path)] if path.is_file() else []
        except ConfigError as error:
            self.problems.append(str(error))
            return []

    def refuse_another_environment(self, dotenv: Dotenv, environment: str) -> None:
        if (named := _named_environment(dotenv.variables())) not in (None, environment):
            self.problems.append(
                f"{dotenv.path}: {' or '.join(_ENVIRONMENT)}={named!r} is not valid: this file is read where "
                f"the environment is {environment!r}, and cannot change it."
            )


def _named_environment(found: Mapping[str, str]) -> str | None:
    return next((text for name in _ENVIRONMENT if (text := found.get(name, "").strip())), None)


def _environment(
    overrides: Mapping[str, Any], environ: Mapping[str, str], dotenv: Mapping[str, str], weakest: list[Layer]
) -> str:
    """Which one's dotenv file is read. Such a file has no say in it; a wrong value is refused later."""
    candidates = (
        overrides.get("environment"),
        _named_environment(environ),
        _named_environment(dotenv),
        *(layer.values.get("environment") for layer in weakest),
    )
    default = FarmConfig.model_fields["environment"].default
    return next((one for one in candidates if isinstance(one, str) and _A_NAME.fullmatch(one)), default)


def _of_variables(
    source: Source, found: Mapping[str, str], file: Path | None, model: tuple[str, str] | None
) -> Iterator[Layer]:
    ours, foreign = variables.settings_of(found), variables.foreign_settings(found)
    if model is not None:
        foreign[0]["model"], foreign[1]["model",] = model
    for values, names in (ours, foreign):
        if values:
            yield Layer(source, values, file, names)


def _settled(layers: list[Layer], environment: str) -> tuple[Layer, ...]:
    """The layers without what contradicts a stronger one in another way than by the same key.

    An alias has a model or deployments. A model set by a stronger source than the routing of this environment
    takes its place.
    """
    changed = [dict(layer.values) for layer in layers]
    meanings: dict[str, set[str]] = {}
    for values in changed:
        if isinstance(aliases := values.get("aliases"), Mapping):
            values["aliases"] = {
                name: _settled_alias(alias, name, meanings) for name, alias in aliases.items()
            }
    is_chosen = False
    for values in changed:
        if isinstance(routing := values.get("routing"), Mapping) and environment in routing:
            if not is_chosen:
                break
            values["routing"] = {name: model for name, model in routing.items() if name != environment}
        is_chosen = is_chosen or "model" in values
    return tuple(replace(layer, values=values) for layer, values in zip(layers, changed, strict=True))


def _settled_alias(alias: Any, name: str, meanings: dict[str, set[str]]) -> Any:
    alias = {"model": alias} if isinstance(alias, str) else alias
    if not isinstance(alias, Mapping):
        return alias
    own = {"model", "deployments"} & alias.keys()
    meant = meanings.setdefault(name, own) if own else own
    return {key: value for key, value in alias.items() if key not in own - meant}


def merge(weaker: Mapping[str, Any], stronger: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of two sources, section by section; the stronger ones where they differ."""
    merged = dict(weaker)
    for key, value in stronger.items():
        known = merged.get(key)
        both = isinstance(known, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(known, value) if both else value  # type: ignore[arg-type]  # `both` says so
    return merged
