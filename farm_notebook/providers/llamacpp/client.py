"""The connection to the child processes, and what it means when it breaks."""

from __future__ import annotations

import json
from typing import Any

import httpx2

from farm_notebook.errors import FarmError, ProviderConnectionError
from farm_notebook.providers.llamacpp.abilities import Abilities
from farm_notebook.providers.llamacpp.server import PROVIDER, LlamaServer
from farm_notebook.providers.openai_wire import wire_error

__all__ = ["Client", "json_of"]


class Client:
    """Asks the servers of one provider.

    Args:
        connect_s: Until a server accepts a connection; ``None`` waits for ever.
    """

    def __init__(self, connect_s: float | None) -> None:
        self._connect_s = connect_s
        self._http: httpx2.AsyncClient | None = None

    @property
    def http(self) -> httpx2.AsyncClient:
        """What sends, made at first use. Between two processes of one machine there is no proxy, and no
        certificate to verify: loading those of the system takes a tenth of a second.
        """
        if self._http is None:
            timeout = httpx2.Timeout(None, connect=self._connect_s)
            self._http = httpx2.AsyncClient(trust_env=False, verify=False, timeout=timeout)
        return self._http

    async def ask(self, server: LlamaServer, path: str, body: Any = None) -> Any:
        """What a server answers to a short question: a JSON value.

        Args:
            server: Which one.
            path: Of its API, with the slash in front.
            body: To be posted; without one it is a GET.

        Raises:
            FarmError: It refused, or is gone.
        """
        method = "GET" if body is None else "POST"
        try:
            response = await self.http.request(
                method, server.base_url + path, json=body, headers=server.headers
            )
        except httpx2.HTTPError as error:
            raise await self.broken(server, error) from error
        answer = json_of(response.content)
        if response.status_code != httpx2.codes.OK:
            raise wire_error(answer, server.spec.ref, response.status_code)
        return answer

    async def abilities(self, server: LlamaServer) -> Abilities:
        """What the server's model can do; asked once."""
        if server.abilities is None:
            server.abilities = Abilities.of(await self.ask(server, "/props"))
        return server.abilities

    async def settle(self, server: LlamaServer) -> None:
        """Wait until a server has let go of the requests whose callers left, which takes it a moment."""
        while server.is_settling:
            slots = await self.ask(server, "/slots")
            server.is_settling = any(slot["is_processing"] for slot in slots)

    async def broken(self, server: LlamaServer, error: httpx2.HTTPError) -> FarmError:
        """What a broken connection means: nearly always that the child died."""
        if await server.died():
            return await server.crash()
        what = f"{type(error).__name__} {error}".rstrip()
        return ProviderConnectionError(
            f"The connection to the process of {server.spec.ref} broke: {what}", provider=PROVIDER
        )

    async def aclose(self) -> None:
        """Close all connections."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None


def json_of(content: bytes) -> Any:
    """A body as JSON; what is none, as an error that quotes it."""
    try:
        return json.loads(content)
    except ValueError:
        return {"error": {"message": content[:200].decode(errors="replace")}}
