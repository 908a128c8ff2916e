"""The double of Ollama speaks its wire: the official client understands all of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import pytest
from ollama_double import VERSION, OllamaDouble
from ollama_mind import EMBEDDING_WIDTH, ENDLESS, REGISTRY, STORY

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


@pytest.fixture
def double(tmp_path: Path) -> Iterator[OllamaDouble]:
    with OllamaDouble(tmp_path).running() as double:
        double.install("parrot:latest", "thinker:latest", "plain:latest", "embedder:latest", "crasher:latest")
        yield double


@pytest.fixture
def client(double: OllamaDouble) -> Iterator[ollama.Client]:
    client = ollama.Client(host=double.url)
    yield client
    client.close()  # type: ignore[no-untyped-call]


def user(text: str, **more: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text, **more}]


def test_a_chat_streams_word_by_word_and_ends_with_its_counts(client: ollama.Client) -> None:
    parts = list(client.chat("parrot", user("one two three"), stream=True))
    assert [part.message.content for part in parts] == ["one", " two", " three", ""]
    assert [part.done for part in parts] == [False, False, False, True]
    end = parts[-1]
    assert (end.done_reason, end.prompt_eval_count, end.eval_count) == ("stop", 3, 3)


def test_a_whole_answer_is_what_the_stream_adds_up_to(client: ollama.Client) -> None:
    assert client.chat("parrot", user("one two three")).message.content == "one two three"
    assert client.generate("parrot", "one two three", raw=True).response == "one two three"
    parts = client.generate("parrot", "one two three", raw=True, stream=True)
    assert "".join(part.response or "" for part in parts) == "one two three"


def test_options_mean_something(client: ollama.Client) -> None:
    def story(**options: Any) -> ollama.ChatResponse:
        return client.chat("parrot", user(STORY), options=options)

    greedy = story(temperature=0)
    assert story(temperature=0, seed=7).message == greedy.message
    assert story(seed=1).message == story(seed=1).message
    assert story(seed=1).message != story(seed=2).message
    cut = story(temperature=0, num_predict=3)
    assert (cut.done_reason, cut.eval_count) == ("length", 3)
    words = (greedy.message.content or "").split()
    stopped = story(temperature=0, stop=[words[5]])
    assert (stopped.message.content or "").split() == words[:5]
    assert stopped.done_reason == "stop"


def test_tools_are_called_with_an_object_and_answered(client: ollama.Client) -> None:
    question = user("What is the weather in Paris?")
    message = client.chat("parrot", question, tools=[WEATHER]).message
    assert message.tool_calls
    assert message.tool_calls[0].function.name == "get_weather"
    assert message.tool_calls[0].function.arguments == {"city": "Paris"}
    turns: list[Any] = [
        *question,
        message,
        {"role": "tool", "content": "22 degrees", "tool_name": "get_weather"},
    ]
    assert client.chat("parrot", turns, tools=[WEATHER]).message.content == "The tool says: 22 degrees"


def test_a_model_that_thinks_does_unless_told_not_to(client: ollama.Client) -> None:
    for think in (None, True, "low", False):
        message = client.chat("thinker", user("hello"), think=think).message
        assert message.content == "hello"
        assert message.thinking == (None if think is False else "Let me think.")


def test_images_are_seen(client: ollama.Client) -> None:
    message = client.chat("parrot", user("What is this?", images=[b"12345", b"123"])).message
    assert message.content == "I see images of 5, 3 bytes"


def test_an_answer_follows_its_format(client: ollama.Client) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "city": {"type": "string"}}}
    assert client.chat("parrot", user("tell"), format=schema).message.content == '{"n": 7, "city": "Paris"}'
    assert client.generate("parrot", "tell", format="json").response == '{"answer": "yes"}'


def test_embeddings_are_unit_vectors(client: ollama.Client) -> None:
    answer = client.embed("embedder", ["a cat", "a dog", "a cat"])
    cat, dog, again = answer.embeddings
    assert len(cat) == EMBEDDING_WIDTH
    assert math.hypot(*cat) == pytest.approx(1.0, abs=1e-6)
    assert cat == again != dog
    assert answer.prompt_eval_count == 6


def test_a_pull_tells_how_far_each_layer_is_and_the_model_is_there(
    client: ollama.Client, double: OllamaDouble
) -> None:
    name = "parrot:8b"
    lines = list(client.pull(name, stream=True))
    assert lines[0].status == "pulling manifest"
    assert [line.status for line in lines[-3:]] == ["verifying sha256 digest", "writing manifest", "success"]
    first = [line for line in lines if line.digest == REGISTRY[name].layers[0][0]]
    assert first[0].completed is None, "Go leaves out a 0"
    assert {line.total for line in first} == {9_000_000}
    assert name in [model.model for model in client.list().models]
    assert client.pull(name).status == "success", "a model that is there is pulled again"


def test_lists_tell_what_is_there_and_what_is_loaded(client: ollama.Client) -> None:
    model = REGISTRY["parrot:latest"]
    listed = {entry.model: entry for entry in client.list().models}
    assert listed["parrot:latest"].digest == model.digest
    assert listed["parrot:latest"].size == sum(model.sizes)
    assert client.ps().models == []
    client.generate("parrot", "", keep_alive="10m", options={"num_ctx": 512})
    (loaded,) = client.ps().models
    assert (loaded.model, loaded.digest, loaded.context_length) == ("parrot:latest", model.digest, 512)
    assert client.generate("parrot", "", keep_alive=0).done_reason == "unload"
    shown = client.show("parrot")
    assert shown.capabilities == ["completion", "tools", "vision"]
    assert shown.modelinfo
    assert shown.modelinfo["parrot.context_length"] == 8192


def test_a_deleted_model_is_gone(client: ollama.Client) -> None:
    assert client.delete("parrot").status == "success"
    with pytest.raises(ollama.ResponseError, match="model 'parrot' not found"):
        client.show("parrot")


@pytest.mark.parametrize(
    ("model", "options", "status", "words"),
    [
        ("nobody", {}, 404, "model 'nobody' not found"),
        ("plain", {"tools": [WEATHER]}, 400, "does not support tools"),
        ("plain", {"think": True}, 400, '"plain" does not support thinking'),
        ("embedder", {}, 400, '"embedder" does not support chat'),
        ("parrot", {"think": "hard"}, 400, "invalid think value"),
        ("parrot", {"keep_alive": "-1"}, 400, "missing unit in duration"),
        ("parrot", {"options": {"stop": "x"}}, 500, 'option "stop" must be of type array'),
    ],
)
def test_what_is_wrong_is_told_as_ollama_tells_it(
    client: ollama.Client, model: str, options: dict[str, Any], status: int, words: str
) -> None:
    with pytest.raises(ollama.ResponseError, match=words) as caught:
        client.chat(model, user("weather"), **options)
    assert caught.value.status_code == status


def test_an_error_inside_a_stream_comes_after_what_was_said(client: ollama.Client) -> None:
    parts = client.chat("crasher", user("one two three"), stream=True)
    assert [next(parts).message.content for _ in range(2)] == ["one", " two"]
    with pytest.raises(ollama.ResponseError, match="unexpected EOF"):
        next(parts)


def test_a_pull_of_what_does_not_exist_fails_inside_its_stream(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="file does not exist"):
        list(client.pull("nobody", stream=True))


def test_a_caller_that_leaves_is_noticed(client: ollama.Client, double: OllamaDouble) -> None:
    parts = client.chat("parrot", user(ENDLESS), stream=True)
    assert next(iter(parts)).message.content == "word0"
    assert double.working == 1
    parts.close()  # type: ignore[attr-defined]  # a generator
    assert double.is_idle(within_s=3.0)


def test_the_version_is_ollamas(client: ollama.Client) -> None:
    response = client._client.get("/api/version")  # no method of its own
    assert response.json() == {"version": VERSION}
