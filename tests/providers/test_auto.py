"""Where no model is named an Ollama answers as long as it can be reached, and then the embedded model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from contract import PIXEL, on_farm_loop
from ollama_double import OllamaDouble

from farm_notebook import loop
from farm_notebook.config import AUTO, EMBEDDED_MODEL, load_config
from farm_notebook.pipeline import Handler
from farm_notebook.pipeline.route import route
from farm_notebook.providers.ollama.provider import OllamaProvider
from farm_notebook.request import build_request
from farm_notebook.router import Chooser, picking
from farm_notebook.types import (
    ChatRequest,
    Event,
    Finished,
    LoadProgress,
    ModelInfo,
    ModelRef,
    Routed,
    Started,
    TextDelta,
)

EMBEDDED = ModelRef(*EMBEDDED_MODEL.split(":", 1))


class Bench:
    """The way of a request to a real server, or to what stands for the embedded model."""

    def __init__(self, double: OllamaDouble, folder: Path) -> None:
        self.config = load_config({"model": AUTO, "ollama": {"url": double.url}, "cache_dir": folder})
        self.ollama = OllamaProvider(self.config)
        chooser = Chooser(self.config, self.models_of)
        self.handler: Handler = route(chooser.settle, forget=chooser.forget)(self.dispatch)

    async def models_of(self, provider: str) -> list[ModelInfo]:
        return await self.ollama.list_models() if provider == "ollama" else []

    async def dispatch(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        if request.ref.provider == "ollama":
            async with aclosing(self.ollama.answer(request)) as events:
                async for event in events:
                    yield event
        else:
            for event in (Started(request.ref), TextDelta("from here"), Finished("stop")):
                yield event

    async def ask(self, *, sees: bool = False) -> tuple[str, str]:
        """Which model answered, and what was told of the choice."""
        request = build_request("hello", self.config, {"images": PIXEL if sees else None})
        answered, told = "", ""
        async for event in self.handler(request):
            match event:
                case Started(ref):
                    answered = str(ref)
                case Routed(ref, reason):
                    told = f"{ref}: {reason}" if reason else told
                case Finished() | TextDelta() | LoadProgress():
                    pass
                case _:
                    pytest.fail(f"{event} is not expected")
        return answered, told


@pytest.fixture
def make_bench(
    no_leaks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[OllamaDouble], Bench]]:
    """Makes what the requests go through, and closes its connections."""
    monkeypatch.setattr(picking, "GLANCE_S", 30.0)  # a machine may be busy; nothing here takes that long
    made = []

    def make(double: OllamaDouble) -> Bench:
        made.append(Bench(double, tmp_path / "cache"))
        return made[-1]

    yield make
    for bench in made:
        loop.run_blocking(bench.ollama.aclose())


@on_farm_loop
async def test_ollama_answers_as_long_as_it_is_there(
    make_bench: Callable[[OllamaDouble], Bench], tmp_path: Path
) -> None:
    with OllamaDouble(tmp_path / "disk").running() as double:
        double.install("embedder:latest", "plain:latest")
        bench = make_bench(double)
        told = "ollama:plain: no model was named, and ollama has this one at hand"
        assert await bench.ask() == ("ollama:plain", told)
        lists = len(double.asked_for("/api/tags"))
        assert await bench.ask() == ("ollama:plain", ""), "it is told once"
        assert len(double.asked_for("/api/tags")) == lists, "and looked for once"
    await bench.ollama.aclose()  # or the double's threads would go on serving the open connections
    told = f"{EMBEDDED}: no ollama answers at {double.url}; using the embedded model {EMBEDDED}"
    assert await bench.ask() == (str(EMBEDDED), told)
    assert await bench.ask() == (str(EMBEDDED), "")


@on_farm_loop
async def test_a_picture_is_shown_to_a_model_that_can_see_it(
    make_bench: Callable[[OllamaDouble], Bench], tmp_path: Path
) -> None:
    with OllamaDouble(tmp_path / "disk").running() as double:
        double.install("plain:latest", "parrot:latest")
        assert (await make_bench(double).ask(sees=True))[0] == "ollama:parrot"
