"""How likely tokens were: as it is told, as it was asked for, and kept as the rest of an answer is."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from farm_notebook.cassettes.events import Timed, read_events, scrub_entries, write_events
from farm_notebook.cassettes.scrub import Scrub
from farm_notebook.errors import ProviderError, UnsupportedParameterError
from farm_notebook.farm import Farm
from farm_notebook.providers.logprobs import LEAST, as_asked, read_logprobs
from farm_notebook.providers.openai.response_stream import decode_responses
from farm_notebook.providers.openai.responses import responses_body
from farm_notebook.providers.openai_wire import decode_stream, request_body
from farm_notebook.types import ChatMessage, ChatRequest, Event, Finished, ModelRef, TextDelta, TokenLogprob

REF = ModelRef("far", "m")
PARIS = TokenLogprob(" Paris", -0.25, ((" Paris", -0.25), (" the", -2.5)))
PLAIN = {"token": " Paris", "logprob": -0.25, "top_logprobs": [
    {"token": " the", "logprob": -2.5},
    {"token": " Paris", "logprob": -0.25},
]}  # fmt: skip


def ask(**options: Any) -> ChatRequest:
    return ChatRequest(REF, (ChatMessage("user", "Where?"),), **options)


async def saying(*events: Event) -> AsyncGenerator[Event, None]:
    for event in events:
        yield event


async def sent(*chunks: Any) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield f"data: {json.dumps(chunk)}\n\n".encode()


async def finish(events: AsyncGenerator[Event, None]) -> Finished:
    last = [event async for event in events][-1]
    assert isinstance(last, Finished)
    return last


# As it is told


def test_the_likeliest_stand_first_however_they_are_told() -> None:
    assert list(read_logprobs([PLAIN])) == [PARIS]


def test_what_is_impossible_is_a_number_that_json_has() -> None:
    assert [each.logprob for each in read_logprobs([{"token": "a", "logprob": -math.inf}])] == [LEAST]


async def test_a_chat_tells_of_each_token_in_its_chunk() -> None:
    told = {"content": [PLAIN]}
    choices = [{"delta": {"content": " Paris"}, "logprobs": told}, {"delta": {}, "finish_reason": "stop"}]
    end = await finish(decode_stream(sent(*({"choices": [choice]} for choice in choices)), REF))
    assert end.logprobs == (PARIS,)


async def test_a_completion_tells_of_them_in_the_older_form_or_in_a_chats() -> None:
    older = {
        "tokens": [" Paris"],
        "token_logprobs": [-0.25],
        "top_logprobs": [{" the": -2.5, " Paris": -0.25}],
    }
    for told in (older, {"content": [PLAIN]}):
        choice = {"text": " Paris", "logprobs": told, "finish_reason": "stop"}
        assert (await finish(decode_stream(sent({"choices": [choice]}), REF))).logprobs == (PARIS,)
    assert request_body(ask(kind="completion", logprobs=2))["logprobs"] == 2


async def test_a_response_tells_of_them_when_they_are_to_be_included() -> None:
    delta = {"type": "response.output_text.delta", "delta": " Paris", "logprobs": [PLAIN]}
    end = {"type": "response.completed", "response": {"status": "completed"}}
    assert (await finish(decode_responses(sent(delta, end), REF))).logprobs == (PARIS,)
    wish = {"include": ["message.output_text.logprobs"], "top_logprobs": 0}
    assert responses_body(ask(logprobs=0)).items() >= wish.items()


@pytest.mark.parametrize("told", [{"content": [{"token": "a"}]}, {"content": [{"token": 1, "logprob": -1}]}])
async def test_a_token_of_another_shape_is_an_error_of_the_servers(told: Any) -> None:
    choice = {"delta": {"content": "a"}, "logprobs": told, "finish_reason": "stop"}
    with pytest.raises(ProviderError, match="unknown shape"):
        await finish(decode_stream(sent({"choices": [choice]}), REF))


# As it was asked for


async def test_no_more_alternatives_are_given_than_were_asked_for() -> None:
    end = Finished("stop", logprobs=(PARIS,))
    assert (await finish(as_asked(saying(end), ask(logprobs=1)))).logprobs == (
        TokenLogprob(" Paris", -0.25, ((" Paris", -0.25),)),
    )


async def test_a_server_that_ignores_the_wish_is_told_of_at_the_end() -> None:
    events = as_asked(saying(TextDelta("Paris"), Finished("stop")), ask(logprobs=1))
    assert await anext(events) == TextDelta("Paris")
    with pytest.raises(UnsupportedParameterError, match="far:m cannot honour logprobs"):
        await anext(events)


async def test_an_answer_without_a_text_has_no_tokens_to_tell_of() -> None:
    assert await finish(as_asked(saying(Finished("tool_calls")), ask(logprobs=1))) == Finished("tool_calls")


# Kept


def test_a_kept_answer_tells_of_its_tokens_too(tmp_path: Path) -> None:
    farm = Farm(model="scripted:sample-3", cache_dir=tmp_path, cache={"enabled": True})
    first, again, other = (farm.chat("go", seed=1, temperature=1.0, logprobs=n) for n in (2, 2, 3))
    assert [reply.cached for reply in (first, again, other)] == [False, True, False]
    assert again.logprobs == first.logprobs
    assert [each.token for each in first.logprobs] == [
        " " * (n > 0) + word for n, word in enumerate(first.text.split())
    ]
    word, logprob = first.logprobs[0].top_logprobs[0]
    assert (word, round(math.exp(logprob), 3)) == ("word0", 0.632)
    assert first.parameters == {"seed": 1, "temperature": 1.0, "logprobs": 2}


def test_a_replayed_answer_tells_of_its_tokens_too(tmp_path: Path) -> None:
    cassette = {"file": tmp_path / "a.farm.jsonl"}
    told = [
        Farm(model="scripted:sample-3", cassette={**cassette, "mode": mode}).chat("go", logprobs=3).logprobs
        for mode in ("record", "replay")
    ]
    assert told[0] == told[1] != ()


def test_tokens_that_spell_a_secret_together_are_not_recorded() -> None:
    scrub = Scrub(lambda text: text.replace("abcdef", "***"))
    for pieces, kept in ((("x abc", "def"), 0), (("x abc", "de"), 2)):
        end = Finished("stop", logprobs=tuple(TokenLogprob(piece, -1.0) for piece in pieces))
        (read,) = read_events(scrub_entries(write_events([Timed(0, end)]), scrub))
        assert isinstance(read.event, Finished)
        assert len(read.event.logprobs) == kept
