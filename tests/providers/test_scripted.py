"""The scripted provider does what its script says, the same each time."""

from __future__ import annotations

import time
from typing import Any

import jsonschema
import pytest
from contract import WEATHER, on_farm_loop
from pydantic import BaseModel

from farm_notebook import errors
from farm_notebook.config import load_config
from farm_notebook.errors import InvalidRequestError, ModelNotFoundError, UnsupportedParameterError
from farm_notebook.farm import Farm
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.providers.scripted.failures import ERRORS
from farm_notebook.providers.scripted.instances import smallest
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Finished,
    Image,
    ModelRef,
    ReasoningDelta,
    ReasoningEffort,
    Started,
    TextDelta,
    Tool,
    ToolCall,
    Usage,
)

TIME = Tool("get_time", "The time in a zone.", {"type": "object", "properties": {"zone": {"type": "string"}}})
PNG = Image(b"\x89PNG\r\n\x1a\n", "image/png")
JPEG = Image(b"\xff\xd8\xff", "image/jpeg")


@pytest.fixture
def farm() -> Farm:
    return Farm(model="scripted:echo")


# What it says


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("echo", "Hello  there"),
        ("count-3", "word0 word1 word2"),
        ("count", " ".join(f"word{number}" for number in range(10))),
        ("count-0", ""),
        ("sample-3", "word0 word1 word2"),
        ("think-2", "Hello  there"),
    ],
)
def test_a_script_says(model: str, text: str, farm: Farm) -> None:
    assert farm.chat("Hello  there", model=f"scripted:{model}").text == text


def test_slow_pauses_before_each_word(farm: Farm) -> None:
    start = time.perf_counter()
    assert farm.chat("go", model="scripted:slow-3").text == "word0 word1 word2"
    assert time.perf_counter() - start >= 3 * 0.05


def test_delay_s_is_the_pause_of_any_script(farm: Farm) -> None:
    start = time.perf_counter()
    farm.chat("a b c", extra={"delay_s": 0.04})
    assert time.perf_counter() - start >= 3 * 0.04


@pytest.mark.parametrize("extra", [{"delay_s": -1}, {"delay_s": "1"}, {"delay_s": True}, {"top_k": 3}])
def test_extra_that_means_nothing_is_refused(extra: dict[str, Any], farm: Farm) -> None:
    with pytest.raises(UnsupportedParameterError, match=r"cannot honour extra=.*'delay_s', 0 to 60 seconds"):
        farm.chat("hello", extra=extra)


@pytest.mark.parametrize(
    "model",
    [
        "",
        "nope",
        "echo-3",
        "count-x",
        "count--1",
        "error-nope",
        "error-42",
        "error-429-x",
        "Echo",
        "count-3 ",
    ],
)
@on_farm_loop
async def test_what_is_no_script_is_an_error_that_lists_them(model: str) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        await ScriptedProvider(load_config()).unload_model(model)
    message = str(caught.value)
    assert repr(model) in message
    assert all(word in message for word in ("echo", "count-N", "call-NAME", "error-KIND", *ERRORS))


@on_farm_loop
async def test_every_listed_script_is_one() -> None:
    provider = ScriptedProvider(load_config())
    for info in await provider.list_models():
        assert await provider.unload_model(info.ref.model) is False


def test_words_are_counted_as_tokens(farm: Farm) -> None:
    reply = farm.chat("one two three", system="be brief")
    assert reply.usage == Usage(5, 3)
    assert farm.chat("one two three", max_tokens=2).usage == Usage(3, 2)
    assert farm.chat("one two", model="scripted:think-3").usage == Usage(2, 5, reasoning_tokens=3)
    assert farm.embed(["one two", "three"]).usage == Usage(3)


# Sampling


def test_a_seed_repeats_what_is_sampled_and_another_gives_other_words(farm: Farm) -> None:
    def said(**options: Any) -> str:
        return farm.chat("go", model="scripted:sample-30", **options).text

    assert said(temperature=1.0, seed=3) == said(temperature=1.0, seed=3)
    assert said(temperature=1.0) == said(temperature=1.0, seed=0)
    assert len({said(temperature=1.0, seed=seed) for seed in range(5)}) == 5
    assert (
        said(temperature=0, seed=1) == said(temperature=0, seed=2) == farm.chat("go", model="count-30").text
    )


