"""A model file from the Hugging Face hub, over HTTP.

What broke off is kept as a part and resumed, in this run or the next. ``HF_ENDPOINT`` names another server
and ``HF_TOKEN`` is sent to it, and to no other. The order of sources, the lock and the final message are
``fetch.py``'s; names beside the target, the check of the digest and the move into place are ``staging.py``'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

import httpx2

from farm_notebook.config import FarmConfig
from farm_notebook.config.secrets import find_hub_token
from farm_notebook.types import LoadProgress
from farm_notebook.weights.catalog import CatalogModel, HubSource
from farm_notebook.weights.digest import hash_stream
from farm_notebook.weights.staging import (
    POLL_S,
    BadFileError,
    Count,
    Progress,
    SourceError,
    accept,
    delete,
    file_bytes,
    in_thread,
    one_line,
    open_binary,
    part_path,
    require_space,
)

__all__ = ["from_hub"]

RETRY_WAITS_S: tuple[float, ...] = (1.0, 2.0, 4.0)
STALL_S = 60.0
HUB_URL = "https://huggingface.co"


class _BrokenOffError(Exception):
    """The download broke off; asking again may complete it."""


async def from_hub(source: HubSource, model: CatalogModel, config: FarmConfig, target: Path) -> Progress:
    """Bring the file to ``target``; what an unfinished download has brought so far is kept.

    Args:
        source: The repository, the revision and the file in it.
        model: Gives the size and the digest that the file must have.
        config: Gives the connect timeout.
        target: Where the file goes; its folder must exist, and be locked by the caller.

    Yields:
        ``fetch`` progress, then ``verify`` progress; both again where the part was of another file.

    Raises:
        SourceError: The server refused, every retry failed, the disk has too little room, or the file
            is another.
        OSError: The folder cannot be written, or its disk is full.
    """
    part = part_path(target)
    if file_bytes(part) > model.size_bytes:
        part.unlink()
    require_space(target.parent, model.size_bytes - file_bytes(part))
    # What an earlier run left may be of another file; then one more try, from nothing.
    for may_restart in (True, False) if file_bytes(part) else (False,):
        async with contextlib.aclosing(_download(source, model, config, part)) as downloading:
            async for progress in downloading:
                yield progress
        verifying = in_thread(model, lambda count: _verify(part, model, target, count))
        try:
            async with contextlib.aclosing(verifying):
                async for progress in verifying:
                    yield progress
            return
        except BadFileError:
            if not may_restart:
                raise


async def _download(source: HubSource, model: CatalogModel, config: FarmConfig, part: Path) -> Progress:
    """Bring ``part`` to its full size, asking again when the connection breaks or the server stumbles."""
    endpoint = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or HUB_URL
    url = f"{endpoint}/{source.repo}/resolve/{source.revision}/{source.filename}"
    token = find_hub_token(config)
    headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {})
    timeout = httpx2.Timeout(STALL_S, connect=config.timeouts.connect_s)
    try:
        async with httpx2.AsyncClient(headers=headers, timeout=timeout, follow_redirects=True) as client:
            for wait_s in (*RETRY_WAITS_S, None):
                try:
                    async with contextlib.aclosing(_stream(client, url, model, part)) as streaming:
                        async for progress in streaming:
                            yield progress
                    return
                except (httpx2.TransportError, _BrokenOffError) as error:
                    if wait_s is None:
                        raise SourceError(
                            one_line(f"{error or type(error).__name__} from {url}", token)
                        ) from None
                    await asyncio.sleep(wait_s)
    # A bad URL, or a proxy setting httpx2 cannot use: ValueError where malformed, ImportError for SOCKS.
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, ImportError) as error:
        raise SourceError(one_line(f"{error} from {url}", token)) from None


async def _stream(client: httpx2.AsyncClient, url: str, model: CatalogModel, part: Path) -> Progress:
    """Ask once for what ``part`` still lacks, and append it (RFC 9110, section 14: range requests)."""
    have = file_bytes(part)
    if have == model.size_bytes:
        return
    asked = {"Range": f"bytes={have}-"} if have else {}
    async with client.stream("GET", url, headers=asked) as response:
        status = response.status_code
        continues = status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if status == 416 or (status == 206 and not continues):
            delete(part)
            raise _BrokenOffError(f"HTTP {status}, not the range that was asked,")
        if status >= 500:
            raise _BrokenOffError(f"HTTP {status}")
        if status not in (200, 206):
            raise SourceError(one_line(f"HTTP {status} from {url}"))
        have = have if continues else 0
        shown_at = 0.0
        with open_binary(part, "ab" if continues else "wb") as file:
            async for chunk in response.aiter_raw():
                have += len(chunk)
                if have > model.size_bytes:
                    break
                file.write(chunk)
                if time.monotonic() - shown_at >= POLL_S:
                    yield LoadProgress("fetch", have, model.size_bytes)
                    shown_at = time.monotonic()
    if have > model.size_bytes:
        delete(part)
        raise BadFileError(f"expected {model.size_bytes:,} bytes, got more")
    if have < model.size_bytes:
        raise _BrokenOffError(f"only {have:,} of {model.size_bytes:,} bytes")
    yield LoadProgress("fetch", have, model.size_bytes)


def _verify(part: Path, model: CatalogModel, target: Path, count: Count) -> None:
    with part.open("r+b") as file:
        digest = hash_stream(file, on_bytes=count)
        os.fsync(file.fileno())
    accept(part, digest, model, target)
