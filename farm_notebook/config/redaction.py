"""Takes the secrets of a configuration out of texts that are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from farm_notebook.config.secrets import find_hub_token, find_secret
from farm_notebook.config.settings import FarmConfig

__all__ = ["MASK", "redactor"]

MASK = "***"
SHORTEST = 6  # characters; what is shorter is no secret, and part of too many words


def redactor(config: FarmConfig) -> Callable[[str], str]:
    """What masks each secret that the settings name a variable for, as it is when a text passes.

    Args:
        config: The settings.
    """

    def redact(text: str) -> str:
        for secret in sorted(_secrets(config), key=len, reverse=True):  # one may be a part of another
            if len(secret) >= SHORTEST:
                text = text.replace(secret, MASK)
        return text

    return redact


def _secrets(config: FarmConfig) -> Iterator[str]:
    endpoints = (config.openai, *config.endpoints.values())
    variables = {config.ollama.api_key_env, config.redis.password_env}
    yield find_hub_token(config)
    for variable in variables | {endpoint.api_key_env for endpoint in endpoints}:
        yield find_secret(variable, config)
