"""Every provider keeps the contract; a new one adds one entry to ``SUBJECTS``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import farside
import pytest
from contract import ProviderContract, Subject, recorded_io

from farm_notebook import loop
from farm_notebook.config import load_config
from farm_notebook.providers.llamacpp.provider import LlamaCppProvider
from farm_notebook.providers.scripted import ScriptedProvider

CAPITALS = (("Japan", "Tokyo"), ("Germany", "Berlin"), ("Russia", "Moscow"), ("Egypt", "Cairo"))
LONG_STORY = "Write a very long story."


@contextmanager
def scripted(request: pytest.FixtureRequest) -> Iterator[Subject]:
    async def is_working() -> bool:
        return ScriptedProvider.open_streams > 0

    yield Subject(
        make=lambda: ScriptedProvider(load_config()),
        provider=ScriptedProvider(load_config()),
        model="echo",
        questions=tuple((f"Say {word}", word) for word in ("alpha", "beta", "gamma", "delta")),
        long=("count-50", "count"),
        endless=("stall-3", "hang"),
        is_working=is_working,
        samples=False,
        loads=False,
    )
    assert ScriptedProvider.open_streams == 0


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
    )
    loop.run_blocking(provider.aclose())


SUBJECTS: dict[str, Callable[[pytest.FixtureRequest], AbstractContextManager[Subject]]] = {
    "scripted": scripted,
    "llamacpp": embedded,
}
NEEDS_MODEL = {"llamacpp"}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[pytest.mark.model] if name in NEEDS_MODEL else []) for name in SUBJECTS
    ],
)
def subject(request: pytest.FixtureRequest, no_leaks_in_module: None) -> Iterator[Subject]:
    with SUBJECTS[request.param](request) as subject:
        yield subject


class TestContract(ProviderContract):
    """The shared suite, for each of ``SUBJECTS``."""


def test_the_recorder_of_io_sees_io() -> None:
    with recorded_io() as events:
        open(__file__).close()
    assert len(events) == 1
    assert __file__ in events[0]
