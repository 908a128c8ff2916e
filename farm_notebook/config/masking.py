"""Decides which values are better not shown: keys in their wrong places, and what may carry one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

__all__ = [
    "CARRIES_SECRETS",
    "MASK",
    "carries_key",
    "is_named_secret",
    "mask_error",
    "masked",
    "may_be_secret",
    "without_keys",
]

MASK = "***"
# Sections of which a text in place of the whole may well be a key.
_OF_PROVIDERS = ("endpoints", "ollama", "openai", "huggingface")
CARRIES_SECRETS = ("headers", "query")  # mappings of which no value is shown
_NAMED_SO = re.compile(
    r"key|token(?!s)|secret|passw|passphrase|(?<![a-z])(?:pass|pwd)(?![a-z])"
    r"|authoriz|auth(?!or)|credential|bearer|cookie",
    re.IGNORECASE,
)
_NAMES_ONLY = re.compile(r"_env$|^api_key_header$")  # what is right there is a name; see ``Variable``
_A_NAME = re.compile(r"[A-Z_][A-Z0-9_]*|[A-Za-z][A-Za-z-]{0,39}")
_LIKE_A_KEY = re.compile(
    r"\b(sk|pk|rk|gsk|xai|hf|ghp|gho|glpat|r8|pplx|nvapi|tgp|csk|fw)[-_][\w.-]{12,}"
    r"|\b(github_pat_|AIza|eyJ)[\w.-]{16,}"
    r"|\b(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{32,}\b"
    r"|\b[Bb]earer\s+\S"
)
_A_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # of a commit, of a file


def is_named_secret(name: str) -> bool:
    """Whether a variable, header or parameter is called as those are that hold a secret."""
    return _NAMED_SO.search(name) is not None


def may_be_secret(path: Sequence[str], value: object) -> bool:
    """Whether a value at that place, right or wrong, is better not shown.

    Args:
        path: Of the setting, as in ``("openai", "headers", "x-team")``.
        value: What stands there.
    """
    if value is None or isinstance(value, int | float):
        return False
    text, name = str(value), path[-1] if path else ""
    if "@" in text or (_LIKE_A_KEY.search(text) and not _A_DIGEST.fullmatch(text)):
        return True
    if any(key in CARRIES_SECRETS for key in path[:-1]):
        return True
    if not isinstance(value, str):
        return False
    if path[:1] and path[0] in _OF_PROVIDERS and len(path) <= 1 + (path[0] == "endpoints"):
        return True
    if _NAMES_ONLY.search(name):
        return _A_NAME.fullmatch(text) is None
    return is_named_secret(name)


def carries_key(name: str, value: object) -> bool:
    """Whether a header or a parameter is one that a key is sent in, by its name or by what stands there."""
    text = str(value)
    return is_named_secret(name) or (_LIKE_A_KEY.search(text) is not None and not _A_DIGEST.fullmatch(text))


def without_keys(text: str) -> str:
    """Somebody else's words without what looks like a key in them."""
    return _LIKE_A_KEY.sub(MASK, re.sub(r"://[^/\s]*@", f"://{MASK}@", text))


def masked(path: Sequence[str], value: Any) -> Any:
    """A value with all in it that may be secret replaced."""
    if isinstance(value, Mapping):
        return {key: masked((*path, str(key)), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(path, inner) for inner in value]
    return MASK if may_be_secret(path, value) else value


def mask_error(error: BaseException, mask: Callable[[str], str]) -> bool:
    """Take secrets out of an error and its notes, in place; what led to it is dropped where it shows one.

    Args:
        error: Whoever's it is.
        mask: Takes secrets out of a text.

    Returns:
        Whether it shows none now. Some errors do not say what they were made with, and stay as they are.
    """
    error.args = tuple(mask(arg) if isinstance(arg, str) else arg for arg in error.args)
    if notes := _notes(error):
        error.__notes__ = [mask(note) for note in notes]
    shown = "\n".join(part for each in _led_to(error) for part in (str(each), *_notes(each)))
    if mask(shown) != shown:
        error.__cause__ = None  # which keeps its context from being shown as well
    return mask(str(error)) == str(error)


def _led_to(error: BaseException) -> Iterator[BaseException]:
    """The errors that a traceback shows above one, and those that these hold, each once."""
    seen, open_ = {id(error)}, [error]
    while open_:
        each = open_.pop()
        above = each.__cause__ if each.__suppress_context__ else each.__context__
        held = each.exceptions if isinstance(each, BaseExceptionGroup) else each.args
        for other in (above, *held):
            if isinstance(other, BaseException) and id(other) not in seen:
                seen.add(id(other))
                open_.append(other)
                yield other


def _notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])
