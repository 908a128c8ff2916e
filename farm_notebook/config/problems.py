"""Says in one sentence what is wrong with a setting: where it stands, its value, and what is valid."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from farm_notebook.config.layers import Layer, Sources
from farm_notebook.config.masking import masked, may_be_secret
from farm_notebook.config.toml import as_key
from farm_notebook.config.values import Section
from farm_notebook.config.variables import KeyPath, annotation_at

__all__ = ["explain", "near", "unknown_key"]

_NO_TABLE = ("model_type", "model_attributes_type", "mapping_type", "dict_type")
_NO_LIST = ("tuple_type", "frozen_set_type", "list_type")


def explain(error: ValidationError, sources: Sources) -> Iterator[str]:
    """A sentence for each bad setting."""
    for problem in error.errors(include_url=False):
        path = tuple(str(part) for part in problem["loc"] if part != "[key]")
        layer = _layer_of(path, sources)
        place = layer.place(path) if layer else as_key(path)
        yield f"{place}{_value(path, problem)} is not valid: {_words(path, problem, layer)}."


def unknown_key(key: str, section: type[Section]) -> str:
    """That a section has no such setting, which may have been meant, and which there are."""
    valid = sorted(section.model_fields)
    return f"there is no setting {key!r}.{near(key, valid)} Valid settings: {', '.join(valid)}"


def near(key: str, valid: Iterable[str]) -> str:
    """Which one may have been meant, as a sentence that follows another."""
    found = difflib.get_close_matches(key, list(valid), n=1)
    return f" Did you mean {found[0]!r}?" if found else ""


def _layer_of(path: KeyPath, sources: Sources) -> Layer | None:
    """Who set what is wrong; of something that is missing, who set what it is missing in."""
    while path and (layer := sources.origin(path)) is None:
        path = path[:-1]
    return layer if path else None


def _value(path: KeyPath, problem: ErrorDetails) -> str:
    if problem["type"] == "missing":
        return ""
    value = problem["input"]
    if problem["loc"][-1] == "[key]":
        path = ("name",)
    return "" if may_be_secret(path, value) else f"={masked(path, value)!r}"


def _words(path: KeyPath, problem: ErrorDetails, layer: Layer | None) -> str:
    kind, value = problem["type"], problem["input"]
    if path[-1] == "api_key":
        return "a key is no setting; name the variable that holds it with api_key_env"
    if kind == "extra_forbidden":
        section = annotation_at(path[:-1])
        return unknown_key(path[-1], section if isinstance(section, type) else Section)
    if kind in _NO_TABLE or kind in _NO_LIST:
        return _wanted(path, value, layer, is_list=kind in _NO_LIST)
    return problem["msg"].removeprefix("Value error, ")


def _wanted(path: KeyPath, value: Any, layer: Layer | None, *, is_list: bool) -> str:
    """That something is no list or no table, in the words of where it stands."""
    what, section = "a list" if is_list else "a mapping", annotation_at(path)
    if layer is None or not layer.names:
        return f"it takes {'a table' if layer and layer.file and not is_list else what}"
    words = f"it takes a JSON {'list' if is_list else 'object'}"
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            json.loads(value)
        except ValueError as error:
            words += f", and this is none ({error})"
    variable = layer.name(path)
    if path == ("endpoints",):
        words += (
            f" of endpoints by name; or set one setting of one endpoint, as in {variable}__GROQ__BASE_URL"
        )
    elif isinstance(section, type) and issubclass(section, Section):
        words += f"; or set one setting, as in {variable}__{next(iter(section.model_fields)).upper()}"
    return words
