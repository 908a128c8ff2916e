"""What holds for every provider. ``test_contract.py`` runs it; a new provider adds one entry there."""

from __future__ import annotations

import asyncio
import functools
import itertools
import math
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import Any, ParamSpec

import pytest

from farm_notebook import loop
from farm_notebook.errors import ModelNotFoundError, UnsupportedParameterError
from farm_notebook.providers.base import AIProvider
from farm_notebook.reply import Reply
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Event,
    Finished,
    Image,
    LoadProgress,
    ModelRef,
    PromptProgress,
    ReasoningDelta,
    RequestKind,
    Started,
    TextDelta,
    Tool,
    ToolCall,
)

P = ParamSpec("P")

LET_GO_S = 5.0
PATIENCE_S = 20.0
WEATHER = Tool(
    "get_weather",
    "The weather in a city.",
    {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"]},
)
EXAMPLES: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.5,
    "max_tokens": 5,
    "seed": 1,
    "stop": ("x",),
    "logprobs": 1,
    "schema": {"type": "object"},
    "tools": (WEATHER,),
    "tool_choice": "auto",
    "reasoning": "on",
    "extra": {"nonsense": 1},
}
PIXEL = Image(b"\x89PNG\r\n\x1a\n", "image/png")
IO_EVENTS = (
    "open",
    "os.listdir",
    "os.scandir",
    "os.mkdir",
    "os.rename",
    "socket.",
    "subprocess.",
    "sqlite3.",
)


@dataclass(frozen=True, slots=True)
class Subject:
    """A provider under contract.

    Args:
        make: A new provider.
        provider: One for all tests; closed by who made it.
        model: Answers ``questions``, and embeds.
        questions: At least four prompts, each with a word that only its answer has.
        long: A model and a prompt whose answer has more than 20 words, the same each time.
        endless: A model and a prompt whose answer does not end while a test runs.
        is_working: Whether the far side works on a request now.
        samples: Whether seed and temperature mean anything.
        loads: Whether there is anything to load and unload.
        calls_tools: Whether the model calls a tool when it is told to, and the far side sees that it did.
        forces_tools: Whether it can be told that it must; else the question alone has to make it.
        follows_schemas: Whether its answer satisfies a JSON schema when it is told to.
        tells_logprobs: Whether the far side tells how likely each token was when it is asked to.
        embeds: Whether the far side has embeddings at all.
        embedder: Embeds in the provider's place, where the far side has another server for that.
        knows_its_models: Whether the far side looks at a model's name at all.
    """

    make: Callable[[], AIProvider]
    provider: AIProvider
    model: str
    questions: tuple[tuple[str, str], ...]
    long: tuple[str, str]
    endless: tuple[str, str]
    is_working: Callable[[], Awaitable[bool]]
    samples: bool
    loads: bool
    calls_tools: bool = False
    forces_tools: bool = True
    follows_schemas: bool = False
    tells_logprobs: bool = True
    embeds: bool = True
    embedder: AIProvider | None = None
    knows_its_models: bool = True

    def ask(self, model: str, prompt: str, *, kind: RequestKind = "chat", **options: Any) -> ChatRequest:
        """A request whose answer is the same each time, unless the options say otherwise."""
        options = {"temperature": 0.0, "seed": 1} | options
        ref = ModelRef(self.provider.name, model)
        return ChatRequest(ref, (ChatMessage("user", prompt),), kind=kind, **options)

    async def has_begun(self) -> bool:
        """Whether the far side works before long: on a busy machine it may have to wait for the processor."""
        give_up_at = time.monotonic() + PATIENCE_S
        while not await self.is_working():
            if time.monotonic() > give_up_at:
                return False
            await asyncio.sleep(0.01)
        return True

    async def has_stopped(self) -> bool:
        """Whether the far side stops working soon; how soon is for ``is_working`` to say, which may wait."""
        give_up_at = time.monotonic() + LET_GO_S
        while await self.is_working():
            if time.monotonic() > give_up_at:
                return False
            await asyncio.sleep(0.01)  # also lets a far side in this process have the interpreter
        return True


