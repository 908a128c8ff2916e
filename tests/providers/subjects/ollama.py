"""An Ollama server: the double, which speaks the wire of the real one."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from contract import Subject
from ollama_double import LOOK_S, OllamaDouble
from ollama_mind import ENDLESS, STORY

from farm_notebook import loop
from farm_notebook.config import load_config
from farm_notebook.providers.ollama.provider import OllamaProvider


@contextmanager
def ollama(request: pytest.FixtureRequest) -> Iterator[Subject]:
    with tempfile.TemporaryDirectory() as folder, OllamaDouble(Path(folder)).running() as double:
        double.install("parrot:latest", "embedder:latest")
        config = load_config({"ollama": {"url": double.url}, "cache_dir": folder})
        provider = OllamaProvider(config)

        async def is_working() -> bool:
            await asyncio.sleep(LOOK_S)
            return double.working > 0

        yield Subject(
            make=lambda: OllamaProvider(config),
            provider=provider,
            model="parrot",
            questions=tuple((f"Say {word}", word) for word in ("alpha", "beta", "gamma", "delta")),
            long=("parrot", STORY),
            endless=("parrot", ENDLESS),
            is_working=is_working,
            samples=True,
            loads=True,
            calls_tools=True,
            forces_tools=False,
            follows_schemas=True,
        )
        loop.run_blocking(provider.aclose())
        assert double.working == 0
