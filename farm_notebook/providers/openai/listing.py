"""What ``/models`` tells of an endpoint's models: each server adds words of its own to OpenAI's few.

Sources: OpenAI, vLLM (``max_model_len``), llama.cpp (``meta``), OpenRouter (``context_length``,
``architecture``, ``supported_parameters``), Groq (``context_window``), Mistral (``max_context_length``,
``capabilities``), Together (``context_length``, ``type``; a list with nothing around it).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from farm_notebook.types import Capability, ModelInfo, ModelRef

__all__ = ["is_listed", "model_infos"]

_CONTEXT = ("max_model_len", "context_length", "context_window", "max_context_length")
_BY_PARAMETER: tuple[tuple[str, Capability], ...] = (("tools", "tools"), ("reasoning", "reasoning"))
_BY_FLAG: tuple[tuple[str, Capability], ...] = (
    ("completion_chat", "chat"),
    ("function_calling", "tools"),
    ("vision", "vision"),
    ("reasoning", "reasoning"),
)
_BY_TYPE: Mapping[str, Capability] = {"chat": "chat", "language": "completion", "embedding": "embedding"}


def model_infos(answer: Any, provider: str) -> list[ModelInfo]:
    """The models of an endpoint, in its own order.

    Args:
        answer: The JSON of ``/models``.
        provider: The endpoint's name.
    """
    return [_info(entry, provider) for entry in _entries(answer)]


def is_listed(answer: Any, model: str) -> bool:
    """Whether a model is among them, by its name or by another name of it."""
    return any(model in (entry["id"], *_texts(entry.get("aliases"))) for entry in _entries(answer))


def _entries(answer: Any) -> Iterator[Mapping[str, Any]]:
    entries = answer.get("data") if isinstance(answer, dict) else answer
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            yield entry


def _info(entry: Mapping[str, Any], provider: str) -> ModelInfo:
    meta = _mapping(entry.get("meta"))
    texts = (entry.get(name) for name in ("description", "display_name", "name"))
    return ModelInfo(
        ModelRef(provider, entry["id"]),
        size_bytes=_count(meta.get("size")),
        context_tokens=_first(
            *(entry.get(name) for name in _CONTEXT), meta.get("n_ctx"), meta.get("n_ctx_train")
        ),
        license=entry["license"] if isinstance(entry.get("license"), str) else None,
        available=True,
        description=next((text for text in texts if isinstance(text, str) and text), ""),
        capabilities=_capabilities(entry),
    )


def _capabilities(entry: Mapping[str, Any]) -> frozenset[Capability] | None:
    """What a model can do, ``None`` where nothing is said of it."""
    found: set[Capability] = set()
    if isinstance(kind := entry.get("type"), str) and kind in _BY_TYPE:
        found.add(_BY_TYPE[kind])
    parameters = _texts(entry.get("supported_parameters"))
    if parameters:
        found |= {"chat", *(ability for word, ability in _BY_PARAMETER if word in parameters)}
    if "image" in _texts(_mapping(entry.get("architecture")).get("input_modalities")):
        found |= {"chat", "vision"}
    flags = _mapping(entry.get("capabilities"))
    found |= {ability for word, ability in _BY_FLAG if flags.get(word) is True}
    return frozenset(found) or None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _first(*values: Any) -> int | None:
    return next((count for value in values if (count := _count(value))), None)
