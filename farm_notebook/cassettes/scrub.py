"""Takes secrets out of what is recorded, and finds those that are in a file all the same.

What a secret is: what the variables hold that the settings name for keys, what stands in variables, headers
and parameters that are called so, and whatever looks like a key of a known maker. What is asked is compared
without its secrets as well, so that a recording is found with another key, or with none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from farm_notebook.config import FarmConfig
from farm_notebook.config.masking import MASK, is_named_secret
from farm_notebook.stores.redaction import Redaction, secrets_of

__all__ = ["MASK", "Finding", "Scrub", "find_secrets", "scrub_for"]

# Group ``keep`` stays, the rest of a match is the secret. What may be long before it has a bound, so that no
# text takes a time that grows with its square.
_PATTERNS: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern)
    for name, pattern in {
        "a key of a model provider": r"\b(?:sk|pk|rk|gsk|xai|hf|r8|pplx|nvapi|tgp|csk|fw)[-_][\w-]{12,}"
        r"(?:\.[\w-]+)*",
        "a key of GitHub, GitLab or Slack": r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-)[\w-]{10,}",
        "a key of a cloud": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{30,}|\bya29\.[\w-]{20,}",
        "a signed token": r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",
        "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
        "a bearer's token": r"(?P<keep>\b[Bb]earer\s+)[\w.~+/=-]{8,}",
        "a password in an address": r"(?P<keep>\b[a-z][a-z0-9+.-]{0,15}://)[^/\s:@\"'<>{]{0,99}:[^/\s@\"'<>{]{1,199}(?=@)",
        "a key in an address": r"(?i:(?P<keep>[?&](?:api[-_]?key|key|token|access_token|secret|sig|signature"
        r"|password)=))[^&\s\"'<>#{]{6,}",
        "a value called a key": r"(?i:(?P<keep>\b[\w-]{0,40}(?:api[-_]?key|secret|token|passwd|password"
        r"|authorization)[\"']?\s*[:=]\s*[\"']?))(?=[\w./+-]*\d)(?=[\w./+-]*[A-Za-z])[\w./+-]{12,}",
        "a long random word": r"\b(?=[a-zA-Z]*\d)(?=[a-z0-9]*[A-Z])(?=[A-Z0-9]*[a-z])[A-Za-z0-9]{32,}\b",
    }.items()
}


class Finding(NamedTuple):
    """What looks like a secret.

    Args:
        what: In words.
        where: How its text goes on around it, without the secret.
    """

    what: str
    where: str


class Scrub:
    """Takes secrets out of JSON values.

    Args:
        known: Takes those out of a text that are known.
    """

    def __init__(self, known: Callable[[str], str] = str) -> None:
        self.known = known

    def __call__(self, value: Any) -> Any:
        """The value with ``***`` in the place of each secret."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(name): self._named(name, found) for name, found in value.items()}
        if isinstance(value, list | tuple):
            return [self(found) for found in value]
        return value

    def text(self, text: str) -> str:
        """A text, likewise."""
        text = self.known(text)
        for pattern in _PATTERNS.values():
            text = pattern.sub(lambda match: (match.groupdict().get("keep") or "") + MASK, text)
        return text

    def _named(self, name: str, value: Any) -> Any:
        """What stands under a name; a schema's property may be called so, and is no text."""
        return MASK if isinstance(value, str) and value and is_named_secret(name) else self(value)


def scrub_for(config: FarmConfig) -> Scrub:
    """Takes out what the settings and the environment know to be secret, and whatever looks like it."""
    return Scrub(Redaction(lambda: secrets_of(config)))


def find_secrets(text: str, known: Callable[[str], str] = str) -> Iterator[Finding]:
    """What looks like a secret in a text.

    Args:
        text: Any.
        known: Takes those out of a text that are known.
    """
    if (clean := known(text)) != text:
        start = clean.index(MASK)
        yield Finding("a key that is in use here", f"{clean[max(0, start - 20) : start]}{MASK}")
    for what, pattern in _PATTERNS.items():
        for match in pattern.finditer(text):
            if MASK not in match[0]:
                start = match.end("keep") if match.groupdict().get("keep") else match.start()
                around = f"{text[max(0, start - 20) : start]}{MASK}{text[match.end() : match.end() + 10]}"
                yield Finding(what, " ".join(around.split()))
