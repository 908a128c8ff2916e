"""Where an Ollama server is, in all the ways people write it."""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from dataclasses import dataclass

from farm_notebook.errors import ConfigError
from farm_notebook.providers.http import public_url
from farm_notebook.providers.http_client import is_loopback

__all__ = ["DEFAULT_PORT", "Address", "parse_address"]

DEFAULT_PORT = 11434
_SCHEME_PORTS = {"http": 80, "https": 443}
_UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # where a server listens everywhere, a client goes home
_API_FOLDERS = ("api", "v1")
_CALL = re.compile(
    r"(^|/)(api/(chat|generate|embed|embeddings|tags|ps|show|pull|push|create|copy|delete|version)"
    r"|v1/(chat|completions|embeddings|models|responses|messages))(/|$)"
)
_FORMS = "Valid forms: http://localhost:11434, localhost, :11434, 10.0.0.7:11434, https://host/prefix"


@dataclass(frozen=True, slots=True)
class Address:
    """A server's address.

    Args:
        scheme: ``http`` or ``https``.
        host: A name or an address; an IPv6 address without its brackets.
        port: 1 to 65535.
        path: What a reverse proxy wants before ``/api``; empty, or with a leading and no trailing slash.
        port_is_implied: Whether the port is only that of the scheme, which is rarely where Ollama is.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    port_is_implied: bool = False

    @property
    def url(self) -> str:
        """What the paths of the API are put behind."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        """Host and port, as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether this is the machine itself, by an address that no other machine can reach."""
        return is_loopback(self.host)


def parse_address(text: str) -> Address:
    """Read an address as Ollama's own client reads ``OLLAMA_HOST``, without a ``/v1`` or ``/api`` at its end.

    Without a scheme the port is 11434 by default; with one it is the scheme's own.
    Source: ``_parse_host`` of the official Python client 0.6.3; ``Host`` and ``ConnectableHost`` of
    envconfig/config.go in Ollama's own.

    Raises:
        ConfigError: It is no address; the message says what is wrong with it.
    """
    text = text.strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
        if text == "ollama.com":
            scheme, rest = "https", "ollama.com:443"
    scheme = scheme.lower()
    if scheme not in _SCHEME_PORTS:
        raise _error(text, f"{scheme!r} is no scheme it can have; http and https are")
    try:
        parts = urllib.parse.urlsplit(f"{scheme}://{_bracketed(rest)}")
        host, port = parts.hostname or "127.0.0.1", parts.port
    except ValueError:  # its words quote what stands there, which may be a password
        raise _error(text, "it has no valid host and port") from None
    if port == 0:
        raise _error(text, "no server listens on port 0")
    if "@" in parts.netloc:
        raise _error(text, "user names and passwords are not sent; put a key into OLLAMA_API_KEY")
    if parts.query or parts.fragment:
        raise _error(text, "it has a query or a fragment")
    if re.search(r"[\s\\,;]", parts.netloc):
        raise _error(text, f"{parts.netloc!r} is no host")
    is_implied = port is None and bool(separator)
    port = port or (_SCHEME_PORTS[scheme] if separator else DEFAULT_PORT)
    return Address(scheme, _UNSPECIFIED.get(host, host), port, _prefix(parts.path, text), is_implied)


def _bracketed(rest: str) -> str:
    """An IPv6 address that stands alone in the brackets that a URL wants."""
    try:
        address = ipaddress.ip_address(rest.rstrip("/"))
    except ValueError:
        return rest
    return f"[{address}]" if address.version == 6 else rest


def _prefix(path: str, text: str) -> str:
    folders = [folder for folder in path.split("/") if folder]
    while folders and folders[-1] in _API_FOLDERS:
        folders.pop()
    prefix = "/".join(folders)
    if found := _CALL.search(prefix):
        call = found[0].strip("/")
        raise _error(text, f"/{call} is one call of the API; leave it out")
    return f"/{prefix}" if prefix else ""


def _error(text: str, reason: str) -> ConfigError:
    return ConfigError(
        f"The address of the Ollama server, {public_url(text)!r}, is not valid: {reason}. {_FORMS}. It is "
        "read from OLLAMA_URL or OLLAMA_HOST, or set with FARM_OLLAMA__URL."
    )
