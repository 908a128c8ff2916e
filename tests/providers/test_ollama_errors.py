"""What goes wrong with an Ollama server, in our terms, and what its provider says of its health."""

from __future__ import annotations

from typing import Any

import pytest
from contract import PIXEL, WEATHER, drain, on_farm_loop
from ollama_bench import MakeOllama, ask
from ollama_double import OllamaDouble

from farm_notebook.errors import (
    AuthenticationError,
    BackendCrashedError,
    ContextLengthError,
    FarmError,
    ModelNotFoundError,
    OutOfMemoryError,
    ProviderConnectionError,
    ProviderError,
    RateLimitedError,
    UnsupportedParameterError,
)
from farm_notebook.providers.ollama.provider import OllamaProvider
from farm_notebook.types import (
    ChatMessage,
    Event,
    TextDelta,
)


class TestErrors:
    @pytest.mark.parametrize(
        ("model", "options", "kind", "words"),
        [
            (
                "nobody",
                {},
                ModelNotFoundError,
                "'ollama:nobody'.*`ollama pull nobody` or `farm pull ollama:nobody`",
            ),
            ("plain", {"tools": (WEATHER,)}, UnsupportedParameterError, "cannot honour tools"),
            ("plain", {"reasoning": "on"}, UnsupportedParameterError, "cannot honour reasoning"),
            ("embedder", {}, UnsupportedParameterError, "cannot honour chat"),
            ("giant", {}, OutOfMemoryError, "requires more system memory"),
            ("crasher", {}, ProviderError, "unexpected EOF"),
            ("parrot", {"extra": {"top_k": "many"}}, ProviderError, 'option "top_k" must be of type integer'),
        ],
    )
    @on_farm_loop
    async def test_what_ollama_says_is_told_in_our_terms(
        self,
        ollama_provider: OllamaProvider,
        model: str,
        options: dict[str, Any],
        kind: type[FarmError],
        words: str,
    ) -> None:
        with pytest.raises(kind, match=words):
            await ollama_provider.chat(ask(model, "one two three weather", **options))

    @on_farm_loop
    async def test_images_for_a_model_that_is_blind_are_refused(
        self, ollama_provider: OllamaProvider
    ) -> None:
        with pytest.raises(UnsupportedParameterError, match="cannot honour images"):
            await ollama_provider.chat(ask("plain", ChatMessage("user", "What is it?", images=(PIXEL,))))

    @pytest.mark.parametrize("kind", ["chat", "completion"])
    @on_farm_loop
    async def test_a_prompt_that_does_not_fit_is_an_error_with_the_counts_and_is_not_cut(
        self, make_ollama: MakeOllama, kind: Any
    ) -> None:
        request = ask("parrot", "word " * 100, kind=kind)
        with pytest.raises(ContextLengthError, match="FARM_OLLAMA__CONTEXT_TOKENS") as caught:
            await drain(make_ollama(context_tokens=64).stream(request))
        assert (caught.value.tokens, caught.value.limit) == (100, 64)

    @pytest.mark.parametrize(
        ("status", "body", "kind", "words"),
        [
            (401, '{"error": "unauthorized"}', AuthenticationError, "ollama signin"),
            (403, "", AuthenticationError, "no reason given"),
            (429, '{"error": "slow down"}', RateLimitedError, "slow down"),
            (
                503,
                '{"error": "server busy, please try again.  maximum pending requests exceeded"}',
                ProviderError,
                "busy",
            ),
            (
                500,
                '{"error": "llama runner process has terminated: exit status 2"}',
                BackendCrashedError,
                "again",
            ),
            (
                500,
                '{"error": "llama-server process has terminated: CUDA error: out of memory"}',
                OutOfMemoryError,
                "out of memory",
            ),
            (
                500,
                '{"error": "model runner: cudaMalloc failed: out of memory"}',
                OutOfMemoryError,
                "Take a smaller",
            ),
            (400, '{"error": "invalid model name"}', ModelNotFoundError, "ollama:parrot"),
            (400, '{"error": "the input length exceeds the context length"}', ContextLengthError, "exceeds"),
            (
                500,
                '{"error": "input length (9 tokens) exceeds the model\'s maximum context length (5 tokens)"}',
                ContextLengthError,
                "exceeds",
            ),
            (404, "404 page not found", ProviderError, "is not Ollama's API"),
            (502, "<html>Bad Gateway</html>", ProviderError, "Bad Gateway"),
            (301, "", ProviderError, "sends its callers on to 'http://elsewhere/x'"),
        ],
    )
    @on_farm_loop
    async def test_every_status_has_its_error(
        self,
        ollama_provider: OllamaProvider,
        ollama_double: OllamaDouble,
        status: int,
        body: str,
        kind: type[FarmError],
        words: str,
    ) -> None:
        await ollama_provider.chat(ask("parrot", "hello"))
        headers = {"retry-after": "7", "location": "http://user:pw@elsewhere/x?token=1"}
        ollama_double.scripted["/api/chat"] = (status, body, headers)
        with pytest.raises(kind, match=words) as caught:
            await ollama_provider.chat(ask("parrot", "hello"))
        if status == 429:
            assert isinstance(caught.value, RateLimitedError)
            assert caught.value.retry_after_s == 7
        if "(9 tokens)" in body:
            assert isinstance(caught.value, ContextLengthError)
            assert (caught.value.tokens, caught.value.limit) == (9, 5)
        assert (await ollama_provider.chat(ask("parrot", "hello"))).text == "hello"

    @on_farm_loop
    async def test_what_was_said_before_an_error_is_kept(self, ollama_provider: OllamaProvider) -> None:
        said: list[Event] = []

        async def listen() -> None:
            async for event in ollama_provider.stream(ask("crasher", "one two three")):
                said.append(event)

        with pytest.raises(ProviderError, match="unexpected EOF"):
            await listen()
        assert "".join(event.text for event in said if isinstance(event, TextDelta)) == "one two"

    @on_farm_loop
    async def test_where_nothing_listens_the_fix_is_named(self, make_ollama: MakeOllama) -> None:
        with pytest.raises(ProviderConnectionError, match="`farm ollama start`"):
            await make_ollama(url="127.0.0.1:1").chat(ask("parrot", "hello"))

    @on_farm_loop
    async def test_an_address_that_is_none_is_told_at_the_first_request(
        self, make_ollama: MakeOllama
    ) -> None:
        with pytest.raises(FarmError, match="'ftp' is no scheme"):
            await make_ollama(url="ftp://x").chat(ask("parrot", "hello"))


class TestHealth:
    @on_farm_loop
    async def test_a_server_that_answers_is_named_with_its_version(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        status = await ollama_provider.health_check()
        assert status.healthy
        assert status.detail == f"Ollama 0.13.0 at {ollama_double.url}"

    @pytest.mark.parametrize(
        ("url", "detail", "fix"),
        [
            ("127.0.0.1:1", "nothing answers at http://127.0.0.1:1", "farm ollama start"),
            ("ftp://x", "'ftp' is no scheme", "set OLLAMA_URL"),
        ],
    )
    @on_farm_loop
    async def test_one_that_does_not_is_told_with_the_fix(
        self, make_ollama: MakeOllama, url: str, detail: str, fix: str
    ) -> None:
        status = await make_ollama(url=url).health_check()
        assert not status.healthy
        assert detail in status.detail
        assert fix in (status.fix or "")

    @on_farm_loop
    async def test_something_else_is_no_ollama(
        self, ollama_provider: OllamaProvider, ollama_double: OllamaDouble
    ) -> None:
        ollama_double.scripted["/api/version"] = (200, '{"name": "another server"}', {})
        status = await ollama_provider.health_check()
        assert not status.healthy
        assert "is no Ollama" in status.detail
