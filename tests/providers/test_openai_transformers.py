"""The ``openai`` provider against the server of transformers, with the real model converted for it."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import farside
import httpx2
import pytest
from contract import joined, on_farm_loop

from farm_notebook import loop
from farm_notebook.config import load_config
from farm_notebook.errors import ModelNotFoundError, ProviderError
from farm_notebook.providers.openai.provider import OpenAIProvider
from farm_notebook.types import ChatMessage, ChatRequest, ModelRef, TextDelta

pytestmark = [pytest.mark.model, pytest.mark.slow]

START_S = 120.0
QUESTION = "What is the capital of Japan?"


@pytest.fixture(scope="module")
def server(converted_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """The server's address and its process id."""
    port = lasting_port()
    cache = tmp_path_factory.mktemp("hub")  # it lists what is there, and breaks where there is nothing
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    program = str(Path(sys.executable).with_name("transformers"))
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    log = tmp_path_factory.mktemp("serve") / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [program, "serve", *options, str(converted_model)], env=environment, stdout=out, stderr=out
        )
    try:
        give_up_at = time.monotonic() + START_S
        while not is_up(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < give_up_at, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1", process.pid
    finally:
        process.kill()
        process.wait()


def lasting_port() -> int:
    """One that is free, and that the system gives to nobody until a slow server takes it."""
    for port in random.sample(range(20_000, 30_000), 100):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("all ports are taken")


def is_up(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/health", trust_env=False).is_success
    except httpx2.HTTPError:
        return False


@pytest.fixture(params=["chat", "responses"])
def provider(server: tuple[str, int], request: pytest.FixtureRequest) -> Iterator[OpenAIProvider]:
    endpoint = {"base_url": server[0], "api": request.param}
    provider = OpenAIProvider(load_config({"endpoints": {"serve": endpoint}}), "serve")
    yield provider
    loop.run_blocking(provider.aclose())


def ask(model: Path | str, prompt: str = QUESTION, **fields: Any) -> ChatRequest:
    options = {"temperature": 0.0} | fields
    return ChatRequest(ModelRef("serve", str(model)), (ChatMessage("user", prompt),), **options)


@on_farm_loop
async def test_an_answer_streams_with_its_usage(provider: OpenAIProvider, converted_model: Path) -> None:
    events = [event async for event in provider.stream(ask(converted_model, max_tokens=20))]
    pieces = [event.text for event in events if isinstance(event, TextDelta)]
    text, finished = await joined(provider.stream(ask(converted_model, max_tokens=20)))
    assert len(pieces) > 3
    assert "".join(pieces) == text
    assert "Tokyo" in text
    assert finished.reason == "stop"
    assert finished.usage.input_tokens
    assert finished.usage.output_tokens


@on_farm_loop
async def test_a_raw_prompt_is_continued(provider: OpenAIProvider, converted_model: Path) -> None:
    reply = await provider.generate(ask(converted_model, "The capital of Germany is", max_tokens=8))
    assert "Berlin" in reply.text


@on_farm_loop
async def test_a_model_that_it_does_not_serve_is_not_found(provider: OpenAIProvider) -> None:
    with pytest.raises(ModelNotFoundError, match="no-such-model"):
        await provider.chat(ask("no-such-model"))


@on_farm_loop
async def test_it_is_healthy_and_says_that_it_has_no_embeddings(
    provider: OpenAIProvider, converted_model: Path
) -> None:
    assert (await provider.health_check()).healthy
    with pytest.raises(ProviderError, match="may have no embeddings"):
        await provider.embed(["a"], str(converted_model))


@on_farm_loop
async def test_closing_a_stream_early_stops_it(
    provider: OpenAIProvider, converted_model: Path, server: tuple[str, int]
) -> None:
    request = ask(converted_model, "Write a very long story.", max_tokens=1500)
    async with aclosing(provider.stream(request)) as events:
        while not isinstance(await anext(events), TextDelta):
            pass
        assert await farside.is_working(server[1])
    closed_at = time.perf_counter()
    assert await farside.stopped_after(server[1], closed_at) < 5.0


@pytest.mark.parametrize("provider", ["chat"], indirect=True)
@on_farm_loop
async def test_a_stop_string_is_no_part_of_the_answer(
    provider: OpenAIProvider, converted_model: Path
) -> None:
    text, finished = await joined(provider.stream(ask(converted_model, max_tokens=20, stop=("Tokyo",))))
    assert text == "The capital of Japan is "
    assert finished.reason == "stop"


@pytest.mark.parametrize("provider", ["chat"], indirect=True)
@on_farm_loop
async def test_a_limit_is_told_from_an_end(provider: OpenAIProvider, converted_model: Path) -> None:
    _, finished = await joined(provider.stream(ask(converted_model, max_tokens=3)))
    assert finished.reason == "length"
