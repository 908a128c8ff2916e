"""Makes the HTTP client of one server, as its address and this machine's environment want it.

A proxy or a certificate file that the environment names and that is wrong is an error of configuration, which
says so; httpx2 raises whatever it stumbles over.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx2

from farm_notebook.errors import ConfigError

__all__ = ["is_loopback", "make_client", "proxy_variables"]

_servers = set[bytes]()  # whose addresses httpx2 logs without their parameters
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def make_client(make: Callable[..., httpx2.AsyncClient], url: str, **options: Any) -> httpx2.AsyncClient:
    """A client that reaches this machine through no proxy, and loads certificates only where there is TLS.

    It may take a tenth of a second, which is what loading the system's certificates takes.

    Args:
        make: ``httpx2.AsyncClient``, or a subclass of it.
        url: Of the server, valid.
        options: Passed on to ``make``.

    Raises:
        ConfigError: The environment names a proxy or certificates that cannot be used.
    """
    host = urlsplit(url).hostname or ""
    _servers.add(httpx2.URL(url).netloc)
    logging.getLogger("httpx2").addFilter(_without_parameters)  # which adds it once
    verify = _certificates() if url.startswith("https:") else False
    try:
        return make(verify=verify, trust_env=not is_loopback(host), **options)
    except ImportError:
        reason = "a SOCKS proxy needs a package that is not installed: pip install socksio"
    except (ValueError, httpx2.InvalidURL):  # their words quote the address, with the password in it
        reason = "it takes an address as in 'http://proxy:3128'"
    names = " or ".join(proxy_variables())
    raise ConfigError(f"The proxy in {names} cannot be used: {reason}. Or put {host} into NO_PROXY.")


def is_loopback(host: str) -> bool:
    """Whether this is the machine itself, by an address that no other machine can reach."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_variables() -> list[str]:
    """The variables that name a proxy now."""
    return [name for name in os.environ if name.upper() in _PROXIES and os.environ[name]]


def _without_parameters(record: logging.LogRecord) -> bool:
    """Take the parameters, which may carry a key, out of what httpx2 logs of requests to our servers."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            part.copy_with(query=None) if isinstance(part, httpx2.URL) and part.netloc in _servers else part
            for part in record.args
        )
    return True


def _certificates() -> ssl.SSLContext:
    try:
        return httpx2.create_ssl_context()
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"SSL_CERT_FILE={os.environ.get('SSL_CERT_FILE', '')!r} cannot be used: {error}. Unset it, or "
            "name a file with certificates in PEM."
        ) from error
