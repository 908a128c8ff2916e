"""The models of an Ollama server: loaded, unloaded, listed, deleted, embedding, and pulled when asked for."""

from __future__ import annotations

from contextlib import aclosing

import pytest
from contract import drain, on_farm_loop
from ollama_bench import MakeOllama, ask
from ollama_double import OllamaDouble
from ollama_mind import REGISTRY

from farm_notebook.errors import (
    ContextLengthError,
    FetchError,
    ModelNotFoundError,
    ProviderError,
)
from farm_notebook.providers.ollama.provider import EMBEDDING_BATCH_TEXTS, OllamaProvider
from farm_notebook.types import (
    ChatRequest,
    Event,
    LoadProgress,
    Started,
    TextDelta,
    Usage,
)


class TestModels:
    @on_farm_loop
    async def test_a_model_is_loaded_once_with_the_options_it_is_asked_with(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        request = ask("parrot", "hello", extra={"num_ctx": 512, "top_k": 1})
        events = [event async for event in ollama_provider.stream(request)]
        size = sum(REGISTRY["parrot:latest"].sizes)
        assert events[:3] == [
            LoadProgress("load", 0, size),
            LoadProgress("load", size, size),
            Started(request.ref),
        ]
        (load,) = ollama_double.asked_for("/api/generate")
        assert load == {"model": "parrot", "options": {"num_ctx": 512}, "stream": False}
        assert not isinstance((await anext_of(ollama_provider, request)), LoadProgress)

    @on_farm_loop
    async def test_a_run_of_requests_asks_once_what_is_loaded(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        for _ in range(3):
            await ollama_provider.chat(ask("parrot", "hello"))
            assert await ollama_provider.digest("parrot") == REGISTRY["parrot:latest"].digest
        assert len(ollama_double.asked_for("/api/ps")) == len(ollama_double.asked_for("/api/tags")) == 1
        assert len(ollama_double.asked_for("/api/chat")) == 3

    @on_farm_loop
    async def test_after_a_failure_nothing_is_taken_for_granted(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        await ollama_provider.chat(ask("parrot", "hello"))
        (ollama_double.folder / "manifests" / "parrot%3Alatest").unlink()
        for _ in range(2):
            with pytest.raises(ModelNotFoundError):
                await ollama_provider.chat(ask("parrot", "hello"))
        ollama_double.install("parrot:latest")
        assert (await ollama_provider.chat(ask("parrot", "hello"))).text == "hello"

    @on_farm_loop
    async def test_a_model_that_only_embeds_is_loaded_too(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        assert [progress async for progress in ollama_provider.load_model("embedder")]
        assert ollama_double.asked_for("/api/embed") == [
            {"model": "embedder", "options": {}, "stream": False, "input": []}
        ]
        assert list(ollama_double.loaded) == ["embedder:latest"]

    @pytest.mark.parametrize("keep_alive", ["0", "0s", "0m"])
    @on_farm_loop
    async def test_a_model_that_is_not_to_be_kept_is_loaded_all_the_same(
        self, make_ollama: MakeOllama, ollama_double: OllamaDouble, keep_alive: str
    ) -> None:
        ollama_provider = make_ollama(keep_alive=keep_alive)
        await drain(ollama_provider.load_model("parrot"))
        assert "keep_alive" not in ollama_double.asked_for("/api/generate")[0]
        assert list(ollama_double.loaded) == ["parrot:latest"]

    @on_farm_loop
    async def test_a_model_of_the_cloud_is_asked_and_not_loaded(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        with pytest.raises(ModelNotFoundError):
            await ollama_provider.chat(ask("gpt-oss:120b-cloud", "hello"))
        assert [path for _, path, _ in ollama_double.requests] == ["/api/chat"]

    @on_farm_loop
    async def test_unloading_is_over_when_the_memory_is_free(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        await drain(ollama_provider.load_model("parrot:latest"))
        assert await ollama_provider.unload_model("parrot")
        assert ollama_double.loaded == {}
        assert not await ollama_provider.unload_model("parrot")
        with pytest.raises(ModelNotFoundError, match="nobody"):
            await ollama_provider.unload_model("nobody")

    @on_farm_loop
    async def test_deleting_tells_whether_there_was_anything(self, ollama_provider: OllamaProvider) -> None:
        assert await ollama_provider.delete_model("parrot")
        assert not await ollama_provider.delete_model("parrot")
        assert "parrot" not in [info.ref.model for info in await ollama_provider.list_models()]
        assert await ollama_provider.digest("parrot") is None

    @pytest.mark.parametrize("is_old", [False, True])
    @on_farm_loop
    async def test_models_are_listed_with_what_is_known_of_them(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble, is_old: bool
    ) -> None:
        ollama_double.is_old = is_old
        await drain(ollama_provider.load_model("parrot"))
        infos = {info.ref.model: info for info in await ollama_provider.list_models()}
        parrot, model = infos["parrot"], REGISTRY["parrot:latest"]
        assert (parrot.size_bytes, parrot.digest) == (sum(model.sizes), model.digest)
        assert (parrot.context_tokens, parrot.license) == (8192, "mit")
        assert (parrot.available, parrot.loaded, infos["plain"].loaded) == (True, True, False)
        assert parrot.capabilities == frozenset({"chat", "completion", "tools", "vision"})
        assert infos["thinker"].capabilities == frozenset({"chat", "completion", "reasoning"})
        assert infos["embedder"].capabilities == frozenset({"embedding"})
        assert "135M" in parrot.description

    @on_farm_loop
    async def test_details_are_asked_for_once_and_a_damaged_model_is_listed_all_the_same(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        ollama_double.scripted["/api/show"] = (500, '{"error": "unable to read the file"}', {})
        assert len(await ollama_provider.list_models()) == len(ollama_double.installed())
        await ollama_provider.list_models()
        asked = len(ollama_double.asked_for("/api/show"))
        await ollama_provider.list_models()
        assert len(ollama_double.asked_for("/api/show")) == asked == len(ollama_double.installed()) + 1

    @on_farm_loop
    async def test_texts_are_embedded_a_batch_at_a_time(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        texts = [f"text {number}" for number in range(EMBEDDING_BATCH_TEXTS + 3)]
        embeddings = await ollama_provider.embed(texts, "embedder")
        assert len(embeddings.vectors) == len(texts)
        assert embeddings.usage == Usage(input_tokens=2 * len(texts))
        _, *batches = (body["input"] for body in ollama_double.asked_for("/api/embed"))
        assert [len(batch) for batch in batches] == [EMBEDDING_BATCH_TEXTS, 3]

    @on_farm_loop
    async def test_a_text_that_is_too_long_to_embed_is_not_cut(self, ollama_provider: OllamaProvider) -> None:
        with pytest.raises(ContextLengthError, match="exceeds the context length"):
            await ollama_provider.embed(["word " * 600], "embedder")

    @pytest.mark.parametrize("body", ["{}", '{"embeddings": [[1.0], [1.0]]}', "[]", "<html>"])
    @on_farm_loop
    async def test_a_server_that_sends_no_vectors_is_told_of(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble, body: str
    ) -> None:
        await drain(ollama_provider.load_model("parrot"))
        ollama_double.scripted["/api/embed"] = (200, body, {})
        with pytest.raises(ProviderError, match="sent"):
            await ollama_provider.embed(["a"], "parrot")

    @on_farm_loop
    async def test_vectors_that_are_not_quite_of_unit_length_become_so(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        await drain(ollama_provider.load_model("parrot"))
        ollama_double.scripted["/api/embed"] = (200, '{"embeddings": [[3.0, 4.0]]}', {})
        embeddings = await ollama_provider.embed(["a"], "parrot")
        assert embeddings.vectors == ((0.6, 0.8),)
        assert embeddings.usage.input_tokens is None


class TestAutoPull:
    @on_farm_loop
    async def test_a_missing_model_is_fetched_loaded_and_asked(self, make_ollama: MakeOllama) -> None:
        request = ask("parrot:8b", "hello")
        events = [event async for event in make_ollama(auto_pull=True).stream(request)]
        progress = [event for event in events if isinstance(event, LoadProgress)]
        assert [event.stage for event in progress if event.stage != "fetch"] == ["verify", "load", "load"]
        size = sum(REGISTRY["parrot:8b"].sizes)
        fetched = [event for event in progress if event.stage == "fetch"]
        assert fetched
        assert progress[-1] == LoadProgress("load", size, size)
        assert TextDelta("hello") in events

    @on_farm_loop
    async def test_not_unless_it_is_configured_and_not_offline(
        self, make_ollama: MakeOllama, ollama_double: OllamaDouble
    ) -> None:
        for ollama_provider in (make_ollama(), make_ollama(auto_pull=True, offline=True)):
            with pytest.raises(ModelNotFoundError, match="FARM_OLLAMA__AUTO_PULL"):
                await ollama_provider.chat(ask("parrot:8b", "hello"))
        assert ollama_double.asked_for("/api/pull") == []

    @on_farm_loop
    async def test_offline_nothing_is_pulled(self, make_ollama: MakeOllama) -> None:
        ollama_provider = make_ollama(offline=True)
        assert [progress async for progress in ollama_provider.pull_model("parrot")] == []
        with pytest.raises(FetchError, match="FARM_OFFLINE"):
            await drain(ollama_provider.pull_model("parrot:8b"))


async def anext_of(ollama_provider: OllamaProvider, request: ChatRequest) -> Event:
    """The first event of an answer."""
    async with aclosing(ollama_provider.stream(request)) as events:
        return await anext(events)
