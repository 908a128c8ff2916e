"""``transformers serve`` with one model, as a process that ends with its tests, however they end."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

START_S = 120.0
_TELLS = 2000  # the last characters of a log that are worth reading


@dataclass(frozen=True, slots=True)
class TransformersServer:
    """A server that answers.

    Args:
        url: Of its protocol, with ``/v1``.
        model: The only one that it serves.
        pid: Of its process, which is the one that works.
    """

    url: str
    model: str
    pid: int


@pytest.fixture(scope="session")
def transformers_server(
    converted_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TransformersServer]:
    """One for the whole session, with the converted model, whose answers are sampled."""
    folder = tmp_path_factory.mktemp("transformers-server")
    with serving(sampling(converted_model, folder / "model"), folder) as server:
        yield server


def sampling(model: Path, folder: Path) -> Path:
    """A folder with the same model, whose answers are sampled.

    A temperature alone is ignored by this server: the checkpoint has to say that it wants to be sampled.
    """
    folder.mkdir()
    for file in model.iterdir():
        (folder / file.name).symlink_to(file)
    said = json.loads((model / "generation_config.json").read_text())
    (folder / "generation_config.json").unlink()
    (folder / "generation_config.json").write_text(json.dumps(said | {"do_sample": True}))
    return folder


@contextmanager
def serving(
    model: Path, folder: Path, *, start_s: float = START_S, program: Path = Path(__file__)
) -> Iterator[TransformersServer]:
    """A server on one thread and without the hub, for as long as the block lasts.

    Args:
        model: A folder of no other server, by which this one is known.
        folder: For its log.
        start_s: The longest time until it answers.
        program: Is started, as this file is.

    Raises:
        AssertionError: It ended, or did not answer in time; with the end of its log.
    """
    port, cache = _lasting_port(), folder / "hub"
    cache.mkdir()  # older ones list what is there, and break where there is nothing
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    where = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    log = folder / "log"
    with (
        log.open("w") as out,
        # Without the folder of this file on its path, where it would find our modules for its own.
        subprocess.Popen(
            [sys.executable, "-P", str(program), "serve", *where, str(model)],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            env=environment,
        ) as process,
    ):
        try:
            url, give_up_at = f"http://127.0.0.1:{port}/v1", time.monotonic() + start_s
            while _served(url) != [str(model)]:
                _check_runs(process, log)
                if time.monotonic() > give_up_at:
                    raise AssertionError(f"no answer of {url} within {start_s:g} s: {_end_of(log)}")
                time.sleep(0.1)
            yield TransformersServer(url, str(model), process.pid)
            _check_runs(process, log)
        finally:
            process.kill()


def _check_runs(process: subprocess.Popen[bytes], log: Path) -> None:
    """Raise ``AssertionError`` where it ended."""
    if (status := process.poll()) is not None:
        raise AssertionError(f"transformers serve ended with status {status}: {_end_of(log)}")


def _end_of(log: Path) -> str:
    return log.read_text()[-_TELLS:] or "it said nothing"


def _served(url: str) -> list[Any]:
    """The names of the models that are served there; none where nobody answers."""
    try:
        return [model["id"] for model in httpx2.get(f"{url}/models", trust_env=False).json()["data"]]
    except (httpx2.HTTPError, KeyError, TypeError, ValueError):
        return []


def _lasting_port() -> int:
    """One that is free, and that the system gives to nobody until a slow server takes it."""
    for port in random.sample(range(20_000, 30_000), 100):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("all ports are taken")


def _end_with_parent() -> None:
    """End this process when its parent has, of which standard input is the sign."""

    def wait() -> None:
        os.read(0, 1)  # sys.stdin would be locked by this thread, which an interpreter that ends dies of
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    _end_with_parent()
    from transformers.cli.transformers import main

    main()
