"""The ``openai`` provider against the server of transformers, with the real model, beyond the contract.

That is its Responses API, which has no seed and tells no limit from an end, and what this server lacks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any, Literal

import farside
import pytest
from contract import joined, on_farm_loop
from transformers_server import TransformersServer

from farm_notebook import loop
from farm_notebook.config import load_config
from farm_notebook.errors import ModelNotFoundError, ProviderError
from farm_notebook.providers.openai.provider import OpenAIProvider
from farm_notebook.types import ChatMessage, ChatRequest, ModelRef, TextDelta

pytestmark = [pytest.mark.model, pytest.mark.slow]

QUESTION = "What is the capital of Japan?"


@pytest.fixture
def chats(transformers_server: TransformersServer) -> Iterator[OpenAIProvider]:
    yield from provider(transformers_server, "chat")


@pytest.fixture
def responses(transformers_server: TransformersServer) -> Iterator[OpenAIProvider]:
    yield from provider(transformers_server, "responses")


def provider(server: TransformersServer, api: Literal["chat", "responses"]) -> Iterator[OpenAIProvider]:
    endpoint = {"base_url": server.url, "api": api}
    provider = OpenAIProvider(load_config({"endpoints": {"serve": endpoint}}), "serve")
    yield provider
    loop.run_blocking(provider.aclose())


def ask(model: str, prompt: str = QUESTION, **fields: Any) -> ChatRequest:
    options = {"temperature": 0.0} | fields
    return ChatRequest(ModelRef("serve", model), (ChatMessage("user", prompt),), **options)


@on_farm_loop
async def test_a_response_streams_with_its_usage(
    responses: OpenAIProvider, transformers_server: TransformersServer
) -> None:
    request = ask(transformers_server.model, max_tokens=20)
    pieces = [event.text async for event in responses.stream(request) if isinstance(event, TextDelta)]
    text, finished = await joined(responses.stream(request))
    assert len(pieces) > 3
    assert "".join(pieces) == text
    assert "Tokyo" in text
    assert finished.reason == "stop"
    assert finished.usage.input_tokens
    assert finished.usage.output_tokens


@on_farm_loop
async def test_a_raw_prompt_is_asked_as_a_response(
    responses: OpenAIProvider, transformers_server: TransformersServer
) -> None:
    request = ask(transformers_server.model, "The capital of Germany is", max_tokens=8)
    assert "Berlin" in (await responses.generate(request)).text


@on_farm_loop
async def test_a_model_that_it_does_not_serve_gives_no_response(responses: OpenAIProvider) -> None:
    with pytest.raises(ModelNotFoundError, match="no-such-model"):
        await responses.chat(ask("no-such-model"))


@on_farm_loop
async def test_closing_a_response_early_stops_it(
    responses: OpenAIProvider, transformers_server: TransformersServer
) -> None:
    request = ask(transformers_server.model, "Write a very long story.", max_tokens=1500)
    async with aclosing(responses.stream(request)) as events:
        while not isinstance(await anext(events), TextDelta):
            pass
        assert await farside.begins_working(transformers_server.pid)
    closed_at = time.perf_counter()
    assert await farside.stopped_after(transformers_server.pid, closed_at) < 5.0


@on_farm_loop
async def test_that_it_has_no_embeddings_is_told(
    chats: OpenAIProvider, transformers_server: TransformersServer
) -> None:
    with pytest.raises(ProviderError, match="may have no embeddings"):
        await chats.embed(["a"], transformers_server.model)


@on_farm_loop
async def test_an_answer_that_took_no_notice_of_its_schema_is_not_taken_for_one_that_did(
    chats: OpenAIProvider, transformers_server: TransformersServer
) -> None:
    request = ask(transformers_server.model, max_tokens=20, schema={"type": "object"})
    reply = await chats.chat(request)
    assert "Tokyo" in reply.text
    with pytest.raises(ValueError, match="Expecting value"):
        _ = reply.parsed
