"""The scripted provider, which needs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from contract import Subject

from farm_notebook.config import load_config
from farm_notebook.providers.scripted import ScriptedProvider


@contextmanager
def scripted(request: pytest.FixtureRequest) -> Iterator[Subject]:
    async def is_working() -> bool:
        return ScriptedProvider.open_streams > 0

    yield Subject(
        make=lambda: ScriptedProvider(load_config()),
        provider=ScriptedProvider(load_config()),
        model="echo",
        questions=tuple((f"Say {word}", word) for word in ("alpha", "beta", "gamma", "delta")),
        long=("sample-50", "count"),
        endless=("stall-3", "hang"),
        is_working=is_working,
        samples=True,
        loads=False,
        calls_tools=True,
        follows_schemas=True,
    )
    assert ScriptedProvider.open_streams == 0