def test_a_higher_temperature_strays_further_and_top_p_keeps_it_near(farm: Farm) -> None:
    def strayed(**options: Any) -> int:
        """How far the words are from those of 'count', together."""
        words = farm.chat("go", model="scripted:sample-200", seed=1, **options).text.split()
        return sum(int(word.removeprefix("word")) - number for number, word in enumerate(words))

    assert 0 == strayed(temperature=0) < strayed(temperature=0.5) < strayed(temperature=2.0)
    assert strayed(temperature=2.0, top_p=0.6) < strayed(temperature=2.0)
    assert strayed(temperature=2.0, top_p=0.01) == 0


def test_fewer_tokens_are_the_beginning_of_the_same_sample(farm: Farm) -> None:
    whole, cut = (
        farm.chat("go", model="scripted:sample-30", temperature=1.0, seed=5, max_tokens=most)
        for most in (None, 7)
    )
    assert cut.text == " ".join(whole.text.split()[:7])
    assert (whole.finish_reason, cut.finish_reason) == ("stop", "length")


# Reasoning


@pytest.mark.parametrize(
    ("model", "effort", "count"),
    [
        ("echo", None, 0),
        ("echo", "off", 0),
        ("echo", "low", 2),
        ("echo", "on", 5),
        ("echo", "medium", 5),
        ("echo", "high", 10),
        ("think-3", None, 3),
        ("think-3", "high", 3),
        ("think-3", "off", 0),
    ],
)
def test_a_model_thinks_when_it_is_told_to(
    model: str, effort: ReasoningEffort | None, count: int, farm: Farm
) -> None:
    reply = farm.chat("Hello", model=f"scripted:{model}", reasoning=effort)
    assert reply.reasoning == " ".join(f"thought{number}" for number in range(count))
    assert reply.text == "Hello"
    assert reply.usage.reasoning_tokens == (count or None)


def test_thinking_comes_first_and_counts_against_max_tokens(farm: Farm) -> None:
    request = farm.core.request("a b c", model="scripted:think-2", max_tokens=3)
    assert list(farm.events(request))[1:4] == [
        ReasoningDelta("thought0"),
        ReasoningDelta(" thought1"),
        TextDelta("a"),
    ]


# Images


def test_images_are_counted_and_named(farm: Farm) -> None:
    assert farm.chat("What is this?", images=PNG).text == "[1 image: image/png] What is this?"
    assert farm.chat("And these?", images=[PNG, JPEG]).text == "[2 images: image/png, image/jpeg] And these?"


# Tools


def test_a_tool_is_called_by_name(farm: Farm) -> None:
    reply = farm.chat("What time is it?", model="scripted:call-get_time", tools=[WEATHER, TIME])
    assert reply.tool_calls == (ToolCall("call_1", "get_time", "{}"),)
    assert (reply.text, reply.finish_reason) == ("", "tool_calls")


@pytest.mark.parametrize(
    ("model", "choice", "called"),
    [
        ("echo", None, None),
        ("echo", "auto", None),
        ("echo", "none", None),
        ("echo", "required", "get_weather"),
        ("echo", "get_time", "get_time"),
        ("call", None, "get_weather"),
        ("call-get_time", "auto", "get_time"),
        ("call-get_time", "required", "get_time"),
        ("call-get_time", "get_weather", "get_weather"),
        ("call-get_time", "none", None),
    ],
)
def test_the_script_and_tool_choice_decide_what_is_called(
    model: str, choice: str | None, called: str | None, farm: Farm
) -> None:
    reply = farm.chat("Hello", model=f"scripted:{model}", tools=[WEATHER, TIME], tool_choice=choice)
    assert [call.name for call in reply.tool_calls] == ([called] if called else [])
    assert reply.text == ("" if called else "Hello")


def test_the_arguments_are_the_smallest_that_the_parameters_allow(farm: Farm) -> None:
    call = farm.chat("Paris", model="scripted:call", tools=WEATHER).tool_calls[0]
    assert call.parsed == {"city": ""}


