"""What a request needs shows in it, and a model lacks only what its provider says it lacks."""

from __future__ import annotations

from typing import Any

import pytest

from farm_notebook.router.wanted import SMALL_TOKENS, Wanted, wanted_by
from farm_notebook.types import Capability, ChatMessage, ChatRequest, Image, ModelInfo, ModelRef, Route, Tool

REF = ModelRef("scripted", "echo")
PIXEL = Image(b"\x89PNG\r\n\x1a\n", "image/png")
TOOL = Tool("look", "Looks.", {"type": "object"})


def ask(content: str = "hello", *, images: tuple[Image, ...] = (), **fields: Any) -> ChatRequest:
    return ChatRequest(REF, (ChatMessage("user", content, images=images),), **fields)


@pytest.mark.parametrize(
    ("request_", "needs"),
    [
        (ask(), {"chat"}),
        (ask(kind="completion"), {"completion"}),
        (ask(images=(PIXEL,)), {"chat", "vision"}),
        (ask(tools=(TOOL,)), {"chat", "tools"}),
        (ask(route=Route(needs=frozenset({"reasoning"}))), {"chat", "reasoning"}),
    ],
)
def test_needs_are_what_the_request_shows_and_what_its_route_says(
    request_: ChatRequest, needs: set[Capability]
) -> None:
    wanted = wanted_by(request_)
    assert wanted == Wanted(frozenset(needs), None)
    assert wanted.is_particular == bool(needs - {"chat", "completion"})


def test_the_window_is_the_routes_or_what_a_long_prompt_takes() -> None:
    long = "word " * 4 * SMALL_TOKENS
    tokens = wanted_by(ask(long)).context_tokens
    assert tokens is not None
    assert tokens == pytest.approx(5 * SMALL_TOKENS, rel=0.01)
    assert wanted_by(ask(long, route=Route(context_tokens=10))).context_tokens == tokens
    assert wanted_by(ask(long, route=Route(context_tokens=10**6))).context_tokens == 10**6
    assert wanted_by(ask(route=Route(context_tokens=10))).context_tokens == 10
    assert wanted_by(ask(route=Route(context_tokens=10))).is_particular


def test_only_a_window_that_nobody_asked_for_is_an_estimate() -> None:
    long = "word " * 4 * SMALL_TOKENS
    assert wanted_by(ask(long)).certain == wanted_by(ask())
    asked = wanted_by(ask(long, route=Route(context_tokens=10)))
    assert asked.certain == asked


def info(*capabilities: Capability, context_tokens: int | None = None) -> ModelInfo:
    return ModelInfo(REF, capabilities=frozenset(capabilities), context_tokens=context_tokens)


@pytest.mark.parametrize(
    ("wanted", "told", "lacks"),
    [
        (Wanted(frozenset({"vision", "tools"})), ModelInfo(REF), ""),
        (Wanted(frozenset({"vision", "tools"})), info("chat", "vision", "tools"), ""),
        (Wanted(frozenset({"vision", "tools"})), info("chat"), "tools, vision"),
        (Wanted(frozenset({"chat"})), info("embedding"), "chat"),
        (Wanted(frozenset({"completion"})), info("chat"), ""),
        (Wanted(frozenset({"completion"})), info("embedding"), "completion"),
        (Wanted(context_tokens=4000), ModelInfo(REF), ""),
        (Wanted(context_tokens=4000), ModelInfo(REF, context_tokens=4000), ""),
        (
            Wanted(frozenset({"vision"}), 4000),
            info("chat", context_tokens=2048),
            "vision, a context window of 4,000 tokens (it has 2,048)",
        ),
    ],
)
def test_a_model_lacks_what_it_is_known_to_lack(wanted: Wanted, told: ModelInfo, lacks: str) -> None:
    assert wanted.lacking(told) == lacks


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted(), "chat"),
        (Wanted(frozenset({"chat", "vision", "tools"})), "tools, vision"),
        (Wanted(frozenset({"chat"}), 4000), "a context window of 4,000 tokens"),
    ],
)
def test_what_is_wanted_reads_as_words(wanted: Wanted, words: str) -> None:
    assert str(wanted) == words
