"""One prompt in several steps: tools are called until the model answers, and an answer is made to fit."""

from __future__ import annotations

import asyncio
import json
import pickle
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from pydantic import BaseModel, field_validator

from farm_notebook import loop
from farm_notebook.errors import (
    InvalidAnswerError,
    InvalidRequestError,
    NoTargetAnsweredError,
    ProviderConnectionError,
    UnsupportedParameterError,
)
from farm_notebook.farm import Farm
from farm_notebook.farm.step_events import (
    Rejected,
    StepEvent,
    StepStarted,
    ToolFinished,
    ToolStarted,
    Unenforced,
    Validated,
)
from farm_notebook.farm.step_replies import StepsBuilder
from farm_notebook.farm.steps import steps
from farm_notebook.farm.toolbox import Toolbox
from farm_notebook.schemas import as_shape
from farm_notebook.tools import as_tool
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Event,
    Finished,
    ModelRef,
    Started,
    TextDelta,
    Timings,
    ToolCall,
    Usage,
)

pytestmark = pytest.mark.usefixtures("no_leaks")

REF = ModelRef("scripted", "echo")


class City(BaseModel):
    name: str
    population: int

    @field_validator("name")
    @classmethod
    def is_named(cls, name: str) -> str:
        if not name:
            raise ValueError("a city has a name")
        return name


def weather(city: str) -> str:
    """The weather in a city."""
    return f"rain in {city}"


@pytest.fixture
def farm() -> Farm:
    """Not closed after the test: that would close the providers of every farm with the same settings."""
    return Farm(model="scripted:call-weather")


