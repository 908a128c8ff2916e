"""What the tests of the Ollama provider share: a server with models, and providers for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ollama_double import OllamaDouble
from ollama_mind import REGISTRY

from farm_notebook import loop
from farm_notebook.config import load_config
from farm_notebook.providers.ollama.provider import OllamaProvider
from farm_notebook.types import ChatMessage, ChatRequest, ModelRef

MakeOllama = Callable[..., OllamaProvider]


@pytest.fixture
def ollama_double(tmp_path: Path, no_leaks: None) -> Iterator[OllamaDouble]:
    """A server that has every model of its registry but one, ``parrot:8b``."""
    with OllamaDouble(tmp_path / "disk").running() as double:
        double.install(*(name for name in REGISTRY if name != "parrot:8b"))
        yield double


@pytest.fixture
def make_ollama(ollama_double: OllamaDouble, tmp_path: Path) -> Iterator[MakeOllama]:
    """Makes a provider for the server; the arguments are settings of its section."""
    made = []

    def make(*, offline: bool = False, **settings: Any) -> OllamaProvider:
        section = {"url": ollama_double.url} | settings
        config = load_config({"ollama": section, "cache_dir": tmp_path / "cache", "offline": offline})
        made.append(OllamaProvider(config))
        return made[-1]

    yield make
    for provider in made:
        loop.run_blocking(provider.aclose())


@pytest.fixture
def ollama_provider(make_ollama: MakeOllama) -> OllamaProvider:
    """A provider for the server, with the defaults."""
    return make_ollama()


def ask(model: str, *turns: str | ChatMessage, **options: Any) -> ChatRequest:
    """A request; a turn that is a text is the user's."""
    messages = tuple(ChatMessage("user", turn) if isinstance(turn, str) else turn for turn in turns)
    return ChatRequest(ModelRef("ollama", model), messages, **options)
