"""The requests of Ollama's API: sent, checked, and their failures told as typed errors."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import cached_property
from typing import Any, Literal

import httpx2
from pydantic_core import from_json

from farm_notebook.config import FarmConfig
from farm_notebook.errors import AuthenticationError, FarmError, ProviderError
from farm_notebook.providers.http import connection_error, public_url, redact
from farm_notebook.providers.http_body import body_chunks
from farm_notebook.providers.http_client import make_client
from farm_notebook.providers.keys import ServerKey
from farm_notebook.providers.ollama.failure import ollama_error
from farm_notebook.providers.ollama.url import DEFAULT_PORT, Address, parse_address
from farm_notebook.types import ModelRef

__all__ = ["OllamaClient", "is_refused"]

Method = Literal["GET", "POST", "DELETE"]

PROVIDER = "ollama"
LOOK_S = 30.0  # what a server has in memory or in its index, it tells at once or not at all
_QUOTED_CHARACTERS = 200
# A compressing proxy would hold back what the model says until it is worth a block.
_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


class OllamaClient:
    """One server.

    Args:
        config: The settings; the address is read at the first request.
    """

    def __init__(self, config: FarmConfig) -> None:
        self._config = config
        self._key = ServerKey(config.ollama.api_key_env, config)
        self._client: httpx2.AsyncClient | None = None
        self._urls: dict[str, httpx2.URL] = {}

    @cached_property
    def address(self) -> Address:
        """Where the server is.

        Raises:
            ConfigError: The configured URL is not valid.
        """
        return parse_address(self._config.ollama.url)

    async def version(self, timeout_s: float = LOOK_S) -> str:
        """The server's version.

        Raises:
            ProviderError: Nothing answers, or what answers is no Ollama.
        """
        body = await self.get("/api/version", timeout_s=timeout_s)
        if not isinstance(version := body.get("version"), str):
            raise ProviderError(
                f"{self.address.url} answers, but is no Ollama: {str(body)[:_QUOTED_CHARACTERS]!r}.",
                provider=PROVIDER,
            )
        return version

    async def get(self, path: str, *, timeout_s: float | None = LOOK_S) -> dict[str, Any]:
        """Ask for a JSON object."""
        return await self._ask("GET", path, None, None, timeout_s)

    async def post(
        self, path: str, body: dict[str, Any], *, timeout_s: float | None = LOOK_S
    ) -> dict[str, Any]:
        """Send a JSON object whose ``model`` is what it is about, and get one.

        Args:
            path: Of the call, as ``/api/show``.
            body: Its parameters.
            timeout_s: Of each read; ``None`` waits for ever.

        Raises:
            ModelNotFoundError: The server does not have the model.
            FarmError: Whatever else went wrong.
        """
        return await self._ask("POST", path, body, ModelRef(PROVIDER, body["model"]), timeout_s)

    async def delete(self, path: str, body: dict[str, Any]) -> None:
        """As ``post``, with another verb, and with nothing to hear but that it was done."""
        await self._ask("DELETE", path, body, ModelRef(PROVIDER, body["model"]), LOOK_S)

    @asynccontextmanager
    async def opened(self, path: str, body: dict[str, Any]) -> AsyncGenerator[AsyncIterator[bytes], None]:
        """Send a JSON object and read the response while it comes; leaving closes the connection.

        How long to wait is for others to say: for an answer the timers of the pipeline, and a pull may take
        as long as it takes.
        """
        ref = ModelRef(PROVIDER, body["model"])
        with self._typed():
            async with self._http.stream(
                "POST", self._url(path), content=json.dumps(body), headers=self._headers()
            ) as response:
                await self._check(response, ref)
                async with aclosing(body_chunks(response)) as chunks:
                    yield chunks

    def explain(self, body: Any, ref: ModelRef) -> FarmError:
        """The typed error for an error inside a stream."""
        return ollama_error(body, ref, url=self.address.url, secrets=self._secrets())

    async def aclose(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _ask(
        self, method: Method, path: str, body: Any, ref: ModelRef | None, timeout_s: float | None
    ) -> dict[str, Any]:
        timeout = httpx2.Timeout(timeout_s, connect=self._config.timeouts.connect_s)
        content = None if body is None else json.dumps(body)
        url = self._url(path)
        with self._typed():
            async with self._http.stream(
                method, url, content=content, headers=self._headers(), timeout=timeout
            ) as response:
                await self._check(response, ref)
                answer = await response.aread()
            found = _json(answer) if answer else {}  # deleting is answered with nothing
            if not isinstance(found, dict):
                raise ProviderError(
                    f"{url} sent what is no JSON object: {str(found)[:_QUOTED_CHARACTERS]!r}. Is that an "
                    "Ollama server?",
                    provider=PROVIDER,
                )
        return found

    @contextmanager
    def _typed(self) -> Generator[None, None, None]:
        """Foreign errors as ours, and none of ours with the key in it."""
        try:
            try:
                yield
            except httpx2.HTTPError as error:
                raise self._broken(error) from error
        except FarmError as error:
            redact(error, self._secrets())
            raise

    async def _check(self, response: httpx2.Response, ref: ModelRef | None) -> None:
        if response.is_redirect:
            raise ProviderError(
                f"{self.address.url} sends its callers on to "
                f"{public_url(response.headers.get('location', 'elsewhere'))!r}. Set OLLAMA_URL to where the "
                "server is.",
                provider=PROVIDER,
                status=response.status_code,
            )
        if response.status_code != httpx2.codes.OK:
            raise ollama_error(
                _json(await response.aread()),
                ref,
                status=response.status_code,
                headers=response.headers,
                url=self.address.url,
                secrets=self._secrets(),
            )

    @property
    def _http(self) -> httpx2.AsyncClient:
        """The client, made at first use."""
        if self._client is None:
            self._client = make_client(
                httpx2.AsyncClient,
                self.address.url,
                headers=_HEADERS,
                timeout=httpx2.Timeout(None, connect=self._config.timeouts.connect_s),
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20),
            )
        return self._client

    def _url(self, path: str) -> httpx2.URL:
        """Where a call of the API is; parsed once, for that is half the work of making a request."""
        if path not in self._urls:
            self._urls[path] = httpx2.URL(self.address.url + path)
        return self._urls[path]

    def _headers(self) -> dict[str, str]:
        """What is of this request alone: the key as it is now."""
        headers: dict[str, str] = {}
        for key in self._secrets():
            if not (key.isascii() and key.isprintable()):
                raise AuthenticationError(
                    f"The key in {self._config.ollama.api_key_env} has characters that no key has. Set it "
                    "anew, without quotes and line breaks.",
                    provider=PROVIDER,
                )
            headers["Authorization"] = f"Bearer {key}"
        return headers

    def _secrets(self) -> tuple[str, ...]:
        """The key, if one is set now."""
        key = self._key()
        return (key,) if key else ()

    def _broken(self, error: httpx2.HTTPError) -> ProviderError:
        address = self.address
        fix = (
            "Start it with `farm ollama start` (or `ollama serve`)."
            if address.is_loopback
            else "Start Ollama there with `ollama serve`, listening on more than loopback, or set OLLAMA_URL."
        )
        if address.port_is_implied:
            fix += (
                f" A URL without a port means {address.port}; Ollama listens on {DEFAULT_PORT} unless told "
                "otherwise."
            )
        return connection_error(error, url=address.url, provider=PROVIDER, fix=fix)


def is_refused(error: BaseException) -> bool:
    """Whether an error of this client means that nothing listens there."""
    return isinstance(error.__cause__, httpx2.ConnectError)


def _json(content: bytes) -> Any:
    try:
        return from_json(content)
    except ValueError:
        return content.decode(errors="replace")