class Model:
    """Says what it is told to, a turn for each request: texts, calls, or an error."""

    def __init__(self, *turns: str | ToolCall | Sequence[ToolCall] | Exception) -> None:
        self._turns = list(turns)
        self.requests: list[ChatRequest] = []

    async def ask(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        self.requests.append(request)
        turn = self._turns.pop(0)
        if isinstance(turn, Exception):
            raise turn
        yield Started(REF)
        calls = (turn,) if isinstance(turn, ToolCall) else () if isinstance(turn, str) else turn
        if isinstance(turn, str):
            yield TextDelta(turn)
        for call in calls:
            yield call
        yield Finished(
            "tool_calls" if calls else "stop", Usage(10, 5), Timings(total_s=1.0, load_s=0.5), cost=0.25
        )

    def run(self, request: ChatRequest, **options: Any) -> tuple[list[StepEvent], StepsBuilder]:
        """All events, and what was gathered of them."""
        builder = StepsBuilder(request)

        async def gather() -> list[StepEvent]:
            found = []
            async with aclosing(steps(self.ask, request, **options)) as events:
                async for event in events:
                    builder.add(event)
                    found.append(event)
            return found

        return loop.run_blocking(gather()), builder


def asked(*tools: Callable[..., Any], **options: Any) -> ChatRequest:
    return ChatRequest(REF, (ChatMessage("user", "Hi"),), tools=tuple(map(as_tool, tools)), **options)


def call(name: str = "weather", arguments: str = '{"city": "Rome"}', id: str = "1") -> ToolCall:
    return ToolCall(id, name, arguments)


def kinds(events: Sequence[StepEvent]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_the_models_calls_are_made_and_it_is_told_the_results() -> None:
    model = Model([call(), call(arguments='{"city": "Oslo"}', id="2")], "It rains.")
    events, builder = model.run(asked(weather), toolbox=Toolbox([weather]))
    assert kinds(events) == [
        "StepStarted",
        *("Started", "ToolCall", "ToolCall", "Finished"),
        *("ToolStarted", "ToolFinished", "ToolStarted", "ToolFinished"),
        "StepStarted",
        *("Started", "TextDelta", "Finished"),
    ]
    told = model.requests[1].messages[1:]
    assert [(message.role, message.content, message.tool_call_id) for message in told] == [
        ("assistant", "", None),
        ("tool", "rain in Rome", "1"),
        ("tool", "rain in Oslo", "2"),
    ]
    assert [each.id for each in told[0].tool_calls] == ["1", "2"]
    reply = builder.build()
    assert (reply.text, reply.tool_calls) == ("It rains.", ())
    (step,) = reply.steps
    assert [result.text for result in step.results] == ["rain in Rome", "rain in Oslo"]


def test_usage_cost_and_seconds_are_those_of_all_steps() -> None:
    reply = Model(call(), "It rains.").run(asked(weather), toolbox=Toolbox([weather]))[1].build()
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.cost) == (20, 10, 0.5)
    assert reply.usage.cached_tokens is None
    assert reply.timings.load_s == 1.0
    assert reply.timings.total_s == pytest.approx(2.0 + reply.steps[0].results[0].took_s)
    assert "called weather" in reply.footer
    (told,) = reply.provenance()["steps"]
    assert [(each["name"], each["result"]) for each in told["calls"]] == [("weather", "rain in Rome")]
    json.dumps(reply.provenance())


def test_a_model_that_never_ends_is_stopped_and_its_last_calls_are_not_made() -> None:
    events, builder = Model(*[call()] * 9).run(asked(weather), toolbox=Toolbox([weather]), max_steps=3)
    assert kinds(events).count("StepStarted") == 3
    assert kinds(events).count("ToolFinished") == 2
    assert [each.name for each in builder.build().tool_calls] == ["weather"]


def test_a_tool_that_had_to_be_called_need_not_be_called_again() -> None:
    for choice, then in (("required", None), ("weather", None), ("auto", "auto")):
        model = Model(call(), "Done.")
        model.run(asked(weather, tool_choice=choice), toolbox=Toolbox([weather]))
        assert [request.tool_choice for request in model.requests] == [choice, then]


def test_mistakes_are_told_to_the_model_and_do_not_end_the_answer() -> None:
    def fail() -> None:
        raise LookupError("gone")

    model = Model([call("nothing"), call(arguments="{"), call("fail", "{}")], "Sorry.")
    events, _ = model.run(asked(weather, fail), toolbox=Toolbox([weather, fail]))
    results = [event.result for event in events if isinstance(event, ToolFinished)]
    assert all(result.is_error for result in results)
    assert [message.content for message in model.requests[1].messages[2:]] == [r.text for r in results]
    assert results[2].text == "LookupError: gone"


def test_a_refused_call_is_told_to_the_model() -> None:
    model = Model(call(), "Then not.")
    model.run(asked(weather), toolbox=Toolbox([weather]), confirm=lambda call: False)
    assert model.requests[1].messages[-1].content == "The user does not allow this call."


@pytest.mark.parametrize("max_steps", [0, -1, True, 1.5, "3"])
def test_a_number_of_steps_that_is_none_is_refused(max_steps: Any) -> None:
    with pytest.raises(InvalidRequestError, match="max_steps="):
        steps(Model().ask, asked(), max_steps=max_steps)


def test_an_answer_that_fits_is_its_value() -> None:
    model = Model('{"name": "Rome", "population": 3}')
    events, builder = model.run(asked(), shape=as_shape(City))
    assert events[-1] == Validated(City(name="Rome", population=3))
    assert builder.value == City(name="Rome", population=3)
    assert model.requests[0].schema == City.model_json_schema()
    assert builder.build().steps == ()


def test_an_answer_that_does_not_fit_is_corrected_once() -> None:
    model = Model('{"name": "", "population": 3}', '{"name": "Rome", "population": 3}')
    events, builder = model.run(asked(), shape=as_shape(City))
    (rejected,) = [event for event in events if isinstance(event, Rejected)]
    assert rejected.problem == "name: Value error, a city has a name (it is '')"
    *_, said, told = model.requests[1].messages
    assert (said.role, said.content) == ("assistant", '{"name": "", "population": 3}')
    assert rejected.problem in told.content
    assert builder.value == City(name="Rome", population=3)
    reply = builder.build()
    assert (reply.text, reply.cost) == ('{"name": "Rome", "population": 3}', 0.5)
    assert [step.problem for step in reply.steps] == [rejected.problem]
    assert "corrected" in reply.footer


def test_what_does_not_fit_after_that_either_is_an_error_and_the_answer_is_kept() -> None:
    request = asked()
    model, builder = Model("I do not know.", '{"name": "Rome"}'), StepsBuilder(request)

    async def gather() -> None:
        async for event in steps(model.ask, request, shape=as_shape(City)):
            builder.add(event)

    with pytest.raises(
        InvalidAnswerError, match=r"does not fit City, .* population: Field required"
    ) as caught:
        loop.run_blocking(gather())
    assert caught.value.text == builder.build().text == '{"name": "Rome"}'
    assert pickle.loads(pickle.dumps(caught.value)).text == caught.value.text


@pytest.mark.parametrize(
    "error",
    [
        UnsupportedParameterError("cannot honour schema"),
        NoTargetAnsweredError("none", [UnsupportedParameterError("cannot honour schema")]),
    ],
)
def test_a_model_that_cannot_be_held_to_a_schema_is_asked_in_words_and_checked(error: Exception) -> None:
    model = Model(error, "Sure: ```json\n{}\n```", '```json\n{"name": "Rome", "population": 3}\n```')
    events, builder = model.run(asked(), shape=as_shape(City))
    assert [event.problem for event in events if isinstance(event, Unenforced)] == [str(error)]
    assert [request.schema is None for request in model.requests] == [False, True, True]
    for request in model.requests[1:]:
        assert '"population"' in request.messages[0].content
    assert request.messages[0].content.count("It must fit this JSON schema") == 1
    assert builder.value == City(name="Rome", population=3)


def test_another_error_is_not_taken_for_that() -> None:
    with pytest.raises(ProviderConnectionError):
        Model(ProviderConnectionError("gone")).run(asked(), shape=as_shape(City))
    with pytest.raises(UnsupportedParameterError):
        Model(*[UnsupportedParameterError("no images")] * 2).run(asked(), shape=as_shape(City))


def test_beside_tools_the_schema_is_told_in_words_and_enforced_only_to_correct() -> None:
    model = Model(call(), "It rains.", '{"name": "Rome", "population": 3}')
    request = asked(weather, schema=City.model_json_schema())
    _, builder = model.run(request, toolbox=Toolbox([weather]), shape=as_shape(City))
    assert [request.schema is None for request in model.requests] == [True, True, False]
    assert [request.tool_choice for request in model.requests] == [None, None, "none"]
    assert model.requests[0].messages[0].role == "system"
    assert builder.value == City(name="Rome", population=3)
    assert [step.summary for step in builder.build().steps] == ["called weather", "corrected"]


def test_the_schema_joins_a_system_message_that_is_there() -> None:
    request = ChatRequest(
        REF, (ChatMessage("system", "Be brief."), ChatMessage("user", "Hi")), tools=(as_tool(weather),)
    )
    model = Model('{"name": "Rome", "population": 3}')
    model.run(request, toolbox=Toolbox([weather]), shape=as_shape(City))
    first, second = model.requests[0].messages
    assert first.content.startswith("Be brief.\n\nGive your answer as one JSON value only")
    assert second.content == "Hi"


def test_leaving_early_closes_the_stream_below() -> None:
    closed = threading.Event()

    async def ask(request: ChatRequest) -> AsyncGenerator[Event, None]:
        try:
            yield Started(REF)
            await asyncio.sleep(3600)
        finally:
            closed.set()

    async def leave() -> None:
        events = steps(ask, asked(), shape=as_shape(City))
        assert isinstance(await anext(events), StepStarted)
        assert isinstance(await anext(events), Started)
        await events.aclose()

    loop.run_blocking(leave())
    assert closed.is_set()


def test_a_partial_reply_knows_the_steps_before_it() -> None:
    request = asked(weather)
    builder = StepsBuilder(request)
    assert builder.is_empty
    for event in (
        StepStarted(request),
        Started(REF),
        call(),
        Finished("tool_calls"),
        ToolStarted(call()),
    ):
        builder.add(event)
    assert builder.partial("interrupted").finish_reason == "interrupted"
    assert [each.name for each in builder.partial("interrupted").tool_calls] == ["weather"]
    assert not builder.is_empty


def test_a_farm_runs_tools_in_the_thread_that_waits(farm: Farm) -> None:
    threads = []

    def weather(city: str) -> str:
        threads.append(threading.current_thread())
        return farm.chat(f"rain in {city}", model="scripted:echo").text

    reply = farm.run_tools('{"city": "Rome"}', tools=[weather])
    assert (reply.text, threads) == ("rain in Rome", [threading.current_thread()])
    reply = asyncio.run(farm.core.run_tools('{"city": "Oslo"}', tools=weather))
    assert (reply.text, threads[1]) == ("rain in Oslo", threading.current_thread())


def test_a_farm_tells_the_events_of_all_steps(farm: Farm) -> None:
    assert kinds(list(farm.steps('{"city": "Rome"}', tools=[weather])))[-1] == "Finished"


@dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (Point, Point(0)),
        (list[Point], []),
        (int, 0),
        ({"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}, {"x": 0}),
    ],
)
def test_a_farm_gives_the_value_that_a_schema_asks_for(farm: Farm, schema: Any, value: object) -> None:
    assert farm.chat_structured("Where?", model="scripted:echo", schema=schema) == value


def test_a_farm_is_told_what_an_answer_is_to_be(farm: Farm) -> None:
    with pytest.raises(InvalidRequestError, match="schema="):
        farm.chat_structured("Where?")


def test_a_secret_in_the_error_of_a_tool_is_not_told(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789abcdef")

    def weather(city: str) -> str:
        raise PermissionError("denied for sk-0123456789abcdef")

    assert farm.run_tools('{"city": "Rome"}', tools=[weather]).text == "PermissionError: denied for ***"


@pytest.mark.model
@pytest.mark.slow
def test_the_embedded_model_is_held_to_a_schema(embedded_farm: Farm) -> None:
    answers: Any = Literal["yes", "no"]
    value = embedded_farm.chat_structured("Is Paris big?", schema=answers, seed=1, max_tokens=50)
    assert value in ("yes", "no")


@pytest.mark.model
@pytest.mark.slow
def test_the_embedded_model_has_a_tool_called_and_reads_the_result(embedded_farm: Farm) -> None:
    asked = "What is the weather in Paris? Use the tool."
    reply = embedded_farm.run_tools(
        asked, tools=[weather], tool_choice="required", temperature=0, seed=1, max_tokens=100
    )
    (result,) = reply.steps[0].results
    assert (result.call.name, result.is_error) == ("weather", False)
    assert result.text.startswith("rain in ")
    assert reply.usage.output_tokens is not None
