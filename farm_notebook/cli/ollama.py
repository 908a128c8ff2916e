"""``farm ollama``: a server of this machine, started, stopped and looked at."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncGenerator

from farm_notebook import loop
from farm_notebook.cli.terminal import ProgressLine, console, emit, is_terminal, note
from farm_notebook.config import FarmConfig, load_config
from farm_notebook.errors import FarmError
from farm_notebook.farm import Farm
from farm_notebook.providers.ollama.client import OllamaClient
from farm_notebook.providers.ollama.service import Service, ServiceStatus

__all__ = ["show", "start", "stop"]

SOMEBODY = "started by somebody else"


def start() -> None:
    """Start the server unless one answers, wait until it does, and fetch the models of the configuration.

    The server outlives this process. Ctrl-C while a model is on its way leaves the server running.

    Raises:
        FarmError: It cannot be started, or a model cannot be fetched; the other models were.
    """
    config = load_config()
    with _spinner("starting Ollama"):
        before, after = loop.run_blocking(_start(config))
    emit(f"{_sentence(after, 'already runs' if before.version else 'started')}", end="\n")
    failures = [error for model in config.ollama.pull if (error := _pull(Farm(config), model))]
    for failure in failures[1:]:
        note(f"error: {failure}")
    if failures:
        raise failures[0]


def stop() -> bool:
    """Stop the server if it was started here.

    Returns:
        Whether nothing of it runs any more; a server that somebody else started is left alone.

    Raises:
        FarmError: It cannot be stopped.
    """
    config = load_config()
    with _spinner("stopping Ollama"):
        before, outcome = loop.run_blocking(_stop(config))
    match outcome:
        case "stopped":
            emit(f"stopped {before.started_here}", end="\n")
        case "not running":
            emit(f"nothing runs at {before.url}", end="\n")
        case _:
            note(f"The server at {before.url} was {SOMEBODY} and is left alone.")
    return outcome != "not ours"


def show() -> bool:
    """Write what is known of the server to stdout; whether it answers."""
    status = loop.run_blocking(_status(load_config()))
    if status.version is None:
        emit(f"not running: {status.trouble}", end="\n")
    else:
        emit(_sentence(status, "runs"), end="\n")
    return status.version is not None


def _sentence(status: ServiceStatus, verb: str) -> str:
    return f"Ollama {status.version} {verb} at {status.url} ({status.started_here or SOMEBODY})"


def _pull(farm: Farm, model: str) -> FarmError | None:
    """Fetch one model, with its progress on stderr; what went wrong, if something did."""
    verb = "is already here"
    try:
        with contextlib.closing(farm.pull(f"ollama:{model}")) as pulling, ProgressLine() as line:
            for progress in pulling:
                verb = "fetched"
                line.show(progress)
    except FarmError as error:
        return error
    emit(f"ollama:{model} {verb}", end="\n")
    return None


def _spinner(what: str) -> contextlib.AbstractContextManager[object]:
    """Something that moves on a terminal, for what may take long: Docker may fetch its image first."""
    return console(stderr=True).status(what) if is_terminal(sys.stderr) else contextlib.nullcontext()


@contextlib.asynccontextmanager
async def _service(config: FarmConfig) -> AsyncGenerator[Service, None]:
    client = OllamaClient(config)
    try:
        yield Service(config, client)
    finally:
        await client.aclose()


async def _start(config: FarmConfig) -> tuple[ServiceStatus, ServiceStatus]:
    async with _service(config) as service:
        return await service.status(), await service.start()


async def _stop(config: FarmConfig) -> tuple[ServiceStatus, str]:
    async with _service(config) as service:
        return await service.status(), await service.stop()


async def _status(config: FarmConfig) -> ServiceStatus:
    async with _service(config) as service:
        return await service.status()