def on_farm_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a whole test where providers live."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        loop.run_blocking(test(*args, **kwargs))

    return run


class ProviderContract:
    """One sentence a test; ``subject`` is the provider."""

    def test_making_one_does_no_io(self, subject: Subject) -> None:
        with recorded_io() as events:
            subject.make()
        assert events == []

    @pytest.mark.parametrize("kind", ["chat", "completion"])
    @on_farm_loop
    async def test_a_stream_starts_once_before_any_text_and_finishes_once_at_its_end(
        self, subject: Subject, kind: RequestKind
    ) -> None:
        request = subject.ask(*subject.long, kind=kind, max_tokens=8)
        events = [event async for event in subject.provider.stream(request)]
        kinds = [type(event) for event in events]
        assert kinds.count(Started) == kinds.count(Finished) == 1
        assert kinds[-1] is Finished
        start = kinds.index(Started)
        assert set(kinds[:start]) <= {LoadProgress}
        assert set(kinds[start + 1 : -1]) <= {PromptProgress, TextDelta, ReasoningDelta}
        assert TextDelta in kinds
        assert events[start] == Started(request.ref)

    @on_farm_loop
    async def test_no_delta_is_empty(self, subject: Subject) -> None:
        request = subject.ask(*subject.long, max_tokens=8)
        assert all([e.text async for e in subject.provider.stream(request) if isinstance(e, TextDelta)])

    @on_farm_loop
    async def test_chat_and_chat_stream_agree_with_stream(self, subject: Subject) -> None:
        request = subject.ask(*subject.long, max_tokens=12)
        text, finished = await joined(subject.provider.stream(request))
        reply = await subject.provider.chat(request)
        pieces = [piece async for piece in subject.provider.chat_stream(request)]
        assert text
        assert text == reply.text == "".join(pieces)
        assert (reply.finish_reason, reply.ref) == (finished.reason, request.ref)
        assert reply.usage == finished.usage

    @on_farm_loop
    async def test_generate_and_generate_stream_agree_with_stream(self, subject: Subject) -> None:
        request = subject.ask(*subject.long, kind="completion", max_tokens=12)
        text, finished = await joined(subject.provider.stream(request))
        reply = await subject.provider.generate(request)
        pieces = [piece async for piece in subject.provider.generate_stream(request)]
        assert text
        assert text == reply.text == "".join(pieces)
        assert reply.finish_reason == finished.reason

    @on_farm_loop
    async def test_chat_and_generate_decide_the_kind_of_request_themselves(self, subject: Subject) -> None:
        chat = subject.ask(*subject.long, max_tokens=8)
        completion = replace(chat, kind="completion")
        provider = subject.provider
        assert (await provider.chat(completion)).text == (await provider.chat(chat)).text
        assert (await provider.generate(chat)).text == (await provider.generate(completion)).text

    @on_farm_loop
    async def test_tokens_are_counted_or_unknown_and_never_guessed(self, subject: Subject) -> None:
        prompt, _ = subject.questions[0]
        usage = (await subject.provider.chat(subject.ask(subject.model, prompt))).usage
        assert usage.input_tokens is None or usage.input_tokens >= 1
        assert usage.output_tokens is None or usage.output_tokens >= 1

    @pytest.mark.parametrize("kind", ["chat", "completion"])
    @pytest.mark.parametrize("max_tokens", [1, 5])
    @on_farm_loop
    async def test_max_tokens_cuts_the_answer_and_says_so(
        self, subject: Subject, kind: RequestKind, max_tokens: int
    ) -> None:
        request = subject.ask(*subject.long, kind=kind)
        text, finished = await joined(subject.provider.stream(replace(request, max_tokens=max_tokens)))
        longer, _ = await joined(subject.provider.stream(replace(request, max_tokens=max_tokens + 5)))
        assert finished.reason == "length"
        assert finished.usage.output_tokens in (max_tokens, None)
        assert longer.startswith(text)
        assert len(longer) > len(text)

    @on_farm_loop
    async def test_a_stop_string_ends_the_answer_and_is_no_part_of_it(self, subject: Subject) -> None:
        request = subject.ask(*subject.long, max_tokens=20)
        whole, _ = await joined(subject.provider.stream(request))
        words = whole.split()
        stop = next(word for word in words[4:] if whole.count(word) == 1)
        text, finished = await joined(subject.provider.stream(replace(request, stop=("never said", stop))))
        assert finished.reason == "stop"
        assert text.rstrip() == whole[: whole.index(stop)].rstrip()

    @on_farm_loop
    async def test_a_seed_repeats_the_answer_and_another_seed_gives_another(self, subject: Subject) -> None:
        if not subject.samples:
            pytest.skip("this provider does not sample")
        request = subject.ask(*subject.long, temperature=1.0, max_tokens=16)
        texts = [
            (await subject.provider.chat(replace(request, seed=seed))).text for seed in (1, 2, 3, 1, 2, 3)
        ]
        assert texts[:3] == texts[3:]
        assert len(set(texts)) > 1

    @pytest.mark.parametrize("method", ["chat", "generate"])
    @on_farm_loop
    async def test_logprobs_tell_how_likely_each_token_was_or_are_refused(
        self, subject: Subject, method: str
    ) -> None:
        request = subject.ask(*subject.long, max_tokens=6, logprobs=2)
        answered: Callable[[ChatRequest], Awaitable[Reply]] = getattr(subject.provider, method)
        if not subject.tells_logprobs:
            with pytest.raises(UnsupportedParameterError, match="cannot honour logprobs"):
                await answered(request)
            return
        reply = await answered(request)
        assert "".join(each.token for each in reply.logprobs) == reply.text
        for each in reply.logprobs:
            likeliest, *_ = logprobs = [logprob for _, logprob in each.top_logprobs]
            assert 1 <= len(logprobs) <= 2
            assert logprobs == sorted(logprobs, reverse=True)
            assert sum(map(math.exp, logprobs)) <= 1.0001
            assert each.logprob == pytest.approx(likeliest, abs=1e-3)  # at temperature 0
        alone = await answered(replace(request, logprobs=0))
        assert [(each.token, each.top_logprobs) for each in alone.logprobs] == [
            (each.token, ()) for each in reply.logprobs
        ]
        assert (await answered(replace(request, logprobs=None))).logprobs == ()

    @on_farm_loop
    async def test_closing_a_stream_early_stops_the_far_side(self, subject: Subject) -> None:
        events = subject.provider.stream(subject.ask(*subject.endless))
        async with aclosing(events):
            while not isinstance(await anext(events), TextDelta):
                pass
            assert await subject.has_begun()
        assert await subject.has_stopped()

    @pytest.mark.parametrize("method", ["chat_stream", "generate_stream"])
    @on_farm_loop
    async def test_closing_a_text_stream_early_stops_the_far_side(
        self, subject: Subject, method: str
    ) -> None:
        pieces: AsyncGenerator[str, None] = getattr(subject.provider, method)(subject.ask(*subject.endless))
        async with aclosing(pieces):
            assert await anext(pieces)
            assert await subject.has_begun()
        assert await subject.has_stopped()

    @on_farm_loop
    async def test_cancelling_a_chat_stops_the_far_side(self, subject: Subject) -> None:
        chat = asyncio.create_task(subject.provider.chat(subject.ask(*subject.endless)))
        assert await subject.has_begun()
        chat.cancel()
        with pytest.raises(asyncio.CancelledError):
            await chat
        assert await subject.has_stopped()

    @pytest.mark.parametrize("call", ["stream", "chat", "generate", "embed", "load_model", "unload_model"])
    @on_farm_loop
    async def test_an_unknown_model_is_quoted(self, subject: Subject, call: str) -> None:
        provider, model = subject.provider, "no-such-model-7"
        if not subject.knows_its_models and call not in ("load_model", "unload_model"):
            pytest.skip("this server answers for any model's name")
        if not subject.embeds and call == "embed":
            pytest.skip("this server has no embeddings")
        request = subject.ask(model, "hello")
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "stream": lambda: drain(provider.stream(request)),
            "chat": lambda: provider.chat(request),
            "generate": lambda: provider.generate(request),
            "embed": lambda: provider.embed(["hello"], model),
            "load_model": lambda: drain(provider.load_model(model)),
            "unload_model": lambda: provider.unload_model(model),
        }
        with pytest.raises(ModelNotFoundError, match=model):
            await calls[call]()

    @on_farm_loop
    async def test_embeddings_are_unit_vectors_in_the_order_of_their_texts(self, subject: Subject) -> None:
        if not subject.embeds:
            pytest.skip("this server has no embeddings")
        texts = ["a cat", "the stock exchange", "a cat", "日本語 😀"]
        embedder = subject.embedder or subject.provider
        embeddings = await embedder.embed(texts, subject.model)
        vectors = embeddings.vectors
        assert embeddings.ref == ModelRef(subject.provider.name, subject.model)
        assert len(vectors) == len(texts)
        assert len({len(vector) for vector in vectors}) == 1
        assert [sum(x * x for x in vector) for vector in vectors] == pytest.approx([1.0] * 4, abs=1e-4)
        assert vectors[0] == pytest.approx(vectors[2], abs=1e-4)
        assert vectors[0] != pytest.approx(vectors[1], abs=1e-2)
        again = (await embedder.embed(texts[::-1], subject.model)).vectors[::-1]
        for before, after in zip(vectors, again, strict=True):
            assert after == pytest.approx(before, abs=1e-4)

    @on_farm_loop
    async def test_no_texts_are_no_vectors(self, subject: Subject) -> None:
        assert (await subject.provider.embed([], subject.model)).vectors == ()

    @on_farm_loop
    async def test_every_listed_model_is_a_ref_of_this_provider(self, subject: Subject) -> None:
        infos = await subject.provider.list_models()
        assert subject.model in [info.ref.model for info in infos]
        assert {info.ref.provider for info in infos} == {subject.provider.name}

    @on_farm_loop
    async def test_it_is_healthy_and_says_so(self, subject: Subject) -> None:
        status = await subject.provider.health_check()
        assert status.healthy
        assert status.name == subject.provider.name
        assert status.detail

    @on_farm_loop
    async def test_loading_reports_growing_progress_and_nothing_the_second_time(
        self, subject: Subject
    ) -> None:
        await subject.provider.unload_model(subject.model)
        reports = [progress async for progress in subject.provider.load_model(subject.model)]
        assert bool(reports) is subject.loads
        for before, after in itertools.pairwise(reports):
            assert after.stage != before.stage or after.completed_bytes >= before.completed_bytes
        if reports:
            assert reports[-1].completed_bytes == reports[-1].total_bytes
        assert [progress async for progress in subject.provider.load_model(subject.model)] == []

    @on_farm_loop
    async def test_unloading_is_told_once_and_the_next_request_loads_again(self, subject: Subject) -> None:
        await drain(subject.provider.load_model(subject.model))
        assert await subject.provider.unload_model(subject.model) is subject.loads
        assert await subject.provider.unload_model(subject.model) is False
        prompt, word = subject.questions[0]
        events = [e async for e in subject.provider.stream(subject.ask(subject.model, prompt))]
        assert isinstance(events[0], LoadProgress) is subject.loads
        assert word in "".join(event.text for event in events if isinstance(event, TextDelta))

    @on_farm_loop
    async def test_what_a_provider_does_not_honour_is_refused_by_name(self, subject: Subject) -> None:
        request = ChatRequest(ModelRef(subject.provider.name, subject.model), (ChatMessage("user", "a"),))
        requests = {name: replace(request, **{name: value}) for name, value in EXAMPLES.items()} | {
            "images": replace(request, messages=(ChatMessage("user", "a", images=(PIXEL,)),)),
            "completion": replace(request, kind="completion"),
        }
        assert subject.provider.honours <= requests.keys()
        for name in requests.keys() - subject.provider.honours:
            with pytest.raises(UnsupportedParameterError, match=rf"cannot honour {name}\b"):
                subject.provider.answer(requests[name])

    @on_farm_loop
    async def test_a_tool_that_must_be_called_is_called_with_a_json_object(self, subject: Subject) -> None:
        if not subject.calls_tools:
            pytest.skip("this model calls no tools, or its server does not see it")
        request = subject.ask(
            subject.model,
            "What is the weather in Paris?",
            max_tokens=100,
            tools=(WEATHER,),
            tool_choice="required" if subject.forces_tools else "auto",
        )
        events = [event async for event in subject.provider.stream(request)]
        calls = [event for event in events if isinstance(event, ToolCall)]
        assert {call.name for call in calls} == {WEATHER.name}
        assert all(call.id and set(call.parsed) <= {"city"} for call in calls)
        assert len({call.id for call in calls}) == len(calls)
        assert isinstance(events[-1], Finished)
        assert events[-1].reason == "tool_calls"
        reply = await subject.provider.chat(request)
        assert [call.name for call in reply.tool_calls] == [call.name for call in calls]

    @on_farm_loop
    async def test_the_result_of_a_tool_continues_the_conversation(self, subject: Subject) -> None:
        if not subject.calls_tools:
            pytest.skip("this model calls no tools, or its server does not see it")
        asked = subject.ask(subject.model, "What is the weather in Paris?", max_tokens=20, tools=(WEATHER,))
        call = ToolCall("call_1", WEATHER.name, '{"city": "Paris"}')
        turns = (
            *asked.messages,
            ChatMessage("assistant", "", tool_calls=(call,)),
            ChatMessage("tool", "22 degrees, sunny", tool_call_id="call_1"),
        )
        reply = await subject.provider.chat(replace(asked, messages=turns))
        assert reply.text or reply.tool_calls

    @on_farm_loop
    async def test_an_answer_follows_its_schema(self, subject: Subject) -> None:
        if not subject.follows_schemas:
            pytest.skip("this model follows no schemas, or its server does not make it")
        schema = {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}, "population": {"type": "integer"}},
            "required": ["city", "population"],
            "additionalProperties": False,
        }
        request = subject.ask(subject.model, "Tell of Paris.", max_tokens=100, schema=schema)
        answer = (await subject.provider.chat(request)).parsed
        assert {name: type(value) for name, value in answer.items()} == {"city": str, "population": int}

    @on_farm_loop
    async def test_answers_asked_for_at_once_are_right_and_unmixed(self, subject: Subject) -> None:
        questions = subject.questions[:4]
        replies = await asyncio.gather(
            *(subject.provider.chat(subject.ask(subject.model, prompt)) for prompt, _ in questions)
        )
        said = [{word for _, word in questions if word in reply.text} for reply in replies]
        assert said == [{word} for _, word in questions]


async def joined(events: AsyncGenerator[Event, None]) -> tuple[str, Finished]:
    """The text of a stream and its finish mark."""
    seen = [event async for event in events]
    assert isinstance(seen[-1], Finished)
    return "".join(event.text for event in seen if isinstance(event, TextDelta)), seen[-1]


async def drain(events: AsyncGenerator[Any, None]) -> None:
    """Read a stream to its end."""
    async for _ in events:
        pass


_recorder: list[str] | None = None


@contextmanager
def recorded_io() -> Iterator[list[str]]:
    """The files, sockets and processes that the interpreter touches meanwhile, as its audit events."""
    global _recorder
    _install_audit_hook()
    events: list[str] = []
    _recorder = events
    try:
        yield events
    finally:
        _recorder = None


@functools.cache
def _install_audit_hook() -> None:
    def record(event: str, args: tuple[object, ...]) -> None:
        if _recorder is not None and event.startswith(IO_EVENTS):
            _recorder.append(f"{event} {args}")

    sys.addaudithook(record)
