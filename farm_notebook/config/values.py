"""What a single setting may be: kinds of values that sections share, and what is wrong with others."""

from __future__ import annotations

import functools
import re
from typing import Annotated, Any, ClassVar, TypeAlias, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, model_validator

__all__ = ["NONE", "BaseURL", "OrNone", "Section", "Variable", "as_duration", "as_redis_url", "as_variable"]

NONE = "none"  # how nothing is written where there is no word for it, as in TOML and in variables


class Section(BaseModel):
    """Settings that belong together; frozen, and no other names are taken.

    A text ``none`` is nothing, wherever a setting may be nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    text_sets: ClassVar[str | None] = None  # the setting meant by a text in the place of the whole section

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        if isinstance(given, str) and cls.text_sets is not None:
            given = {cls.text_sets: given}
        if isinstance(given, dict) and NONE in given.values():
            may_be_none = _may_be_none(cls)
            return {
                name: None if value == NONE and name in may_be_none else value
                for name, value in given.items()
            }
        return given


@functools.cache
def _may_be_none(section: type[Section]) -> frozenset[str]:
    fields = section.model_fields.items()
    return frozenset(name for name, field in fields if type(None) in get_args(field.annotation))


def _none_from_text(value: Any) -> Any:
    return None if value == NONE else value


OrNone = BeforeValidator(_none_from_text)  # for values in a mapping, which no section looks at


def as_variable(name: str) -> str:
    """The name of a variable, and not the key itself, which is what people write here at first."""
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
        raise ValueError(
            "it takes the name of an environment variable, in capitals as in 'GROQ_API_KEY', and not the key"
        )
    return name


def _as_base_url(url: str) -> str:
    """An address that paths can be put after."""
    example = "it takes an address as in 'http://localhost:8000/v1'"
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of the port; its words quote what stands there, which may be a password
        raise ValueError(example) from None
    if not is_address:
        raise ValueError(example)
    if "@" in parts.netloc:
        raise ValueError("no user and password in an address: a key belongs into a variable, see api_key_env")
    if parts.query or parts.fragment:
        raise ValueError("parameters of the address belong into the setting query")
    return url.rstrip("/")


def as_redis_url(url: str) -> str:
    """An address of a Redis server, without what is secret."""
    example = "it takes an address as in 'redis://localhost:6379/0'"
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("redis", "rediss") and parts.hostname and parts.port != 0
    except ValueError:
        raise ValueError(example) from None
    if not is_address or parts.fragment:
        raise ValueError(example)
    if "@" in parts.netloc or "password=" in parts.query:
        raise ValueError(
            "no user and password in an address: the one is the setting username, the other belongs into a "
            "variable, see password_env"
        )
    return url.rstrip("/")


def as_duration(text: str) -> str:
    """A time as Ollama writes it, which is how Go does."""
    if not re.fullmatch(r"-?(\d+(\.\d+)?|(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+)", text):
        raise ValueError("it takes a time as in '5m', '1h30m' or '300' (seconds), or '-1' for ever")
    return text


BaseURL: TypeAlias = Annotated[str, AfterValidator(_as_base_url)]
Variable: TypeAlias = Annotated[str, AfterValidator(as_variable)]
