"""The embedded provider with its real model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import farside
import pytest
from contract import Subject

from farm_notebook import loop
from farm_notebook.config import load_config
from farm_notebook.providers.llamacpp.provider import LlamaCppProvider

CAPITALS = (("Japan", "Tokyo"), ("Germany", "Berlin"), ("Russia", "Moscow"), ("Egypt", "Cairo"))
LONG_STORY = "Write a very long story."


@contextmanager
def embedded(request: pytest.FixtureRequest) -> Iterator[Subject]:
    model = request.getfixturevalue("embedded_model").removeprefix("llamacpp:")
    children: Callable[[], set[int]] = request.getfixturevalue("llamacpp_children")
    others = children()
    config = load_config()
    provider = LlamaCppProvider(config)

    async def is_working() -> bool:
        return any([await farside.is_working(pid) for pid in children() - others])

    yield Subject(
        make=lambda: LlamaCppProvider(config),
        provider=provider,
        model=model,
        questions=tuple((f"What is the capital of {land}?", city) for land, city in CAPITALS),
        long=(model, LONG_STORY),
        endless=(model, LONG_STORY),
        is_working=is_working,
        samples=True,
        loads=True,
        calls_tools=True,
        follows_schemas=True,
    )
    loop.run_blocking(provider.aclose())
