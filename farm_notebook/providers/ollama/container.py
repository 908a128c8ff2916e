"""An Ollama server in a Docker container, for machines that have Docker and no Ollama.

Source: docs/docker.mdx of Ollama; the Docker command line's reference.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from farm_notebook.errors import ProviderConnectionError
from farm_notebook.providers.ollama.client import PROVIDER
from farm_notebook.providers.ollama.commands import run
from farm_notebook.providers.ollama.url import DEFAULT_PORT, Address

__all__ = ["CONTAINER", "ServeContainer"]

CONTAINER = "farm-ollama"
VOLUME = "farm-ollama"  # the models stay in it when the container goes
IMAGE = "ollama/ollama"
_INSPECT = ("container", "inspect", "--format")
_LAST_WORDS = "3"


@dataclass(frozen=True, slots=True)
class ServeContainer:
    """The container ``farm-ollama``.

    Args:
        docker: The program that runs it.
        id: What Docker calls it; another of its name has another.
    """

    docker: str
    id: str

    def __str__(self) -> str:
        return f"container {CONTAINER}"

    @classmethod
    async def launch(cls, docker: str, address: Address) -> ServeContainer:
        """Start the container that is there, or a new one; the first time Docker fetches the image.

        One that was made for another port is replaced, which loses nothing: the models are in the volume.

        Raises:
            ProviderConnectionError: Docker does not do it.
        """
        host = f"[{address.host}]" if ":" in address.host else "127.0.0.1"
        there = await run(docker, *_INSPECT, "{{json .HostConfig.PortBindings}}", CONTAINER)
        if not there.code:
            if _is_bound(there.output, host, address.port):
                await _do(docker, "start", CONTAINER)
                return cls(docker, await _id(docker))
            await _do(docker, "rm", CONTAINER)
        devices = ("--gpus=all",) if await _has_gpus(docker) else ()
        made = await _do(
            docker,
            "run",
            "-d",
            *devices,
            "--name",
            CONTAINER,
            "-v",
            f"{VOLUME}:/root/.ollama",
            "-p",
            f"{host}:{address.port}:{DEFAULT_PORT}",
            IMAGE,
        )
        return cls(docker, made.strip().splitlines()[-1])

    async def is_alive(self) -> bool:
        """Whether it still runs."""
        state = await run(self.docker, *_INSPECT, "{{.State.Running}}", self.id)
        return state.output.strip() == "true"

    async def stop(self) -> None:
        """Stop the container; it is kept, and its models too.

        Raises:
            ProviderConnectionError: Docker does not do it.
        """
        await _do(self.docker, "stop", self.id)

    async def last_words(self) -> str:
        """The end of what the server wrote."""
        log = await run(self.docker, "logs", "--tail", _LAST_WORDS, self.id)
        return " | ".join(line.strip() for line in (log.output + log.complaint).splitlines() if line.strip())


async def _do(docker: str, *arguments: str) -> str:
    outcome = await run(docker, *arguments)
    if outcome.code:
        raise ProviderConnectionError(
            f"Docker does not {arguments[0]} the container {CONTAINER}: {outcome.words}. See whether `docker "
            "info` works, or install Ollama from https://ollama.com/download.",
            provider=PROVIDER,
        )
    return outcome.output


async def _id(docker: str) -> str:
    return (await _do(docker, *_INSPECT, "{{.Id}}", CONTAINER)).strip()


async def _has_gpus(docker: str) -> bool:
    """Whether Docker can hand the machine's NVIDIA GPUs to a container."""
    return "nvidia" in (await run(docker, "info", "--format", "{{json .Runtimes}}")).output


def _is_bound(bindings: str, host: str, port: int) -> bool:
    """Whether a container's port is published where it is wanted."""
    try:
        published = json.loads(bindings)[f"{DEFAULT_PORT}/tcp"]
        return {"HostIp": host.strip("[]"), "HostPort": str(port)} in published
    except (ValueError, KeyError, TypeError):
        return False