@pytest.mark.parametrize("arguments", ['{"city": "Paris"}', '{"city":'])
def test_a_prompt_that_looks_like_an_object_is_the_arguments_right_or_wrong(
    arguments: str, farm: Farm
) -> None:
    reply = farm.chat(arguments, model="scripted:call", tools=WEATHER)
    assert reply.tool_calls[0].arguments == arguments


def test_a_script_that_was_told_the_result_of_its_call_echoes_it(farm: Farm) -> None:
    asked = ChatMessage("user", "What is the weather?")
    first = farm.chat([asked], model="scripted:call", tools=WEATHER)
    told = ChatMessage("tool", "22 degrees", tool_call_id=first.tool_calls[0].id)
    last = farm.chat([asked, first.message, told], model="scripted:call", tools=WEATHER)
    assert (last.text, last.tool_calls, last.finish_reason) == ("22 degrees", (), "stop")


def test_every_call_of_a_conversation_has_an_id_of_its_own(farm: Farm) -> None:
    turns = [ChatMessage("user", "What is the weather?")]
    for number in (1, 2, 3):
        reply = farm.chat(turns, tools=WEATHER, tool_choice="required")
        assert reply.tool_calls[0].id == f"call_{number}"
        turns += [reply.message, ChatMessage("tool", "22 degrees", tool_call_id=reply.tool_calls[0].id)]


@pytest.mark.parametrize(("tools", "offered"), [(None, "none"), ([TIME], "get_time")])
def test_calling_what_is_not_offered_is_an_error_that_lists_what_is(
    tools: list[Tool] | None, offered: str, farm: Farm
) -> None:
    with pytest.raises(InvalidRequestError, match=f"call-get_weather is to call .* Offered: {offered}"):
        farm.chat("hello", model="scripted:call-get_weather", tools=tools)


# Schemas


def test_an_answer_is_the_smallest_that_the_schema_allows(farm: Farm) -> None:
    class City(BaseModel):
        name: str
        population: int
        twin: City | None = None

    reply = farm.chat("Tell of Paris.", schema=City)
    assert reply.parsed == {"name": "", "population": 0}
    assert reply.parsed_as(City) == City(name="", population=0)


SCHEMAS: list[tuple[dict[str, Any], Any]] = [
    ({}, None),
    ({"type": "null"}, None),
    ({"type": "boolean"}, False),
    ({"type": "string"}, ""),
    ({"type": "string", "minLength": 3, "maxLength": 5}, "xxx"),
    ({"type": "string", "format": "date"}, "2000-01-01"),
    ({"type": "string", "format": "not-known"}, ""),
    ({"type": "integer"}, 0),
    ({"type": "integer", "minimum": 2.5}, 3),
    ({"type": "integer", "exclusiveMinimum": 2}, 3),
    ({"type": "integer", "maximum": -0.5}, -1),
    ({"type": "number", "exclusiveMinimum": 0}, 0.5),
    ({"type": "number", "exclusiveMaximum": -1}, -1.5),
    ({"type": ["string", "null"]}, ""),
    ({"const": 7}, 7),
    ({"enum": ["b", "a"]}, "b"),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None),
    ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, 0),
    ({"type": "array"}, []),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
    (
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 3},
        [0, "", None],
    ),
    ({"type": "object"}, {}),
    ({"properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]}, {"a": ""}),
    ({"type": "object", "required": ["a"]}, {"a": None}),
    (
        {"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"$ref": "#/$defs/B"}]}
        | {"$defs": {"B": {"type": "object", "properties": {"b": {"const": 2}}, "required": ["b"]}}},
        {"a": 1, "b": 2},
    ),
    ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer"}}}, 0),
]


@pytest.mark.parametrize(("schema", "value"), SCHEMAS, ids=[str(schema) for schema, _ in SCHEMAS])
def test_the_smallest_value_satisfies_its_schema(schema: dict[str, Any], value: Any) -> None:
    assert smallest(schema) == value
    jsonschema.Draft202012Validator(schema).validate(smallest(schema))


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string", "pattern": "a+"}, "'pattern' is not known"),
        ({"type": "number", "minimum": 2, "maximum": 1}, "no number was found between 2 and 1"),
        ({"type": "text"}, "'text' is not known"),
        ({"properties": {"a": False}, "required": ["a"]}, "'false' allows no value"),
        ({"$ref": "#/$defs/nowhere"}, "no schema that ends"),
        ({"$ref": "#"}, "no schema that ends"),
        ({"enum": []}, "no schema that ends"),
    ],
    ids=str,
)
def test_a_schema_without_a_known_value_is_refused_by_name(
    schema: dict[str, Any], words: str, farm: Farm
) -> None:
    with pytest.raises(
        UnsupportedParameterError, match=r"scripted:echo has no value for the schema"
    ) as caught:
        farm.chat("hello", schema=schema)
    assert words in str(caught.value)


