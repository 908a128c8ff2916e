"""Takes the keys and passwords of a configuration out of whatever is kept or told of a call."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator

from pydantic import BaseModel

from farm_notebook.config import FarmConfig
from farm_notebook.config.secrets import find_hub_token, find_secret

__all__ = ["Redaction", "secrets_of"]

MASK = "***"
SHORTEST_SECRET = 8  # characters; what is shorter would garble texts, and is no key
TTL_S = 5.0  # how long secrets are believed to be what they were: looking them up reads files


class Redaction:
    """A function from a text to the same text without secrets.

    Args:
        secrets: Says what they are now; asked once in a while, as a key can be changed while a kernel runs.
            What once was a secret stays one.
        clock: Seconds from any fixed moment.
    """

    def __init__(
        self, secrets: Callable[[], Iterable[str]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._secrets = secrets
        self._clock = clock
        self._until = float("-inf")
        self._known: tuple[str, ...] = ()

    def __call__(self, text: str) -> str:
        if self._clock() >= self._until:
            found = {secret for secret in self._secrets() if len(secret) >= SHORTEST_SECRET}
            written = {json.dumps(secret, ensure_ascii=False)[1:-1] for secret in found}  # as in a JSON text
            self._known = tuple(sorted({*self._known, *found, *written}, key=len, reverse=True))
            self._until = self._clock() + TTL_S
        for secret in self._known:
            if secret in text:
                text = text.replace(secret, MASK)
        return text


def secrets_of(config: FarmConfig) -> Iterator[str]:
    """What the variables hold that a configuration names for keys and passwords, where they hold anything."""
    sections = [getattr(config, name) for name in type(config).model_fields]
    for section in (*sections, *config.endpoints.values()):
        if isinstance(section, BaseModel):
            for name in type(section).model_fields:
                if name.endswith("_env") and (secret := find_secret(getattr(section, name), config)):
                    yield secret
    if secret := find_hub_token(config):
        yield secret
