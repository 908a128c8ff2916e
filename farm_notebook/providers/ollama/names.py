"""What the names of Ollama's models mean."""

from __future__ import annotations

__all__ = ["full_name", "is_cloud", "same_model", "short_name"]

_DEFAULT_TAG = "latest"
_DEFAULT_PLACES = ("registry.ollama.ai/", "library/")


def full_name(model: str) -> str:
    """A name as the server lists it: ``llama3.2`` is ``llama3.2:latest``.

    Source: ``ParseName`` and ``DisplayShortest`` of types/model/name.go.
    """
    name = model.strip()
    for place in _DEFAULT_PLACES:
        name = name.removeprefix(place)
    return name if ":" in name.rpartition("/")[2] else f"{name}:{_DEFAULT_TAG}"


def short_name(model: str) -> str:
    """A name as people write it: ``llama3.2:latest`` is ``llama3.2``."""
    return full_name(model).removesuffix(f":{_DEFAULT_TAG}")


def same_model(one: str, other: str) -> bool:
    """Whether two names mean one model; the server does not mind the case of letters."""
    return full_name(one).casefold() == full_name(other).casefold()


def is_cloud(model: str) -> bool:
    """Whether the server passes this model's requests on to Ollama's cloud, so that nothing is loaded.

    Source: ``parseSourceSuffix`` of internal/modelref/modelref.go.
    """
    tag = full_name(model).rpartition(":")[2].casefold()
    return tag == "cloud" or tag.endswith("-cloud")
