"""The official client passes against the double too, so what the double says is what OpenAI says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai_double import CHAT_MODEL, KEY, MODEL, OpenAIDouble, running
from pydantic import BaseModel

WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class City(BaseModel):
    name: str
    population: int


@pytest.fixture(scope="module")
def double() -> Iterator[OpenAIDouble]:
    with running() as double:
        yield double


@pytest.fixture
def client(double: OpenAIDouble) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=KEY, base_url=double.url, max_retries=0) as client:
        yield client


def test_a_chat_streams_its_words_and_its_usage(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "What is the capital of Japan?"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "The capital of Japan is Tokyo."
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 6


def test_a_streamed_tool_call_is_put_together(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model=MODEL,
        messages=[{"role": "user", "content": "Weather in Paris?"}],
        tools=[{"type": "function", "function": WEATHER}],
        tool_choice="required",
    ) as stream:
        completion = stream.get_final_completion()
    calls = completion.choices[0].message.tool_calls
    assert calls
    assert (calls[0].function.name, calls[0].function.arguments) == ("get_weather", '{"city": "Paris"}')


def test_a_schema_is_parsed_and_a_refusal_is_one(client: openai.OpenAI) -> None:
    def asked(prompt: str) -> Any:
        return (
            client.chat.completions.parse(
                model=MODEL, messages=[{"role": "user", "content": prompt}], response_format=City
            )
            .choices[0]
            .message
        )

    assert asked("Tell of Paris.").parsed == City(name="Paris", population=2102650)
    assert asked("Refuse.").refusal == "I cannot help with that."


def test_a_raw_prompt_is_completed_by_the_model_that_can(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt="one two three", max_tokens=2)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("one two", "length")
    with pytest.raises(openai.NotFoundError, match="This is a chat model"):
        client.completions.create(model=CHAT_MODEL, prompt="one")


@pytest.mark.parametrize("encoding", [openai.omit, "float"], ids=["the client's base64", "float"])
def test_embeddings_arrive_in_either_encoding(client: openai.OpenAI, encoding: Any) -> None:
    answer = client.embeddings.create(model=MODEL, input=["a b", "c"], encoding_format=encoding)
    assert sorted(row.index for row in answer.data) == [0, 1]
    assert all(len(row.embedding) == 16 for row in answer.data)
    assert answer.usage.prompt_tokens == 3


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL, CHAT_MODEL]


def test_a_response_streams_words_thoughts_and_usage(client: openai.OpenAI) -> None:
    with client.responses.stream(
        model=MODEL, input="What is the capital of Egypt?", reasoning={"effort": "low"}
    ) as stream:
        kinds = [event.type for event in stream]
        response = stream.get_final_response()
    assert "response.reasoning_summary_text.delta" in kinds
    assert kinds.count("response.output_text.delta") == 6
    assert response.output_text == "The capital of Egypt is Cairo."
    assert response.usage
    assert response.usage.output_tokens_details.reasoning_tokens == 2


def test_a_response_calls_a_function_and_takes_its_result(client: openai.OpenAI) -> None:
    tool: Any = {"type": "function", "strict": False, **WEATHER}
    first = client.responses.create(
        model=MODEL, input="Weather in Paris?", tools=[tool], tool_choice="required"
    )
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert call.arguments == '{"city": "Paris"}'
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "22 degrees"}
    second = client.responses.create(
        model=MODEL, input=[{"role": "user", "content": "Weather in Paris?"}, result], tools=[tool]
    )
    assert second.output_text == "The tool says: 22 degrees."


def test_a_wrong_key_and_an_unknown_model_are_errors_of_the_client(double: OpenAIDouble) -> None:
    with (
        openai.OpenAI(api_key="sk-wrong-key-000", base_url=double.url, max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match=r"sk-wrong\*+-000"),
    ):
        client.models.list()
    with (
        openai.OpenAI(api_key=KEY, base_url=double.url, max_retries=0) as client,
        pytest.raises(openai.NotFoundError) as caught,
    ):
        client.embeddings.create(model="nope", input="a")
    assert caught.value.code == "model_not_found"
