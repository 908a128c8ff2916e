"""A reply tells what was answered, by whom and how; a request's fingerprint changes with everything in it."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook.errors import IncompleteStreamError
from farm_notebook.reply import Reply, ReplyBuilder
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Event,
    Finished,
    FinishReason,
    LoadProgress,
    ModelRef,
    PromptProgress,
    ReasoningDelta,
    RequestKind,
    Role,
    Started,
    TextDelta,
    Timings,
    Usage,
)

REF = ModelRef("scripted", "echo")
REQUEST = ChatRequest(REF, (ChatMessage("user", "hello"),), temperature=0.5, seed=7)
WHOLE = Reply(
    "Hello **you**.",
    REF,
    "stop",
    reasoning="hm",
    usage=Usage(12, 1234, 3),
    timings=Timings(load_s=1.0, first_token_s=0.256, total_s=3.123456, tokens_per_s=41.7),
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
    assert WHOLE.footer == "scripted:echo · 1,234 tokens · first token 0.26 s · 42 tokens/s"


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
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_footer_leaves_out_what_is_unknown_and_says_what_is_special(
    changes: dict[str, Any], footer: str
) -> None:
    assert dataclasses.replace(WHOLE, **changes).footer == footer


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
        "usage": {"input_tokens": 12, "output_tokens": 1234, "cached_tokens": 3},
        "timings": {"load_s": 1.0, "first_token_s": 0.256, "total_s": 3.1235, "tokens_per_s": 41.7},
        "finish_reason": "stop",
        "cached": False,
        "fingerprint": "f" * 64,
    }


def test_what_is_unknown_is_null_and_not_zero() -> None:
    provenance = Reply("", REF, "stop").provenance()
    assert provenance["usage"] == dict.fromkeys(("input_tokens", "output_tokens", "cached_tokens"))
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


@pytest.mark.parametrize("text", ["```\nnever closed", "a `b", "<!-- never closed", "$$\nx", "| a |\n|---|"])
def test_the_footer_stays_out_of_what_the_answer_left_open(text: str) -> None:
    from markdown_it import MarkdownIt

    data, _ = dataclasses.replace(WHOLE, text=text)._repr_mimebundle_()
    rendered = MarkdownIt("js-default", {"html": True}).render(data["text/markdown"])
    assert re.search(r"<p><small>scripted:echo .*</small></p>\s*$", rendered)


def test_parsed_is_the_answer_as_json() -> None:
    assert dataclasses.replace(WHOLE, text='{"a": [1, 2]}').parsed == {"a": [1, 2]}
    with pytest.raises(ValueError, match="Expecting value"):
        _ = WHOLE.parsed


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
        Finished("length", Usage(1, 2, 3), Timings(total_s=4.0)),
    )
    builder.digest = "abc"
    assert builder.build() == Reply(
        text="Hello",
        reasoning="hm",
        ref=ModelRef("scripted", "other"),
        finish_reason="length",
        usage=Usage(1, 2, 3),
        timings=Timings(total_s=4.0),
        cached=True,
        fingerprint=REQUEST.fingerprint("abc"),
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


def test_a_builder_is_empty_until_something_of_the_answer_came() -> None:
    assert gathered(LoadProgress("load", 0, 1), Started(REF), PromptProgress(1, 1)).is_empty
    assert not gathered(Started(REF), ReasoningDelta("hm")).is_empty
    assert not gathered(Started(REF), TextDelta("a")).is_empty


def test_the_text_grows_as_it_arrives() -> None:
    builder = gathered(TextDelta("Hel"))
    assert builder.text == "Hel"
    builder.add(TextDelta("lo"))
    assert builder.text == "Hello"


# The fingerprint

messages = st.builds(ChatMessage, st.sampled_from(get_args(Role)), st.text(max_size=20))
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "ref": st.builds(ModelRef, st.sampled_from(["a", "b"]), st.text(min_size=1, max_size=8)),
    "messages": st.lists(messages, min_size=1, max_size=4).map(tuple),
    "kind": st.sampled_from(get_args(RequestKind)),
    "temperature": st.none() | st.floats(0.1, 2),
    "top_p": st.none() | st.floats(0.1, 1),
    "max_tokens": st.none() | st.integers(1, 9999),
    "seed": st.none() | st.integers(0, 9999),
    "stop": st.lists(st.text(min_size=1, max_size=5), max_size=3).map(tuple),
    "schema": st.none() | st.dictionaries(st.text(max_size=5), json_values, max_size=3),
}
requests = st.builds(ChatRequest, **FIELDS)
digests = st.none() | st.text("0123456789abcdef", min_size=4, max_size=8)


def test_every_field_of_a_request_is_tried_below() -> None:
    assert list(FIELDS) == [field.name for field in dataclasses.fields(ChatRequest)]


def test_a_fingerprint_is_the_same_in_every_process_and_version() -> None:
    """A change here voids every fingerprint in every saved notebook: raise ``FINGERPRINT_VERSION``."""
    assert REQUEST.fingerprint("abc") == "282995a9eb6bf346aed9751ae4218560ac0489661e0a3eef6413498fc38a93c2"


@given(requests, digests)
def test_equal_requests_have_equal_fingerprints(request: ChatRequest, digest: str | None) -> None:
    copy = dataclasses.replace(request, messages=tuple(dataclasses.replace(m) for m in request.messages))
    assert copy.fingerprint(digest) == request.fingerprint(digest)
    assert re.fullmatch("[0-9a-f]{64}", request.fingerprint(digest))


@given(st.data(), requests, digests)
@pytest.mark.parametrize("name", FIELDS)
def test_a_fingerprint_changes_with_the_field(
    name: str, data: st.DataObject, request: ChatRequest, digest: str | None
) -> None:
    before = json.dumps(getattr(request, name), default=str)
    value = data.draw(FIELDS[name].filter(lambda value: json.dumps(value, default=str) != before))
    assert dataclasses.replace(request, **{name: value}).fingerprint(digest) != request.fingerprint(digest)


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


def test_a_schema_that_is_any_mapping_has_a_fingerprint() -> None:
    from types import MappingProxyType

    request = dataclasses.replace(REQUEST, schema=MappingProxyType({"type": "object"}))
    assert request.fingerprint() == dataclasses.replace(REQUEST, schema={"type": "object"}).fingerprint()
