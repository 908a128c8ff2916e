"""A reply tells what was answered, by whom and how; a request's fingerprint changes with everything in it."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from farm_notebook.errors import IncompleteStreamError, InvalidAnswerError
from farm_notebook.reply import Reply, ReplyBuilder
from farm_notebook.types import (
    NOT_IN_FINGERPRINT,
    CacheUse,
    ChatMessage,
    ChatRequest,
    Event,
    Finished,
    FinishReason,
    Image,
    LoadProgress,
    ModelRef,
    PromptProgress,
    ReasoningDelta,
    ReasoningEffort,
    RequestKind,
    Rerouted,
    Role,
    Route,
    Routed,
    Started,
    TextDelta,
    Timings,
    Tool,
    ToolCall,
    Usage,
)

REF = ModelRef("scripted", "echo")
REQUEST = ChatRequest(REF, (ChatMessage("user", "hello"),), temperature=0.5, seed=7)
CALLS = (ToolCall("call_1", "get_weather", '{"city": "Paris"}'), ToolCall("call_2", "get_time", ""))
WHOLE = Reply(
    "Hello **you**.",
    REF,
    "stop",
    reasoning="hm",
    usage=Usage(12, 1234, 3),
    timings=Timings(load_s=1.0, first_token_s=0.256, total_s=3.123456, tokens_per_s=41.7),
    cost=0.0,
    rerouted=(Rerouted(ModelRef("scripted", "fail"), REF, "it broke"),),
    fingerprint="f" * 64,
    digest="d" * 64,
    parameters={"seed": 7, "temperature": 0.5},
)


def gathered(*events: Event) -> ReplyBuilder:
    builder = ReplyBuilder(REQUEST)
    for event in events:
        builder.add(event)
    return builder


# The reply


def test_a_reply_is_its_text() -> None:
    assert str(WHOLE) == WHOLE.text


def test_a_reply_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        WHOLE.text = "other"  # type: ignore[misc]  # that is the point


def test_the_footer_says_model_tokens_and_speed() -> None:
    assert WHOLE.footer == (
        "scripted:echo · instead of scripted:fail (it broke) · 1,234 tokens · "
        "first token 0.26 s · 42 tokens/s"
    )


@pytest.mark.parametrize(
    ("cost", "footer"),
    [
        (None, "scripted:echo"),
        (0.0, "scripted:echo"),
        (0.00001234, "scripted:echo · $0.000012"),
        (0.1, "scripted:echo · $0.10"),
        (12.345, "scripted:echo · $12.35"),
    ],
)
def test_a_cost_has_two_figures_and_at_least_cents(cost: float | None, footer: str) -> None:
    assert Reply("", REF, "stop", cost=cost).footer == footer


@pytest.mark.parametrize(
    ("changes", "footer"),
    [
        ({"usage": Usage(), "timings": Timings()}, "scripted:echo"),
        ({"usage": Usage(output_tokens=1), "timings": Timings()}, "scripted:echo · 1 token"),
        ({"usage": Usage(output_tokens=0), "timings": Timings()}, "scripted:echo · 0 tokens"),
        ({"usage": Usage(), "timings": Timings(), "cached": True}, "scripted:echo · cached"),
        (
            {"usage": Usage(), "timings": Timings(), "finish_reason": "length"},
            "scripted:echo · cut at the token limit",
        ),
        (
            {"usage": Usage(), "timings": Timings(), "finish_reason": "interrupted"},
            "scripted:echo · interrupted",
        ),
        ({"usage": Usage(), "timings": Timings(), "finish_reason": "error"}, "scripted:echo · incomplete"),
        (
            {"usage": Usage(), "timings": Timings(), "finish_reason": "content_filter"},
            "scripted:echo · cut by the content filter",
        ),
        (
            {"usage": Usage(), "timings": Timings(), "finish_reason": "tool_calls", "tool_calls": CALLS},
            "scripted:echo · calls get_weather, get_time",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_footer_leaves_out_what_is_unknown_and_says_what_is_special(
    changes: dict[str, Any], footer: str
) -> None:
    assert dataclasses.replace(WHOLE, rerouted=(), cost=None, **changes).footer == footer


@pytest.mark.parametrize("reason", get_args(FinishReason))
def test_only_an_answer_that_was_cut_off_is_partial(reason: FinishReason) -> None:
    assert dataclasses.replace(WHOLE, finish_reason=reason).is_partial == (reason in ("interrupted", "error"))


def test_the_provenance_survives_json() -> None:
    provenance = WHOLE.provenance()
    assert json.loads(json.dumps(provenance, allow_nan=False)) == provenance
    assert provenance == {
        "model": "scripted:echo",
        "digest": "d" * 64,
        "parameters": {"seed": 7, "temperature": 0.5},
        "seed": 7,
        "usage": {
            "input_tokens": 12,
            "output_tokens": 1234,
            "cached_tokens": 3,
            "reasoning_tokens": None,
        },
        "timings": {
            "load_s": 1.0,
            "first_token_s": 0.256,
            "total_s": 3.1235,
            "tokens_per_s": 41.7,
            "queue_s": 0.0,
        },
        "finish_reason": "stop",
        "cached": False,
        "cost": 0.0,
        "routed": "",
        "rerouted": [{"model": "scripted:fail", "problem": "it broke"}],
        "fingerprint": "f" * 64,
    }


def test_what_is_unknown_is_null_and_not_zero() -> None:
    provenance = Reply("", REF, "stop").provenance()
    assert provenance["usage"] == dict.fromkeys(field.name for field in dataclasses.fields(Usage))
    assert provenance["timings"]["first_token_s"] is None
    assert provenance["seed"] is None
    assert provenance["digest"] is None


def test_a_reply_shows_itself_as_markdown_and_text_with_its_provenance() -> None:
    data, metadata = WHOLE._repr_mimebundle_()
    assert data == {
        "text/markdown": f"Hello **you**.\n\n<small>{WHOLE.footer}</small>",
        "text/plain": f"Hello **you**.\n\n{WHOLE.footer}",
    }
    assert metadata == {"farm": WHOLE.provenance()}
    json.dumps([data, metadata])


def test_a_reply_shows_no_html_of_the_models() -> None:
    data, _ = dataclasses.replace(WHOLE, text="<script>alert(1)</script>")._repr_mimebundle_()
    assert "<script" not in data["text/markdown"]
    assert "<script>alert(1)</script>" in data["text/plain"]


def test_a_models_name_cannot_bring_html_into_the_footer() -> None:
    data, _ = dataclasses.replace(WHOLE, ref=ModelRef("x", "<img src=x onerror=a()>"))._repr_mimebundle_()
    assert "<img" not in data["text/markdown"]


def test_the_name_of_a_tool_cannot_bring_html_into_the_footer() -> None:
    """The name is what the model wrote, and need not be one of the tools it was offered."""
    calls = (ToolCall("1", "<img src=x onerror=a()>", "{}"),)
    data, _ = dataclasses.replace(WHOLE, text="", tool_calls=calls)._repr_mimebundle_()
    assert "calls" in data["text/markdown"]
    assert "<img" not in data["text/markdown"]


@pytest.mark.parametrize("text", ["```\nnever closed", "a `b", "<!-- never closed", "$$\nx", "| a |\n|---|"])
def test_the_footer_stays_out_of_what_the_answer_left_open(text: str) -> None:
    from markdown_it import MarkdownIt

    data, _ = dataclasses.replace(WHOLE, text=text)._repr_mimebundle_()
    rendered = MarkdownIt("js-default", {"html": True}).render(data["text/markdown"])
    assert re.search(r"<p><small>scripted:echo .*</small></p>\s*$", rendered)


def test_parsed_is_the_answer_as_json() -> None:
    assert dataclasses.replace(WHOLE, text='{"a": [1, 2]}').parsed == {"a": [1, 2]}
    with pytest.raises(ValueError, match="scripted:echo is no JSON: Expecting value"):
        _ = WHOLE.parsed


def test_parsed_as_is_the_answer_as_any_annotated_type() -> None:
    class City(BaseModel):
        name: str
        population: int = 0

    @dataclasses.dataclass
    class Town:
        name: str

    reply = dataclasses.replace(WHOLE, text='{"name": "Paris"}')
    assert reply.parsed_as(City) == City(name="Paris")
    assert reply.parsed_as(Town) == Town("Paris")
    assert reply.parsed_as(dict[str, str]) == {"name": "Paris"}
    assert dataclasses.replace(WHOLE, text='[{"name": "Paris"}]').parsed_as(list[City]) == [
        City(name="Paris")
    ]
    fenced = dataclasses.replace(WHOLE, text='Here it is:\n```json\n{"name": "Paris"}\n```')
    assert fenced.parsed_as(City) == City(name="Paris")
    with pytest.raises(InvalidAnswerError, match=r"scripted:echo is no list.*valid array"):
        reply.parsed_as(list[City])
    with pytest.raises(InvalidAnswerError, match="is no City: it is no JSON: 'Hello"):
        WHOLE.parsed_as(City)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("length", r"cut at the token limit: ask again with a larger max_tokens\.$"),
        ("interrupted", r"It was stopped before it ended\.$"),
        ("error", r"It broke off before it ended\.$"),
        ("stop", r"char 8\)\.$"),
    ],
)
def test_what_was_cut_off_and_therefore_does_not_fit_is_told_as_that(reason: FinishReason, told: str) -> None:
    cut = dataclasses.replace(WHOLE, text='{"name":', finish_reason=reason)
    with pytest.raises(InvalidAnswerError, match=told) as caught:
        _ = cut.parsed
    assert caught.value.text == '{"name":'


def test_a_replys_message_is_its_turn_of_the_conversation() -> None:
    reply = dataclasses.replace(WHOLE, tool_calls=CALLS)
    assert reply.message == ChatMessage("assistant", "Hello **you**.", tool_calls=CALLS)


def test_the_arguments_of_a_call_are_parsed_by_name_or_an_error_that_quotes_them() -> None:
    assert [call.parsed for call in CALLS] == [{"city": "Paris"}, {}]
    with pytest.raises(ValueError, match=r"arguments of get_time are no JSON object: '\[1\]'"):
        _ = ToolCall("1", "get_time", "[1]").parsed
    with pytest.raises(ValueError, match="Expecting"):
        _ = ToolCall("1", "get_time", '{"zone":').parsed


# The builder


def test_a_stream_becomes_a_reply() -> None:
    builder = gathered(
        LoadProgress("load", 1, 1),
        Started(ModelRef("scripted", "other"), cached=True),
        PromptProgress(1, 1),
        ReasoningDelta("h"),
        TextDelta("Hel"),
        ReasoningDelta("m"),
        TextDelta("lo"),
        *CALLS,
        Finished("length", Usage(1, 2, 3), Timings(total_s=4.0)),
    )
    builder.digest = "abc"
    assert builder.build() == Reply(
        text="Hello",
        reasoning="hm",
        tool_calls=CALLS,
        ref=ModelRef("scripted", "other"),
        finish_reason="length",
        usage=Usage(1, 2, 3),
        timings=Timings(total_s=4.0),
        cached=True,
        fingerprint=dataclasses.replace(REQUEST, ref=ModelRef("scripted", "other")).fingerprint("abc"),
        digest="abc",
        parameters={"temperature": 0.5, "seed": 7},
    )


def test_a_stream_without_its_finish_mark_is_an_error_that_keeps_the_text() -> None:
    builder = gathered(Started(REF), TextDelta("Hel"), TextDelta("lo"))
    with pytest.raises(IncompleteStreamError) as caught:
        builder.build()
    assert caught.value.partial_text == "Hello"
    assert caught.value.provider == "scripted"
    assert "scripted:echo" in str(caught.value)
    assert "5 characters" in str(caught.value)


@pytest.mark.parametrize("reason", ["interrupted", "error"])
def test_what_has_arrived_is_a_partial_reply(reason: FinishReason) -> None:
    reply = gathered(Started(REF), ReasoningDelta("hm"), TextDelta("Hel")).partial(reason)
    assert (reply.text, reply.reasoning, reply.finish_reason) == ("Hel", "hm", reason)
    assert reply.is_partial
    assert reply.usage == Usage()
    assert reply.fingerprint == REQUEST.fingerprint()


def test_a_partial_reply_of_nothing_names_the_model_that_was_asked() -> None:
    reply = gathered().partial("interrupted")
    assert (reply.text, reply.ref) == ("", REF)


def test_a_partial_reply_names_the_model_that_was_chosen_or_stands_in_before_it_started() -> None:
    chosen, other = ModelRef("scripted", "chosen"), ModelRef("scripted", "other")
    assert gathered(Routed(chosen, "why"), LoadProgress("load", 0)).partial("interrupted").ref == chosen
    rerouted = gathered(Routed(chosen, "why"), Rerouted(chosen, other, "it broke")).partial("interrupted")
    assert (rerouted.ref, [each.source for each in rerouted.rerouted]) == (other, [chosen])


def test_the_footer_of_an_answer_that_nobody_had_begun_names_no_model() -> None:
    assert Reply("", ModelRef("auto", "auto"), "interrupted").footer == "interrupted"
    assert Reply("", ModelRef("ollama", "auto"), "interrupted").footer == "interrupted"


def test_a_builder_is_empty_until_something_of_the_answer_came() -> None:
    assert gathered(LoadProgress("load", 0, 1), Started(REF), PromptProgress(1, 1)).is_empty
    assert not gathered(Started(REF), ReasoningDelta("hm")).is_empty
    assert not gathered(Started(REF), TextDelta("a")).is_empty
    assert not gathered(Started(REF), CALLS[0]).is_empty


def test_the_text_grows_as_it_arrives() -> None:
    builder = gathered(TextDelta("Hel"))
    assert builder.text == "Hel"
    builder.add(TextDelta("lo"))
    assert builder.text == "Hello"


# The fingerprint

short = st.text(max_size=5)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | short,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(short, inner, max_size=3),
    max_leaves=5,
)
json_objects = st.dictionaries(short, json_values, max_size=3)
MESSAGE_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "role": st.sampled_from(get_args(Role)),
    "content": st.text(max_size=20),
    "images": st.lists(st.builds(Image, st.binary(max_size=9), st.just("image/png")), max_size=2).map(tuple),
    "tool_calls": st.lists(st.builds(ToolCall, short, short, short), max_size=2).map(tuple),
    "tool_call_id": st.none() | short,
}
messages = st.builds(ChatMessage, **MESSAGE_FIELDS)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "ref": st.builds(ModelRef, st.sampled_from(["a", "b"]), st.text(min_size=1, max_size=8)),
    "messages": st.lists(messages, min_size=1, max_size=4).map(tuple),
    "kind": st.sampled_from(get_args(RequestKind)),
    "temperature": st.none() | st.floats(0.1, 2),
    "top_p": st.none() | st.floats(0.1, 1),
    "max_tokens": st.none() | st.integers(1, 9999),
    "seed": st.none() | st.integers(0, 9999),
    "stop": st.lists(st.text(min_size=1, max_size=5), max_size=3).map(tuple),
    "logprobs": st.none() | st.integers(0, 20),
    "schema": st.none() | json_objects,
    "tools": st.lists(st.builds(Tool, short, short, json_objects), max_size=2).map(tuple),
    "tool_choice": st.none() | short,
    "reasoning": st.none() | st.sampled_from(get_args(ReasoningEffort)),
    "extra": json_objects,
    "sample": st.none() | st.integers(0, 9999),
}
requests = st.builds(ChatRequest, **FIELDS)
digests = st.none() | st.text("0123456789abcdef", min_size=4, max_size=8)


def test_every_field_of_a_request_is_tried_below() -> None:
    assert [*FIELDS, *NOT_IN_FINGERPRINT] == [field.name for field in dataclasses.fields(ChatRequest)]
    assert list(MESSAGE_FIELDS) == [field.name for field in dataclasses.fields(ChatMessage)]


PICTURE = Image(b"\x89PNG\r\n\x1a\n" * 1000, "image/png")  # enters a fingerprint by its digest


@pytest.mark.parametrize(
    ("request_", "fingerprint"),
    [
        (REQUEST, "c90699544397fee4443000d6b2c99c337ace3a7484734a99b80479a84e00a230"),
        (
            dataclasses.replace(REQUEST, messages=(ChatMessage("user", "x", images=(PICTURE,)),)),
            "c8c664e7d3a5c709fc7a855fb12cf53dd60caef3787415ccc79f37f8a7830d77",
        ),
    ],
    ids=["text", "image"],
)
def test_a_fingerprint_is_the_same_in_every_process_and_version(
    request_: ChatRequest, fingerprint: str
) -> None:
    """A change here voids every fingerprint in every saved notebook: raise ``FINGERPRINT_VERSION``."""
    assert request_.fingerprint("abc") == fingerprint


@given(
    requests,
    digests,
    st.fixed_dictionaries({"cache": st.sampled_from(get_args(CacheUse))})
    | st.fixed_dictionaries({"route": st.builds(Route, st.text(), alternates=st.tuples(FIELDS["ref"]))}),
)
def test_what_is_about_the_call_is_left_out_of_a_fingerprint(
    request: ChatRequest, digest: str | None, about_the_call: dict[str, Any]
) -> None:
    assert about_the_call.keys() <= set(NOT_IN_FINGERPRINT)
    changed = dataclasses.replace(request, **about_the_call)
    assert changed.fingerprint(digest) == request.fingerprint(digest)
    assert changed.parameters() == request.parameters()


def test_the_number_of_a_sample_is_told_with_the_parameters_and_sent_to_nobody() -> None:
    request = dataclasses.replace(REQUEST, sample=3)
    assert "sample" not in request.parameters()
    reply = ReplyBuilder(request).partial("stop")
    assert reply.parameters == REQUEST.parameters() | {"sample": 3}
    assert reply.fingerprint != ReplyBuilder(REQUEST).partial("stop").fingerprint


def test_a_stand_in_is_told_with_whom_it_stands_in_for() -> None:
    source, target = ModelRef("scripted", "fail"), ModelRef("scripted", "other")
    builder = gathered(
        Routed(source, "it was first"),
        Started(source),
        Rerouted(source, target, "it broke"),
        Started(target),
        TextDelta("Hello"),
        Finished("stop", cost=0.5),
    )
    reply = builder.build()
    assert (reply.ref, reply.cost, reply.routed) == (target, 0.5, "it was first")
    assert reply.rerouted == (Rerouted(source, target, "it broke"),)


@given(requests, digests)
def test_equal_requests_have_equal_fingerprints(request: ChatRequest, digest: str | None) -> None:
    copy = dataclasses.replace(request, messages=tuple(dataclasses.replace(m) for m in request.messages))
    assert copy.fingerprint(digest) == request.fingerprint(digest)
    assert re.fullmatch("[0-9a-f]{64}", request.fingerprint(digest))


@settings(max_examples=40)  # for each of the fields
@given(st.data(), requests, digests)
@pytest.mark.parametrize("name", FIELDS)
def test_a_fingerprint_changes_with_the_field(
    name: str, data: st.DataObject, request: ChatRequest, digest: str | None
) -> None:
    before = json.dumps(getattr(request, name), default=str)
    value = data.draw(FIELDS[name].filter(lambda value: json.dumps(value, default=str) != before))
    assert dataclasses.replace(request, **{name: value}).fingerprint(digest) != request.fingerprint(digest)


@settings(max_examples=40)
@given(st.data(), messages)
@pytest.mark.parametrize("name", MESSAGE_FIELDS)
def test_a_fingerprint_changes_with_the_field_of_a_message(
    name: str, data: st.DataObject, message: ChatMessage
) -> None:
    value = data.draw(MESSAGE_FIELDS[name].filter(lambda value: value != getattr(message, name)))
    before, after = (
        dataclasses.replace(REQUEST, messages=(said,))
        for said in (message, dataclasses.replace(message, **{name: value}))
    )
    assert before.fingerprint() != after.fingerprint()


@given(requests)
def test_the_parameters_of_a_request_are_json(request: ChatRequest) -> None:
    parameters = request.parameters()
    assert json.loads(json.dumps(parameters)) == parameters
    assert None not in parameters.values()


def test_only_what_was_set_is_a_parameter() -> None:
    assert ChatRequest(REF, REQUEST.messages).parameters() == {}
    assert dataclasses.replace(REQUEST, temperature=0.0, schema={}).parameters() == {
        "temperature": 0.0,
        "seed": 7,
        "schema": {},
    }


@given(requests, digests, digests)
def test_a_fingerprint_changes_with_the_digest(
    request: ChatRequest, digest: str | None, other: str | None
) -> None:
    assert (request.fingerprint(digest) == request.fingerprint(other)) == (digest == other)


def test_a_fingerprint_does_not_depend_on_the_order_of_a_schemas_keys() -> None:
    one = dataclasses.replace(REQUEST, schema={"a": 1, "b": 2})
    same = dataclasses.replace(REQUEST, schema={"b": 2, "a": 1})
    assert one.fingerprint() == same.fingerprint()


def test_any_text_has_a_fingerprint() -> None:
    """A lone surrogate is what a file name read with ``surrogateescape`` may bring into a prompt."""
    request = dataclasses.replace(REQUEST, messages=(ChatMessage("user", "\udcff \x00 \u2028 😀"),))
    assert len(request.fingerprint()) == 64


def test_what_is_any_mapping_has_a_fingerprint() -> None:
    from types import MappingProxyType

    schema = {"type": "object"}
    one, same = (
        dataclasses.replace(REQUEST, schema=mapping, extra=mapping, tools=(Tool("f", "", mapping),))
        for mapping in (schema, MappingProxyType(schema))
    )
    assert one.fingerprint() == same.fingerprint()
    assert one.parameters() == same.parameters()
