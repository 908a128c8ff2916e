"""Asks one endpoint through the official SDK: the key for each request, raw bytes back, errors as ours.

The SDK is made at first use, since its import takes half a second. Of a stream it gives the bytes, and no
object for each chunk: that would cost more than all the rest.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import httpx2
from pydantic_core import from_json

from farm_notebook.config import EndpointConfig, FarmConfig
from farm_notebook.errors import (
    AuthenticationError,
    FarmError,
    InvalidRequestError,
    MissingExtraError,
    ProviderError,
)
from farm_notebook.providers.http import connection_error, redact
from farm_notebook.providers.http_client import make_client
from farm_notebook.providers.keys import ServerKey
from farm_notebook.providers.openai.failure import section_of, status_failure
from farm_notebook.types import ModelRef

if TYPE_CHECKING:
    import openai

__all__ = ["EndpointClient"]

_CUSTOM_HEADERS = "OPENAI_CUSTOM_HEADERS"  # of the SDK's own; a header a line, for OpenAI alone
_CLOSES_STREAMS = "llama.cpp"  # as it names itself in the header Server
_QUOTED_BYTES = 200


class EndpointClient:
    """The connections to one endpoint.

    Args:
        endpoint: Where it is, and what it wants to know of the caller.
        config: The settings: of the timeouts ``connect_s``, as the pipeline has the others; where keys are.
        provider: Its name, for errors.
    """

    def __init__(self, endpoint: EndpointConfig, config: FarmConfig, provider: str) -> None:
        self.endpoint = endpoint
        self.base_url = endpoint.base_url.rstrip("/")
        self.provider = provider
        self._find_key = ServerKey(endpoint.api_key_env, config)
        self._connect_s = config.timeouts.connect_s
        self._sdk: openai.AsyncOpenAI | None = None
        self._foreign_headers: tuple[str, ...] = ()
        # llama.cpp closes a connection after a streamed answer, though it promises to keep it, and the next
        # request would run into the close. It speaks no TLS; another server is known by its first answer.
        self._keeps_connections = self.base_url.startswith("https:")
        self._making = asyncio.Lock()

    @property
    def lacks_key(self) -> bool:
        """Whether the endpoint wants a key, and its variable is not set."""
        return self.endpoint.api_key_env is not None and not self._key()

    async def ready(self) -> openai.AsyncOpenAI:
        """The SDK's client, made if need be, so that the next request is under way at once.

        Raises:
            AuthenticationError: The endpoint wants a key, and its variable is not set.
            MissingExtraError: The SDK is not installed.
        """
        if self.lacks_key:
            raise self._no_key()
        async with self._making:
            if self._sdk is None:
                # In a thread: the import and the system's certificates take half a second.
                self._sdk = await asyncio.to_thread(self._make)
            return self._sdk

    @asynccontextmanager
    async def stream(
        self, path: str, body: Mapping[str, Any], ref: ModelRef
    ) -> AsyncGenerator[httpx2.Response, None]:
        """The successful response to a body, its own body not yet read.

        Args:
            path: Behind the base URL.
            body: Sent as JSON.
            ref: The model that is asked, for errors.

        Raises:
            FarmError: Whatever went wrong, also while the caller reads.
        """
        async with self._response(path, ref, body=body) as response:
            yield response

    async def post(self, path: str, body: Mapping[str, Any], ref: ModelRef, *, read_s: float | None) -> bytes:
        """What answers a body, whole; ``read_s`` is the longest silence, which nobody else watches."""
        async with self._response(path, ref, body=body, read_s=read_s) as response:
            return await response.aread()

    async def get(self, path: str, *, read_s: float | None) -> Any:
        """The JSON at a path; ``read_s`` is the longest silence."""
        ref = ModelRef(self.provider, path)
        async with self._response(path, ref, read_s=read_s) as response:
            content = await response.aread()
            try:
                return from_json(content)
            except ValueError:
                raise ProviderError(
                    f"{ref} was answered with what is not JSON: {content[:_QUOTED_BYTES]!r}.",
                    provider=self.provider,
                ) from None

    async def aclose(self) -> None:
        """Close every connection; the next request opens new ones."""
        sdk, self._sdk = self._sdk, None
        if sdk is not None:
            await sdk.close()

    @asynccontextmanager
    async def _response(
        self,
        path: str,
        ref: ModelRef,
        *,
        body: Mapping[str, Any] | None = None,
        read_s: float | None = None,
    ) -> AsyncGenerator[httpx2.Response, None]:
        sdk = await self.ready()
        from openai import APIStatusError, AsyncStream  # loaded by now

        key = self._key()
        # Asked for a stream and for the HTTP client's own class, the SDK gives the response as it is, with
        # nothing of its body read or parsed.
        wish: dict[str, Any] = {
            "cast_to": httpx2.Response,
            "stream": True,
            "stream_cls": AsyncStream[Any],
            "options": {
                "headers": self._headers(key),
                "timeout": httpx2.Timeout(None, connect=self._connect_s, read=read_s),
            },
        }
        with self.typed(path):
            try:
                response: httpx2.Response = await (
                    sdk.get(path, **wish) if body is None else sdk.post(path, body=body, **wish)
                )
            except RuntimeError as error:
                if not sdk.is_closed():
                    raise
                message = f"The farm was closed before {ref} was asked. Make the call again."
                raise ProviderError(message, provider=self.provider) from error
            except APIStatusError as error:
                raise status_failure(error.response, ref, self.endpoint) from None
            self._keeps_connections |= response.headers.get("server") != _CLOSES_STREAMS
            try:
                yield response
            finally:
                await response.aclose()

    @contextmanager
    def typed(self, path: str) -> Generator[None, None, None]:
        """Foreign errors as ours, and none of ours with the key in it."""
        from openai import APIConnectionError

        key = self._key()
        try:
            try:
                yield
            except (APIConnectionError, httpx2.HTTPError, httpx2.InvalidURL) as error:
                where = f"{self.base_url}{path}"
                fix = f"Start the server, or correct {section_of(self.provider)}.base_url."
                raise connection_error(error, url=where, provider=self.provider, fix=fix) from error
            except UnicodeEncodeError as error:
                raise InvalidRequestError(
                    f"The request holds half a character, which no text may: {error.object[error.start]!r}."
                ) from None
        except FarmError as error:
            redact(error, [key])
            raise

    def _make(self) -> openai.AsyncOpenAI:
        """The SDK's client. It gets no key: each request has its own."""
        try:
            from openai import AsyncOpenAI, DefaultAsyncHttpxClient
        except ImportError as error:
            raise MissingExtraError(
                f"{self.provider} needs the openai package ({error}). "
                'Run: pip install "farm-notebook[openai]"'
            ) from error
        if self.provider != "openai":
            lines = os.environ.get(_CUSTOM_HEADERS, "").splitlines()
            self._foreign_headers = tuple(line.partition(":")[0].strip() for line in lines if ":" in line)
        return AsyncOpenAI(
            api_key="see the headers of each request",
            base_url=self.base_url,
            organization=self.endpoint.organization,
            project=self.endpoint.project,
            default_headers=dict(self.endpoint.headers),
            default_query=dict(self.endpoint.query),
            max_retries=0,
            http_client=make_client(DefaultAsyncHttpxClient, self.base_url, follow_redirects=False),
        )

    def _headers(self, key: str) -> dict[str, Any]:
        """What is of this request alone, and what the SDK would read from variables that are for OpenAI."""
        from openai import Omit

        own = {name.lower() for name in self.endpoint.headers}
        headers: dict[str, Any] = {
            name: Omit() for name in ("Authorization", *self._foreign_headers) if name.lower() not in own
        }
        if self.endpoint.organization is None:
            headers["OpenAI-Organization"] = Omit()
        if self.endpoint.project is None:
            headers["OpenAI-Project"] = Omit()
        if not self._keeps_connections:
            headers["Connection"] = "close"
        if key and self.endpoint.api_key_header.lower() == "authorization":
            headers["Authorization"] = f"Bearer {key}"
        elif key:
            headers[self.endpoint.api_key_header] = key
        return headers

    def _key(self) -> str:
        """The key as it is now; empty where there is none."""
        key = self._find_key()
        if not key.isascii() or not key.isprintable():
            raise AuthenticationError(
                f"The variable {self.endpoint.api_key_env} holds no key: a character of it is not printable "
                "ASCII. Copy the key again.",
                provider=self.provider,
            )
        return key

    def _no_key(self) -> AuthenticationError:
        variable = self.endpoint.api_key_env
        return AuthenticationError(
            f"{self.provider} needs a key, and the variable {variable} is not set. Put {variable}=... into a "
            f"file .env beside the notebook, run `farm config set-key {variable}` in a terminal, or set it "
            "before the start. A server that needs no key is an endpoint without api_key_env: "
            "Farm(endpoints={'local': {'base_url': 'http://localhost:8000/v1'}}).",
            provider=self.provider,
        )
