"""Takes the keys and passwords of a configuration out of whatever is kept or told of a call."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator

from pydantic import BaseModel

from farm_notebook.config import FarmConfig
from farm_notebook.config.masking import CARRIES_SECRETS, MASK, carries_key
from farm_notebook.config.secrets import find_hub_token, find_secret

__all__ = ["Redaction", "secrets_of"]

SHORTEST_OF_ENVIRONMENT = 12  # what is shorter is rarely a key, and often a word
SHORTEST_SECRET = 8  # characters; what is shorter would garble texts, and is no key
TTL_S = 5.0  # how long secrets are believed to be what they were: looking them up reads files
_NAMED_SO = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)


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
    """What is a secret here.

    What the variables hold that a configuration names for keys and passwords, the headers and parameters that
    it sends keys in, and what stands in any variable whose name ends as those of keys do.
    """
    sections = [getattr(config, name) for name in type(config).model_fields]
    for section in (*sections, *config.endpoints.values()):
        if isinstance(section, BaseModel):
            yield from _secrets_in(section, config)
    if secret := find_hub_token(config):
        yield secret
    for name, value in os.environ.items():
        if _NAMED_SO.search(name) and _is_random(value):
            yield value


def _secrets_in(section: BaseModel, config: FarmConfig) -> Iterator[str]:
    for name in type(section).model_fields:
        if name.endswith("_env") and (secret := find_secret(getattr(section, name), config)):
            yield secret
        elif name in CARRIES_SECRETS:
            sent = getattr(section, name) or {}
            yield from (str(value) for key, value in sent.items() if carries_key(key, value))


def _is_random(value: str) -> bool:
    """Whether what a variable of such a name holds may be a key: it is no path, no switch and no sentence."""
    return (
        len(value) >= SHORTEST_OF_ENVIRONMENT
        and not value.startswith(("/", "~", "."))
        and not any(character.isspace() for character in value)
    )
