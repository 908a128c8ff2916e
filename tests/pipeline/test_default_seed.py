"""A seed of the settings reaches those who take one, and is in the way of nobody else."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from farm_notebook import providers
from farm_notebook.errors import UnsupportedParameterError
from farm_notebook.farm import Farm
from farm_notebook.pipeline.default_seed import default_seed
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.types import ChatMessage, ChatRequest, Event, ModelRef


class Seedless(ScriptedProvider):
    """Takes all but a seed."""

    name = "seedless"
    honours = ScriptedProvider.honours - {"seed"}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(providers._registered, "seedless", Seedless)


@pytest.mark.parametrize(
    ("setting", "asked", "sent"), [(None, 7, 7), (7, 7, None), (7, 8, 8), (7, None, None), (0, 0, None)]
)
async def test_only_the_seed_of_the_settings_is_taken_from_who_has_none(
    setting: int | None, asked: int | None, sent: int | None
) -> None:
    seen: list[int | None] = []

    async def handler(request: ChatRequest) -> AsyncGenerator[Event, None]:
        seen.append(request.seed)
        for event in list[Event]():
            yield event

    request = ChatRequest(ModelRef("far", "m"), (ChatMessage("user", "Hi"),), seed=asked)
    async for _ in default_seed(setting, lambda name: False)(handler)(request):
        pass
    async for _ in default_seed(setting, lambda name: True)(handler)(request):
        pass
    assert seen == [sent, asked]


def test_a_model_that_stands_in_is_asked_without_it() -> None:
    farm = Farm(model="scripted:error-auth", seed=7, fallback={"chain": ["seedless:echo"]})
    reply = farm.chat("Hello")
    assert (str(reply.ref), reply.text) == ("seedless:echo", "Hello")


def test_a_seed_that_was_asked_for_is_refused_and_not_dropped() -> None:
    with pytest.raises(UnsupportedParameterError, match="seed"):
        Farm(model="seedless:echo", seed=7).chat("Hello", seed=8)
    assert Farm(model="seedless:echo", seed=7).chat("Hello").text == "Hello"
