"""From variables, of the environment or of a dotenv file, to settings.

``FARM_LLAMACPP__THREADS=4`` sets one setting of a section, ``FARM_LLAMACPP='{"threads": 4}'`` any of them. A
list is written as JSON or with commas, a mapping as JSON. Variables that other programs know set some
settings too. A value that cannot be read stays a text, for the validation to refuse.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, get_args, get_origin

from farm_notebook.config.settings import ENV_PREFIX, FarmConfig
from farm_notebook.config.values import Section

__all__ = [
    "BLOCK_REQUESTS",
    "FOREIGN",
    "KeyPath",
    "annotation_at",
    "choose_model",
    "foreign_settings",
    "settings_of",
    "unknown_variables",
]

KeyPath: TypeAlias = tuple[str, ...]  # of one setting, as in ("cache", "ttl_s")

BLOCK_REQUESTS = "FARM_BLOCK_REQUESTS"  # no setting of a farm: it holds for all of a process
PROVIDER = "AI_PROVIDER"
MODEL = "AI_DEFAULT_MODEL"
# Settings that variables known from elsewhere set, the first of them that holds something.
FOREIGN: Mapping[KeyPath, tuple[str, ...]] = {
    ("environment",): ("FARM_ENV",),
    ("cassette", "file"): ("FARM_CASSETTE_FILE",),
    ("fallback", "chain"): ("AI_FALLBACK_PROVIDER",),
    ("limits", "requests_per_minute"): ("AI_RATE_LIMIT",),
    ("ollama", "url"): ("OLLAMA_URL", "OLLAMA_HOST"),
    ("openai", "base_url"): ("OPENAI_BASE_URL",),
    ("openai", "organization"): ("OPENAI_ORG_ID",),
    ("openai", "project"): ("OPENAI_PROJECT_ID",),
}
_PROVIDERS = frozenset(
    name
    for name, field in FarmConfig.model_fields.items()
    if isinstance(field.default, Section) and "default_model" in type(field.default).model_fields
)
_OURS = frozenset(ENV_PREFIX + name.upper() for name in FarmConfig.model_fields)
_FOREIGN = {name for names in FOREIGN.values() for name in names if name.startswith(ENV_PREFIX)}
_KNOWN = _OURS | _FOREIGN | {BLOCK_REQUESTS}


def settings_of(variables: Mapping[str, str]) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    """What ``FARM_*`` variables set.

    Args:
        variables: Names, in capitals or not, and values; others than ours are passed over.

    Returns:
        The settings, nested, and the name of the variable behind each.
    """
    values: dict[str, Any] = {}
    names: dict[KeyPath, str] = {}
    ours = [name for name in variables if name[: len(ENV_PREFIX)].upper() == ENV_PREFIX]
    # A whole section comes before a setting in it, and capitals last, so that they win.
    for name in sorted(ours, key=lambda name: (name.count("__"), name.isupper())):
        path = tuple(name[len(ENV_PREFIX) :].lower().split("__"))
        if path[0] in FarmConfig.model_fields:
            path = _named_in_full(path, variables[name])
            _put(values, path, variables[name])
            names[path] = name
    return values, names


def foreign_settings(variables: Mapping[str, str]) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    """What variables of others set, but for those of the model; likewise."""
    values: dict[str, Any] = {}
    names: dict[KeyPath, str] = {}
    for path, candidates in FOREIGN.items():
        for name in candidates:
            if text := variables.get(name, "").strip():
                _put(values, path, text)
                names[path] = name
                break
    return values, names


def choose_model(sources: Sequence[Mapping[str, str]]) -> tuple[int, str, str] | None:
    """The model that ``AI_PROVIDER`` and ``AI_DEFAULT_MODEL`` name together.

    Where they stand in different sources they belong together too, unless the weaker one has both and names
    another provider.

    Args:
        sources: The variables of each, strongest first.

    Returns:
        Which source decides, the model, and the names of the variables; ``None`` where there are none.
    """
    found = [(variables.get(PROVIDER, "").strip(), variables.get(MODEL, "").strip()) for variables in sources]
    for index, (provider, model) in enumerate(found):
        weaker = found[index + 1 :]
        if model and not provider:
            of_weaker = next((other for other, _ in weaker if other), "")
            return index, *_model_of(of_weaker, model)
        if provider and not model:
            other, of_weaker = next((pair for pair in weaker if pair[1]), ("", ""))
            return index, *_model_of(provider, of_weaker if other in ("", provider) else "")
        if provider:
            return index, *_model_of(provider, model)
    return None


def _model_of(provider: str, model: str) -> tuple[str, str]:
    names_one = model.startswith((f"{provider}:", f"{provider}/")) or model.partition(":")[0] in _PROVIDERS
    if not model or not provider or names_one:
        return model or provider, MODEL if model else PROVIDER
    return f"{provider}:{model}", f"{PROVIDER} and {MODEL}"


def unknown_variables(names: Iterable[str]) -> list[tuple[str, str]]:
    """The names that look like a setting and are none, each with the one that may have been meant."""
    unknown = [
        name
        for name in sorted(names)
        if name.upper().startswith(ENV_PREFIX) and name.upper().partition("__")[0] not in _KNOWN
    ]
    return [(name, next(iter(difflib.get_close_matches(name.upper(), _KNOWN, n=1)), "")) for name in unknown]


def annotation_at(path: KeyPath) -> Any:
    """What a setting may be; ``None`` where there is no such setting."""
    found: Any = FarmConfig
    for key in path:
        found = plain(found)
        if isinstance(found, type) and issubclass(found, Section):
            field = found.model_fields.get(key)
            found = field.annotation if field else None
        elif get_origin(found) is Mapping:
            found = get_args(found)[1]
        else:
            return None
    return plain(found)


def plain(annotation: Any) -> Any:
    """An annotation without ``Annotated`` and ``| None`` around it."""
    while hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    rest = [one for one in get_args(annotation) if one is not type(None)]
    return plain(rest[0]) if len(rest) == 1 and type(None) in get_args(annotation) else annotation


def _named_in_full(path: KeyPath, text: str) -> KeyPath:
    """The setting that a text in the place of a whole section means, so that others may stand beside it."""
    section = annotation_at(path)
    is_text = _may_be_text(section) and isinstance(_decode(text, section), str)
    return (*path, section.text_sets) if is_text else path


def _put(values: dict[str, Any], path: KeyPath, text: str) -> None:
    for depth, key in enumerate(path[:-1], start=1):
        inner = values.setdefault(key, {})
        if not isinstance(inner, dict):
            section = annotation_at(path[:depth])
            if not _may_be_text(section):
                return  # the text in the section's place is what is refused
            inner = values[key] = {section.text_sets: inner}
        values = inner
    decoded, known = _decode(text, annotation_at(path)), values.get(path[-1])
    values[path[-1]] = (
        {**known, **decoded} if isinstance(known, dict) and isinstance(decoded, dict) else decoded
    )


def _may_be_text(annotation: Any) -> bool:
    return (
        isinstance(annotation, type) and issubclass(annotation, Section) and annotation.text_sets is not None
    )


def _decode(text: str, annotation: Any) -> Any:
    """A list or a mapping out of a text, where one is wanted and it is one."""
    origin = get_origin(annotation)
    is_section = isinstance(annotation, type) and issubclass(annotation, Section)
    is_list = origin in (tuple, frozenset)
    if not (is_section or is_list or origin is Mapping or annotation is Any):
        return text
    if annotation is Any or text.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return [part for one in text.split(",") if (part := one.strip())] if is_list else text
