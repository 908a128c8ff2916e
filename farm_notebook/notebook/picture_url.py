"""Fetches a picture from the web, so that a provider need not: within bounds, and without credentials.

The user typed the address, so it may be any, also one of this machine or network: whoever types in a notebook
could ask it in a line of Python. Where a server leads on from there is not the user's choice: from a public
address to a private one it is not followed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from urllib.parse import urljoin, urlsplit

import httpx2

from farm_notebook.errors import FarmError, InvalidRequestError
from farm_notebook.images import as_image
from farm_notebook.providers.http import connection_error, public_url
from farm_notebook.providers.http_client import make_client
from farm_notebook.types import Image

__all__ = ["fetch_picture"]

MOST_BYTES = 20 * 1024 * 1024
MOST_REDIRECTS = 5
STEP_S = 10.0  # to connect, and between two pieces
TOTAL_S = 60.0
_HEADERS = {"accept": "image/png, image/jpeg, image/webp, image/gif", "user-agent": "farm-notebook"}


async def fetch_picture(url: str, *, total_s: float = TOTAL_S, most_bytes: int = MOST_BYTES) -> Image:
    """The picture at a URL; what it is, is told by its bytes.

    Args:
        url: Beginning with ``http://`` or ``https://``; neither its user and password nor its parameters are
            shown, and the former are not taken.
        total_s: How long all of it may take, in seconds.
        most_bytes: How large it may be.

    Raises:
        InvalidRequestError: It cannot be had, or is no picture; says why.
    """
    try:
        async with asyncio.timeout(total_s):
            data = await _fetched(url, most_bytes)
    except TimeoutError:
        raise InvalidRequestError(
            f"{public_url(url)} did not send its picture within {total_s:g} s."
        ) from None
    try:
        return as_image(data)
    except InvalidRequestError:
        raise InvalidRequestError(
            f"{public_url(url)} is no image that models take: it begins with {data[:12]!r}. Valid: PNG, "
            "JPEG, GIF, WebP. Is it the page around the picture, and not the picture?"
        ) from None


async def _fetched(url: str, most_bytes: int) -> bytes:
    is_public: bool | None = None
    for _ in range(MOST_REDIRECTS + 1):
        _check(url)
        if is_public is None:
            is_public = not await _is_private(url)
        elif is_public and await _is_private(url):
            raise InvalidRequestError(
                f"The server leads on to {public_url(url)}, which is in a network of this machine's own. "
                "Give that address itself, if it is meant."
            )
        found = await _step(url, most_bytes)
        if isinstance(found, bytes):
            return found
        url = urljoin(url, found)
    raise InvalidRequestError(f"{public_url(url)} leads on and on, more than {MOST_REDIRECTS} times.")


def _check(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise InvalidRequestError(
            f"{public_url(url)!r} is no address of a picture. Valid: http:// or https://."
        )
    if parts.username or parts.password:
        raise InvalidRequestError(
            f"The address of the picture at {public_url(url)} holds a user or password, which are not sent. "
            "Fetch it yourself, and give its bytes."
        )


async def _step(url: str, most_bytes: int) -> bytes | str:
    """The picture, or where it is to be found instead."""
    shown = public_url(url)
    try:
        client = await asyncio.to_thread(
            make_client, httpx2.AsyncClient, url, timeout=STEP_S, headers=_HEADERS, follow_redirects=False
        )
        async with client, client.stream("GET", url) as response:
            if response.is_redirect and (place := response.headers.get("location")):
                return str(place)
            if response.status_code != 200:
                raise InvalidRequestError(
                    f"{shown} answered {response.status_code} {response.reason_phrase}."
                )
            return await _body(response, most_bytes, shown)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        if isinstance(error, FarmError):
            raise
        raise InvalidRequestError(_words(error, url)) from None


async def _body(response: httpx2.Response, most_bytes: int, shown: str) -> bytes:
    told = response.headers.get("content-length", "")
    data = bytearray()
    if not (re.fullmatch(r"[0-9]+", told) and int(told) > most_bytes):
        async for piece in response.aiter_bytes():
            data += piece
            if len(data) > most_bytes:
                break
        else:
            return bytes(data)
    raise InvalidRequestError(
        f"The picture at {shown} is larger than {most_bytes / 2**20:,.0f} MiB. Shrink it."
    )


async def _is_private(url: str) -> bool:
    """Whether an address is of this machine or of a network that others cannot reach."""
    parts = urlsplit(url)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            parts.hostname, parts.port or 0, type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError, ValueError):  # a name that only a proxy knows, or nobody
        return False
    return any(not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_global for *_, address in found)


def _words(error: Exception, url: str) -> str:
    return f"The picture cannot be fetched: {connection_error(error, url=url, provider='')}"
