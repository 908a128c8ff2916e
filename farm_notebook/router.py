"""From the name a user writes to the model that answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from farm_notebook.config import FarmConfig
from farm_notebook.errors import InvalidRequestError, ModelNotFoundError
from farm_notebook.providers import is_provider, provider_names, similar_provider, unknown_provider
from farm_notebook.types import ModelRef

__all__ = ["explaining", "resolve"]

_SEPARATOR = re.compile(r"[:/]")
_LIKE_A_PROVIDER = re.compile(r"[A-Za-z][\w.-]+")  # longer than the letter of a Windows drive


def resolve(name: str | None, config: FarmConfig) -> ModelRef:
    """The model behind a name: ``provider:model``, ``provider/model``, or a model of the default provider.

    The name is split at its first ``:`` or ``/``, and only where a provider's name stands before it, so
    that ``smollm2:135m`` and ``./models/x.gguf`` stay whole.

    Args:
        name: What the user wrote; ``None`` is the configured default.
        config: The settings.

    Raises:
        InvalidRequestError: The name is empty or no text, or names a provider without a model.
        UnknownProviderError: The configured default names no provider.
    """
    if name is None:
        return _split(config.model, config) or ModelRef(_default_provider(config), config.model)
    if not isinstance(name, str):
        raise InvalidRequestError(f"{name!r} is not a model's name. Name one, as in {config.model!r}.")
    name = name.strip()
    if not name:
        raise InvalidRequestError(f"The model's name is empty. Name one, as in {config.model!r}.")
    if is_provider(provider := name.rstrip(":/"), config):
        raise InvalidRequestError(
            f"{provider!r} is a provider; name one of its models too, as in '{provider}:MODEL'. "
            "`farm models` lists them."
        )
    return _split(name, config) or ModelRef(_default_provider(config), name)


def _split(name: str, config: FarmConfig) -> ModelRef | None:
    separator = _SEPARATOR.search(name)
    if separator is None:
        return None
    provider, model = name[: separator.start()], name[separator.end() :]
    return ModelRef(provider, model) if model and is_provider(provider, config) else None


def _default_provider(config: FarmConfig) -> str:
    provider = _SEPARATOR.split(config.model, maxsplit=1)[0]
    if not is_provider(provider, config):
        raise unknown_provider(provider, config)
    return provider


@contextmanager
def explaining(ref: ModelRef, config: FarmConfig) -> Iterator[None]:
    """Have a model that is not found say too that what stands before its ``:`` is no provider.

    ``opnai:gpt-4o`` is a fine name of a model, so it is asked for where models are asked for by default; only
    when there is none may the name have been meant as a provider's, mistyped or not installed.
    """
    try:
        yield
    except ModelNotFoundError as error:
        if hint := _hint(ref.model, config):
            error.args = (f"{error} {hint}",)
        raise


def _hint(model: str, config: FarmConfig) -> str:
    provider, _, rest = model.partition(":")
    if not rest or not _LIKE_A_PROVIDER.fullmatch(provider) or is_provider(provider, config):
        return ""
    close = similar_provider(provider, config)
    meant = f" Did you mean '{close}:{rest}'?" if close else ""
    return f"{provider!r} is no provider either; those are {', '.join(provider_names(config))}.{meant}"
