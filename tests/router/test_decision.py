"""Where a name leads is explained in words, as Markdown, and as values."""

from __future__ import annotations

from typing import Any

import pytest

from farm_notebook.config import AUTO, EMBEDDED_MODEL, load_config
from farm_notebook.errors import ConfigError, InvalidRequestError, ProviderConnectionError
from farm_notebook.router import Chooser, RouteDecision, explain
from farm_notebook.types import Capability, ModelRef
from router.doubles import Lists, model

POOL = {
    "deployments": [{"model": "openai:eu"}, {"model": "openai:us", "weight": 3}],
    "fallback": ["huggingface:x", "scripted:echo"],
    "parameters": {"temperature": 0.2, "system": "word " * 100},
}
SETTINGS: dict[str, Any] = {
    "model": "scripted:echo",
    "aliases": {"pool": POOL},
    "huggingface": {"enabled": False},
}


async def decide(
    name: str | None, *, lists: Lists | None = None, needs: tuple[Capability, ...] = (), **settings: Any
) -> RouteDecision:
    config = load_config({**SETTINGS, **settings})
    return await explain(name, config, Chooser(config, lists or Lists()), needs=frozenset(needs))


async def test_a_decision_holds_everything_that_led_to_it() -> None:
    decision = await decide("pool")
    eu, us = ModelRef("openai", "eu"), ModelRef("openai", "us")
    assert decision == RouteDecision(
        "pool",
        us,
        alternates=(eu, ModelRef("scripted", "echo")),
        deployments={eu: 0.25, us: 0.75},
        parameters=POOL["parameters"],  # type: ignore[arg-type]  # that is what it is
        reasons=("the alias 'pool' stands for it", "it is one of 2 places of 'pool', chosen by weight"),
        skipped=decision.skipped,
    )
    assert list(decision.skipped) == [ModelRef("huggingface", "x")]


async def test_it_reads_as_text() -> None:
    lines = str(await decide("pool")).splitlines()
    assert lines[:5] == [
        "pool -> openai:us",
        "  because: the alias 'pool' stands for it",
        "  because: it is one of 2 places of 'pool', chosen by weight",
        "  places: openai:eu 25%, openai:us 75%",
        "  then: openai:eu, scripted:echo",
    ]
    assert lines[5].startswith("  parameters: system='word word")
    assert lines[5].endswith("temperature=0.2")
    assert len(lines[5]) < 110
    off = "The provider 'huggingface' is switched off by the setting huggingface.enabled"
    assert lines[6:] == [f"  left out: huggingface:x: {off}"]


async def test_it_shows_itself_in_a_notebook_and_text_in_it_stays_text() -> None:
    shown = (await decide("<b>x</b>"))._repr_mimebundle_()
    assert set(shown) == {"text/plain", "text/markdown"}
    assert shown["text/plain"].startswith("<b>x</b> -> scripted:<b>x</b>\n  because: ")
    assert "<b>" not in shown["text/markdown"]
    assert "\n- because: " in shown["text/markdown"]


async def test_what_is_left_open_is_decided_as_for_a_request() -> None:
    down = ProviderConnectionError("Nothing answers.")
    decision = await decide(
        None, lists=Lists(ollama=down), model=AUTO, ollama={"url": "http://localhost:11434"}
    )
    assert decision.ref == ModelRef(*EMBEDDED_MODEL.split(":", 1))
    assert str(decision).startswith(f"no name -> {EMBEDDED_MODEL}\n")
    assert decision.reasons[0] == "the setting model names 'auto'"
    assert decision.reasons[1].startswith("no ollama answers at http://localhost:11434; ")


async def test_needs_may_be_given() -> None:
    listed = Lists(model("openai:eu", "chat", "vision"), model("openai:us", "chat"), model("scripted:echo"))
    decision = await decide("pool", lists=listed, needs=("vision",))
    assert decision.ref == ModelRef("openai", "eu")
    assert decision.skipped[ModelRef("openai", "us")] == "it lacks vision"
    assert decision.reasons[-1].endswith("openai:us was passed over: it lacks vision")


@pytest.mark.parametrize(("name", "error"), [("", InvalidRequestError), ("huggingface:x", ConfigError)])
async def test_a_name_that_leads_nowhere_is_the_error_it_would_be(name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await decide(name)
