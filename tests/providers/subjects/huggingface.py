"""The provider in this process, with the real model converted and with a tiny one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from checkpoints import COUNT, LANDS, TICK, one_thread
from contract import Subject, drain

from farm_notebook import loop
from farm_notebook.config import load_config
from farm_notebook.providers.huggingface.provider import HuggingFaceProvider

LONG_STORY = "Write a very long story."


@contextmanager
def real(request: pytest.FixtureRequest) -> Iterator[Subject]:
    model = str(request.getfixturevalue("converted_model"))
    with _subject(model, long=LONG_STORY, endless=LONG_STORY) as subject:
        yield replace(subject, follows_schemas=True)


@contextmanager
def tiny(request: pytest.FixtureRequest) -> Iterator[Subject]:
    model = str(request.getfixturevalue("tiny_model"))
    with _subject(model, long=COUNT, endless=TICK) as subject:
        yield replace(subject, calls_tools=True)


@contextmanager
def _subject(model: str, *, long: str, endless: str) -> Iterator[Subject]:
    config = load_config({"offline": True, "huggingface": {"max_tokens": 60_000}})
    provider = HuggingFaceProvider(config)
    loop.run_blocking(drain(provider.load_model(model)))  # a folder is listed once it was loaded
    with one_thread():
        yield Subject(
            make=lambda: HuggingFaceProvider(config),
            provider=provider,
            model=model,
            questions=tuple((f"What is the capital of {land}?", city) for land, city in LANDS),
            long=(model, long),
            endless=(model, endless),
            is_working=is_working,
            samples=True,
            loads=True,
        )
    loop.run_blocking(provider.aclose())


async def is_working() -> bool:
    """Whether a thread of the provider runs; each lives as long as its work."""
    return any(thread.name == "farm-huggingface" for thread in threading.enumerate())
