"""Pulls of an Ollama server: how far they are, who shares them, and what happens when they break."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from contract import drain, on_farm_loop
from hypothesis import given
from hypothesis import strategies as st
from ollama_double import OllamaDouble
from ollama_mind import REGISTRY

from farm_notebook import loop
from farm_notebook.config import load_config
from farm_notebook.errors import (
    FetchError,
    IncompleteStreamError,
    ModelNotFoundError,
    ProviderConnectionError,
    ProviderError,
)
from farm_notebook.providers.ollama.client import OllamaClient
from farm_notebook.providers.ollama.provider import OllamaProvider
from farm_notebook.providers.ollama.pull import Layers, Pulls
from farm_notebook.types import LoadProgress

MODEL = "parrot:8b"
SIZE = sum(REGISTRY[MODEL].sizes)


@pytest.fixture
def double(tmp_path: Path, no_leaks: None) -> Iterator[OllamaDouble]:
    with OllamaDouble(tmp_path / "disk").running() as double:
        yield double


@pytest.fixture
def client(double: OllamaDouble) -> Iterator[OllamaClient]:
    client = OllamaClient(load_config({"ollama": {"url": double.url}}))
    yield client
    loop.run_blocking(client.aclose())


@pytest.fixture
def pulls(client: OllamaClient) -> Iterator[Pulls]:
    pulls = Pulls(client, waits_s=(0.0, 0.0, 0.0))
    yield pulls
    loop.run_blocking(pulls.aclose())


async def reports_of(pulling: AsyncGenerator[LoadProgress, None]) -> list[LoadProgress]:
    return [progress async for progress in pulling]


def assert_growing(reports: Sequence[LoadProgress]) -> None:
    for before, after in itertools.pairwise(reports):
        assert after.completed_bytes >= before.completed_bytes


@on_farm_loop
async def test_a_pull_tells_its_bytes_over_all_layers(pulls: Pulls, double: OllamaDouble) -> None:
    reports = await reports_of(pulls.pull(MODEL, is_here=False))
    assert_growing(reports)
    assert reports[-1] == LoadProgress("verify", SIZE, SIZE)
    assert [model.name for model in double.installed()] == [MODEL]


@on_farm_loop
async def test_a_model_that_is_here_tells_nothing_and_is_asked_for_all_the_same(
    pulls: Pulls, double: OllamaDouble
) -> None:
    double.install(MODEL)
    assert await reports_of(pulls.pull(MODEL, is_here=True)) == []
    assert len(double.asked_for("/api/pull")) == 1


@on_farm_loop
async def test_a_newer_version_of_what_is_here_tells_of_the_bytes_that_are_missing(
    pulls: Pulls, double: OllamaDouble
) -> None:
    double.install(MODEL)
    digest, size = REGISTRY[MODEL].layers[1]
    double.blob(digest).unlink()
    reports = await reports_of(pulls.pull(MODEL, is_here=True))
    assert reports
    assert reports[0].completed_bytes >= SIZE - size


@on_farm_loop
async def test_who_asks_for_the_same_model_shares_its_pull(pulls: Pulls, double: OllamaDouble) -> None:
    double.gate.clear()
    names = (MODEL, MODEL, f"library/{MODEL}")
    followers = [asyncio.create_task(reports_of(pulls.pull(name, is_here=False))) for name in names]
    await until_pulling(double)
    double.gate.set()
    everyone = await asyncio.gather(*followers)
    assert len(double.asked_for("/api/pull")) == 1
    for reports in everyone:
        assert_growing(reports)
        assert reports[-1] == LoadProgress("verify", SIZE, SIZE)


@on_farm_loop
async def test_a_pull_goes_on_until_the_last_one_leaves(pulls: Pulls, double: OllamaDouble) -> None:
    double.gate.clear()
    first, second = (pulls.pull(MODEL, is_here=False) for _ in range(2))
    async with aclosing(first), aclosing(second):
        await anext(first)
        await anext(second)
        await until_pulling(double)
        await first.aclose()
        assert double.pulling == 1
        assert list(pulls.progress) == [MODEL]
        await second.aclose()
        assert await asyncio.to_thread(double.is_idle, 3.0)
        assert pulls.progress == {}
    double.gate.set()
    assert (await reports_of(pulls.pull(MODEL, is_here=False)))[-1].completed_bytes == SIZE
    assert len(double.asked_for("/api/pull")) == 2


@on_farm_loop
async def test_who_is_cancelled_leaves_too(pulls: Pulls, double: OllamaDouble) -> None:
    double.gate.clear()
    follower = asyncio.create_task(reports_of(pulls.pull(MODEL, is_here=False)))
    await until_pulling(double)
    follower.cancel()
    with pytest.raises(asyncio.CancelledError):
        await follower
    assert await asyncio.to_thread(double.is_idle, 3.0)


@on_farm_loop
async def test_a_connection_that_breaks_is_made_again_and_goes_on_where_it_was(
    pulls: Pulls, double: OllamaDouble
) -> None:
    double.drops = 2
    reports = await reports_of(pulls.pull(MODEL, is_here=False))
    assert len(double.asked_for("/api/pull")) == 3
    assert_growing(reports)
    assert reports[-1] == LoadProgress("verify", SIZE, SIZE)


@pytest.mark.parametrize(
    ("body", "kind"),
    [('{"status": "pulling manifest"}\n', IncompleteStreamError), (None, ProviderConnectionError)],
)
@on_farm_loop
async def test_one_that_breaks_again_and_again_is_given_up(
    client: OllamaClient, double: OllamaDouble, body: str | None, kind: type[ProviderError]
) -> None:
    if body is None:
        config = load_config({"ollama": {"url": "127.0.0.1:1"}})
        client = OllamaClient(config)
    else:
        double.always["/api/pull"] = (200, body, {})
    pulls = Pulls(client, waits_s=(0.0, 0.0))
    with pytest.raises(kind):
        await drain(pulls.pull(MODEL, is_here=False))
    assert len(double.asked_for("/api/pull")) == (3 if body else 0)
    assert pulls.progress == {}


@on_farm_loop
async def test_what_the_registry_does_not_have_is_not_found(pulls: Pulls) -> None:
    with pytest.raises(ModelNotFoundError, match=r"'ollama:nobody' is not in Ollama's registry.*library"):
        await drain(pulls.pull("nobody", is_here=False))


@pytest.mark.parametrize(
    "words", ["max retries exceeded: dial tcp: lookup registry: no such host", "no space left on device"]
)
@on_farm_loop
async def test_what_goes_wrong_at_the_server_is_told_and_not_tried_again(
    pulls: Pulls, double: OllamaDouble, words: str
) -> None:
    lines = f'{{"status": "pulling manifest"}}\n{{"error": "{words}"}}\n'
    double.scripted["/api/pull"] = (200, lines, {})
    with pytest.raises(FetchError, match=words):
        await drain(pulls.pull(MODEL, is_here=False))
    assert len(double.asked_for("/api/pull")) == 1


@pytest.mark.parametrize("line", ["<html>", "[]", '{"status": 7}', '{"state": "pulling"}', "7"])
@on_farm_loop
async def test_what_is_no_line_of_a_pull_is_quoted(pulls: Pulls, double: OllamaDouble, line: str) -> None:
    double.scripted["/api/pull"] = (200, line + "\n", {})
    with pytest.raises(ProviderError, match="odd line of a pull"):
        await drain(pulls.pull(MODEL, is_here=False))


@on_farm_loop
async def test_closing_the_farm_ends_a_pull_and_says_so_to_who_waits(double: OllamaDouble) -> None:
    double.gate.clear()
    provider = OllamaProvider(load_config({"ollama": {"url": double.url}}))
    follower = asyncio.create_task(reports_of(provider.pull_model(MODEL)))
    await until_pulling(double)
    await provider.aclose()
    with pytest.raises(ProviderConnectionError, match="farm was closed"):
        await follower
    assert await asyncio.to_thread(double.is_idle, 3.0)


@on_farm_loop
async def test_the_health_of_a_provider_tells_of_its_pulls(double: OllamaDouble) -> None:
    double.gate.clear()
    provider = OllamaProvider(load_config({"ollama": {"url": double.url}}))
    async with aclosing(provider.pull_model(MODEL)) as pulling:
        while (progress := await anext(pulling)).total_bytes is None:
            pass
        assert progress == LoadProgress("fetch", 0, REGISTRY[MODEL].sizes[0])
        assert (await provider.health_check()).detail.endswith(f"; pulling {MODEL} (0%)")
    assert "pulling" not in (await provider.health_check()).detail
    await provider.aclose()


LINES = st.fixed_dictionaries(
    {
        "status": st.sampled_from(
            ["pulling manifest", "pulling abc", "verifying sha256 digest", "writing manifest"]
        )
    },
    optional={
        "digest": st.sampled_from(["sha256:a", "sha256:b", ""]),
        "total": st.integers(0, 10**12),
        "completed": st.integers(0, 10**12),
    },
)


@given(st.lists(LINES, max_size=20))
def test_bytes_never_grow_fewer_whatever_the_server_says(lines: list[dict[str, Any]]) -> None:
    layers = Layers()
    reports = [progress for line in lines if (progress := layers.add(line))]
    assert_growing(reports)
    assert all(report.total_bytes is None or report.total_bytes > 0 for report in reports)


def test_a_layer_without_a_size_leaves_the_whole_without_one() -> None:
    layers = Layers()
    layers.add({"status": "pulling a", "digest": "sha256:a", "total": 10, "completed": 10})
    assert layers.add({"status": "pulling b", "digest": "sha256:b"}) == LoadProgress("fetch", 10, None)


async def until_pulling(double: OllamaDouble) -> None:
    """Wait until the server is in the middle of a pull, held by its gate."""
    assert await asyncio.to_thread(double.held.wait, 3.0)
