"""What the tests of several stores use: Redis servers and clients of them, and disks that are in the way."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis_server import PATIENT_S, Clients, RedisServer

from farm_notebook.config import RedisConfig
from farm_notebook.stores.redis_client import RedisClient


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One for all tests of a module."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """One that a test may stop."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    """A function that makes a client; all are closed in the end."""
    made: list[RedisClient] = []

    def make(
        url: str,
        password: Callable[[], str] = str,
        *,
        username: str | None = None,
        prefix: str = "farm:",
        timeout_s: float = PATIENT_S,
        **options: Any,
    ) -> RedisClient:
        config = RedisConfig(url=url, username=username, prefix=prefix)
        made.append(RedisClient(config, password, timeout_s=timeout_s, **options))
        return made[-1]

    yield make
    for client in made:
        await client.aclose()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a disk can only be mounted by root, and not in every container")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def visible_folder() -> Iterator[Path]:
    """One that other users may look into, as they may not into pytest's own."""
    folder = Path("/tmp") / f"farm-visible-{os.getpid()}"
    folder.mkdir()
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)