# Failures


def test_every_error_that_a_provider_may_raise_has_a_script() -> None:
    tree = {getattr(errors, name) for name in errors.__all__ if name != "TimerName"}
    of_policies = {
        errors.BreakerOpenError,
        errors.BudgetExceededError,
        errors.InvalidAnswerError,
        errors.LimitReachedError,
        errors.NoTargetAnsweredError,
    }
    of_cassettes = {errors.CassetteError, errors.NotRecordedError}
    of_tests = {errors.RequestBlockedError}
    not_a_providers = {errors.FarmError, errors.InterruptedReply, errors.UnknownProviderError} | of_tests
    assert set(ERRORS.values()) == tree - not_a_providers - of_policies - of_cassettes


async def failed(model: str) -> None:
    """Ask the provider itself: a farm would try again after some of these errors."""
    ref = ModelRef("scripted", model)
    await ScriptedProvider(load_config()).chat(ChatRequest(ref, (ChatMessage("user", "hello"),)))


@pytest.mark.parametrize("kind", ERRORS)
@on_farm_loop
async def test_an_error_comes_on_cue(kind: str) -> None:
    with pytest.raises(ERRORS[kind], match=f"scripted:error-{kind} failed on cue") as caught:
        await failed(f"error-{kind}")
    assert type(caught.value) is ERRORS[kind]
    assert getattr(caught.value, "provider", "scripted") == "scripted"


@pytest.mark.parametrize(
    ("model", "kind", "status", "retry_after_s"),
    [
        ("error-401", errors.AuthenticationError, 401, None),
        ("error-402", errors.QuotaExceededError, 402, None),
        ("error-429", errors.RateLimitedError, 429, None),
        ("error-429-7", errors.RateLimitedError, 429, 7.0),
        ("error-503-2", errors.ProviderError, 503, 2.0),
        ("error-rate-3", errors.RateLimitedError, None, 3.0),
    ],
)
@on_farm_loop
async def test_an_http_status_fails_as_a_servers_would(
    model: str, kind: type[errors.ProviderError], status: int | None, retry_after_s: float | None
) -> None:
    with pytest.raises(kind) as caught:
        await failed(model)
    assert (caught.value.status, caught.value.retry_after_s) == (status, retry_after_s)


@on_farm_loop
async def test_a_context_error_has_its_counts_and_a_timeout_its_timer() -> None:
    with pytest.raises(errors.ContextLengthError) as context:
        await failed("error-context")
    assert (context.value.tokens, context.value.limit) == (9000, 8192)
    with pytest.raises(errors.ProviderTimeoutError) as timeout:
        await failed("error-timeout")
    assert timeout.value.timer == "first event"


@pytest.mark.parametrize(
    ("model", "kind"),
    [("fail-2", errors.ProviderConnectionError), ("truncate-2", errors.IncompleteStreamError)],
)
def test_an_answer_breaks_after_its_words(model: str, kind: type[errors.ProviderError], farm: Farm) -> None:
    with pytest.raises(kind) as caught:
        farm.chat("hello", model=f"scripted:{model}")
    assert caught.value.partial_text == "word0 word1"


@on_farm_loop
async def test_an_error_is_raised_after_the_request_was_sent() -> None:
    provider = ScriptedProvider(load_config())
    request = Farm().core.request("hello", model="scripted:error-500")
    events = provider.stream(request)
    assert await anext(events) == Started(ModelRef("scripted", "error-500"))
    with pytest.raises(errors.ProviderError):
        await anext(events)
    assert ScriptedProvider.open_streams == 0


def test_a_whole_answer_ends_with_its_finish_mark(farm: Farm) -> None:
    events = list(farm.events(farm.core.request("a b")))
    assert [type(event) for event in events] == [Started, TextDelta, TextDelta, Finished]
