"""OpenAI's protocol: against two real servers with the real model, and against the double."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import farside
import pytest
from contract import Subject
from openai_double import KEY, MODEL, running
from openai_mind import CAPITALS
from transformers_server import TransformersServer

from farm_notebook import loop
from farm_notebook.config import load_config
from farm_notebook.providers.llamacpp.files import ModelFiles
from farm_notebook.providers.llamacpp.server import LlamaServer, ServerSpec
from farm_notebook.providers.openai.provider import OpenAIProvider

LONG_STORY = "Write a very long story."
KEY_ENV = "FARM_TEST_ENDPOINT_KEY"


@contextmanager
def double(request: pytest.FixtureRequest) -> Iterator[Subject]:
    with running() as server, pytest.MonkeyPatch.context() as environment:
        environment.setenv(KEY_ENV, KEY)
        make = maker("double", server.url)
        provider = make()

        async def is_working() -> bool:
            return server.open_streams > 0

        yield Subject(
            make=make,
            provider=provider,
            model=MODEL,
            questions=tuple((f"What is the capital of {land}?", city) for land, city in CAPITALS.items()),
            long=(MODEL, "Tell a story."),
            endless=(MODEL, "Never end."),
            is_working=is_working,
            samples=True,
            loads=False,
            calls_tools=True,
            follows_schemas=True,
        )
        loop.run_blocking(provider.aclose())


@contextmanager
def llamacpp_server(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """llama.cpp has one server for answers and another for embeddings; neither minds a model's name."""
    path: Path = request.getfixturevalue("embedded_file")
    children: Callable[[], set[int]] = request.getfixturevalue("llamacpp_children")
    others = children()
    timeout_s = load_config().llamacpp.start_timeout_s
    chats, embeds = (LlamaServer(spec(path, embedding=embedding)) for embedding in (False, True))
    loop.run_blocking(chats.start(timeout_s))
    workers = children() - others
    loop.run_blocking(embeds.start(timeout_s))
    with pytest.MonkeyPatch.context() as environment:
        for variable, server in ((KEY_ENV, chats), (f"{KEY_ENV}_2", embeds)):
            environment.setenv(variable, server.headers["Authorization"].removeprefix("Bearer "))
        make = maker("local", f"{chats.base_url}/v1")
        provider = make()
        embedder = maker("local", f"{embeds.base_url}/v1", key_env=f"{KEY_ENV}_2")()

        async def is_working() -> bool:
            return any([await farside.is_working(pid) for pid in workers])

        yield Subject(
            make=make,
            provider=provider,
            embedder=embedder,
            model=str(path),
            questions=tuple((f"What is the capital of {land}?", city) for land, city in CAPITALS.items()),
            long=(str(path), LONG_STORY),
            endless=(str(path), LONG_STORY),
            is_working=is_working,
            samples=True,
            loads=False,
            follows_schemas=True,
            knows_its_models=False,
        )
        for each in (provider, embedder):
            loop.run_blocking(each.aclose())
    for server in (chats, embeds):
        loop.run_blocking(server.stop())


@contextmanager
def transformers_serve(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """The server of transformers, which takes every parameter, and honours not all.

    It has no ``/embeddings``. It ignores ``response_format`` and ``tool_choice``. It sees a call of a tool
    only in the answers of families whose marks it knows, and to none of them does this model belong.
    """
    server: TransformersServer = request.getfixturevalue("transformers_server")
    make = maker("serve", server.url, key_env=None)
    provider = make()

    async def is_working() -> bool:
        return await farside.is_working(server.pid)

    yield Subject(
        make=make,
        provider=provider,
        model=server.model,
        questions=tuple((f"What is the capital of {land}?", city) for land, city in CAPITALS.items()),
        long=(server.model, LONG_STORY),
        endless=(server.model, LONG_STORY),
        is_working=is_working,
        samples=True,
        loads=False,
        embeds=False,
        tells_logprobs=False,
    )
    loop.run_blocking(provider.aclose())


def maker(name: str, url: str, *, key_env: str | None = KEY_ENV) -> Callable[[], OpenAIProvider]:
    """A function that makes a provider of an endpoint."""
    config = load_config({"endpoints": {name: {"base_url": url, "api_key_env": key_env}}})
    return lambda: OpenAIProvider(config, name)


def spec(path: Path, *, embedding: bool) -> ServerSpec:
    settings = load_config().llamacpp
    return ServerSpec(
        files=ModelFiles(path),
        context_tokens=2048,
        batch_tokens=2048 if embedding else settings.batch_tokens,
        threads=settings.threads,
        gpu_layers=settings.gpu_layers,
        embedding=embedding,
    )
