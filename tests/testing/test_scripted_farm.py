"""The fixture scripted_farm: a farm that says what a test wants it to, and tells what it was asked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

import farm_notebook
from farm_notebook.errors import (
    InvalidRequestError,
    NotRecordedError,
    RateLimitedError,
    RequestBlockedError,
)
from farm_notebook.farm import Farm, default_farm
from farm_notebook.testing.scripted import Answer, ScriptedFarm
from farm_notebook.types import ChatRequest, Event, Finished, ReasoningDelta, Started, TextDelta, ToolCall


def test_answers_are_given_in_their_order_whichever_model_is_asked(scripted_farm: ScriptedFarm) -> None:
    scripted_farm.answers("Paris", "Rome.\n")
    assert scripted_farm.chat("Of France?", model="openai:gpt-5").text == "Paris"
    reply = scripted_farm.chat("Of Italy?", model="llamacpp:none.gguf", temperature=0.5)
    assert reply.text == "Rome.\n"
    assert str(reply.ref) == "llamacpp:none.gguf"
    assert scripted_farm.prompts == ("Of France?", "Of Italy?")
    assert [request.temperature for request in scripted_farm.asked] == [None, 0.5]
    assert scripted_farm.answers_left == 0


def test_one_answer_too_few_is_told_with_what_was_asked(scripted_farm: ScriptedFarm) -> None:
    scripted_farm.answers("Yes")
    scripted_farm.chat("Is it?")
    told = r"No answer is left for request 2, chat scripted:test 'Why\?'\."
    with pytest.raises(NotRecordedError, match=told):
        scripted_farm.chat("Why?")


def test_a_function_answers_what_no_said_answer_is_left_for(scripted_farm: ScriptedFarm) -> None:
    async def shout(request: ChatRequest) -> Answer:
        await asyncio.sleep(0)
        return request.messages[-1].content.upper()

    scripted_farm.answers("first")
    scripted_farm.answer_with(shout)
    assert [scripted_farm.chat("a").text for _ in range(2)] == ["first", "A"]


def test_what_a_function_raises_is_raised_to_who_asks(scripted_farm: ScriptedFarm) -> None:
    def check(request: ChatRequest) -> Answer:
        assert request.messages[-1].content == "expected"
        return "fine"

    scripted_farm.answer_with(check)
    assert scripted_farm.chat("expected").text == "fine"
    with pytest.raises(AssertionError):
        scripted_farm.chat("another")


def test_an_error_comes_as_it_was_said_and_nothing_is_tried_again(scripted_farm: ScriptedFarm) -> None:
    scripted_farm.answers(RateLimitedError("Slowly."), "later")
    with pytest.raises(RateLimitedError, match="Slowly"):
        scripted_farm.chat("Hello")
    assert scripted_farm.answers_left == 1


def test_answers_stream_word_by_word_with_thoughts_before_them(scripted_farm: ScriptedFarm) -> None:
    scripted_farm.answers("one two", [ReasoningDelta("Hm."), "three"])
    assert list(scripted_farm.stream("Count")) == ["one", " two"]
    events = list(scripted_farm.events(scripted_farm.core.request("Go on")))
    kinds: list[type[Event]] = [Started, ReasoningDelta, TextDelta, Finished]
    assert [type(event) for event in events] == kinds


def test_tools_are_called_and_a_mapping_is_json(scripted_farm: ScriptedFarm) -> None:
    def double(number: int) -> int:
        """Twice a number."""
        return 2 * number

    scripted_farm.answers(ToolCall("1", "double", '{"number": 21}'), "It is 42.", {"number": 42})
    assert scripted_farm.run_tools("Twice 21?", tools=[double]).text == "It is 42."
    assert scripted_farm.asked[1].messages[-1].content == "42"
    assert scripted_farm.chat_structured("As JSON?", schema=dict[str, int]) == {"number": 42}


def test_embeddings_depend_on_the_texts_alone(scripted_farm: ScriptedFarm) -> None:
    one, same, other = scripted_farm.embed(["a", "a", "b"], model="openai:text-embedding-3-small").vectors
    assert one == same != other
    assert [match.text for match in scripted_farm.similar("a", ["b", "a"], k=1)] == ["a"]


def test_the_rest_of_a_farm_has_nothing_to_tell_and_loads_nothing(scripted_farm: ScriptedFarm) -> None:
    assert list(scripted_farm.load("llamacpp:smollm2:135m")) == []
    assert not scripted_farm.list_models()
    assert not scripted_farm.health()
    assert not scripted_farm.models.loaded()
    assert scripted_farm.unload() is False
    assert asyncio.run(scripted_farm.core.context_tokens()) is None
    with pytest.raises(NotRecordedError, match="A scripted farm has no answer to route"):
        scripted_farm.route()


@pytest.fixture
def afterwards_as_before() -> Iterator[None]:
    """Fail a test that changes the default farm for the next one."""
    before = default_farm().core
    yield
    assert default_farm().core is before


def test_the_default_farm_answers_so_too(afterwards_as_before: None, scripted_farm: ScriptedFarm) -> None:
    scripted_farm.answers("said", "again")
    assert farm_notebook.chat("Hello", model="openai:gpt-5").text == "said"
    scripted_farm.reload(seed=7)
    default_farm().reload(seed=7)
    assert default_farm().chat("Hello").text == "again"
    assert scripted_farm.prompts == ("Hello", "Hello")


def test_other_farms_of_the_test_ask_nobody(scripted_farm: ScriptedFarm) -> None:
    with pytest.raises(RequestBlockedError, match="'openai' was to be asked for real"):
        Farm(model="openai:gpt-5").chat("Hello")


@pytest.mark.farm_real
def test_but_for_those_with_the_mark(scripted_farm: ScriptedFarm) -> None:
    assert "FARM_BLOCK_REQUESTS" not in os.environ


def test_what_is_no_answer_is_refused(scripted_farm: ScriptedFarm) -> None:
    scripted_farm.answers(42)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match=r"42 is no answer\. Valid: a text, a mapping"):
        scripted_farm.chat("Hello")


async def test_coroutines_ask_its_core(scripted_farm: ScriptedFarm) -> None:
    scripted_farm.answers("awaited")
    assert (await scripted_farm.core.chat("Hello")).text == "awaited"
