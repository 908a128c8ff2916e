"""What is no chat fails in our terms too: embeddings, lists, health, loading, on a server or in an
environment that is broken.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest
from faulty_server import Close, Reset, Script, Stall, closed_port

from farm_notebook import loop
from farm_notebook.errors import ConfigError, FarmError
from farm_notebook.providers import make_provider
from farm_notebook.providers.base import AIProvider
from farm_notebook.types import ProviderStatus
from faults.dialects import CHAT, INPUT_TOKENS, KEY, MODEL, OLLAMA, OUTPUT_TOKENS, as_json, whole
from faults.far_side import SHORT_S, TEXT, FarSide

pytestmark = pytest.mark.slow  # hundreds of cases, and some wait for a timer

BROKEN: dict[str, Script] = {
    "closed": (Close(),),
    "reset": (Reset(),),
    "closed halfway": (whole(b'{"data": [], "models": []}').removesuffix(b"]}"), Close()),
    "a page": (whole(b"<html>welcome</html>", content_type="text/html"),),
    "nothing": (whole(b""),),
    "null": (whole(b"null"),),
    "a list": (whole(b"[1, 2]"),),
    "a text": (whole(b'"hello"'),),
    "an empty object": (whole(b"{}"),),
    "objects of another kind": (
        whole(as_json({name: [{"name": 5}, 7, None] for name in ("data", "models", "embeddings")})),
    ),
    "objects with numbers in them": (
        whole(
            as_json(
                {
                    name: [
                        dict.fromkeys(("details", "capabilities", "digest", "size", "index"), 7)
                        | {"id": "other-1", "name": "other-1"}
                    ]
                    for name in ("data", "models", "embeddings")
                }
                | {"model_info": 7, "capabilities": 7}
            )
        ),
    ),
    "numbers in their place": (whole(as_json({"data": 7, "models": 7, "embeddings": 7, "version": 7})),),
    "an error": (whole(as_json({"error": "no such luck"}), status=500),),
    "an error of success": (whole(as_json({"error": "no such luck"})),),
    "JSON without a bottom": (whole(b'{"data":' + b"[" * 100_000),),
}


async def drained(provider: AIProvider) -> None:
    async with aclosing(provider.load_model(MODEL)) as progress:
        async for _ in progress:
            pass


CALLS: dict[str, Callable[[AIProvider], Awaitable[object]]] = {
    "embed": lambda provider: provider.embed(["hello"], MODEL),
    "list": lambda provider: provider.list_models(),
    "load": drained,
    "unload": lambda provider: provider.unload_model(MODEL),
    "digest": lambda provider: provider.digest(MODEL),
    "health": lambda provider: provider.health_check(),
}


def outcome(far: FarSide, call: str) -> object:
    """What a provider's call gives, or its error in our terms."""
    provider = make_provider(far.dialect.provider, far.farm({"first_event_s": SHORT_S}).config)

    async def ask() -> object:
        try:
            return await CALLS[call](provider)
        except FarmError as error:
            return error
        finally:
            await provider.aclose()

    return loop.run_blocking(ask())


@pytest.mark.parametrize("dialect", [CHAT, OLLAMA], ids=["openai", "ollama"], indirect=True)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN)
def test_a_call_to_a_broken_server_ends_in_our_terms(far: FarSide, script: Script, call: str) -> None:
    far.server.play(script)
    for path in far.dialect.elsewhere:
        far.server.play(script, at=path)
    found = outcome(far, call)
    if call == "embed":
        assert isinstance(found, FarmError)
    if isinstance(found, FarmError):
        assert str(found).strip()
    if isinstance(found, ProviderStatus):
        assert found.detail


def test_an_embedding_that_does_not_come_runs_out_of_a_timer(far: FarSide) -> None:
    far.server.play((Stall(),))
    found = outcome(far, "embed")
    assert isinstance(found, TimeoutError)


@pytest.mark.parametrize("dialect", [OLLAMA], ids=["ollama"], indirect=True)
@pytest.mark.parametrize("path", ["/api/tags", "/api/ps", "/api/show"])
@pytest.mark.parametrize("script", [BROKEN["an error"], BROKEN["reset"], BROKEN["null"]], ids=repr)
def test_an_answer_is_not_lost_for_want_of_its_models_digest(far: FarSide, path: str, script: Script) -> None:
    """The digest is asked for after the answer; what that takes may fail by then."""
    status, body = far.dialect.elsewhere[path]
    good = (whole(as_json(body), status=status),)
    far.play((far.dialect.chunked(far.dialect.parts()),))
    for successes in range(3):
        far.server.play(*[good] * successes, script, at=path)
        farm = far.farm({"connect_s": 10 + successes})  # a farm of its own: providers remember
        try:
            reply = farm.chat("hello", model=far.dialect.ref)
        except FarmError:
            assert not far.server.asked(far.dialect.at)
        else:
            assert (reply.text, reply.usage.input_tokens, reply.usage.output_tokens) == (
                TEXT,
                INPUT_TOKENS,
                OUTPUT_TOKENS,
            )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTP_PROXY", f"http://me:{KEY}"),
        ("ALL_PROXY", f"socks5://me:{KEY}@127.0.0.1:1"),
        ("HTTPS_PROXY", f"nonsense://me:{KEY}@127.0.0.1:1"),
        ("SSL_CERT_FILE", "/no/such/file.pem"),
    ],
)
def test_a_broken_environment_is_an_error_of_configuration_and_breaks_no_health_check(
    far: FarSide, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    farm = far.farm(url="https://no-such-host.invalid/v1")
    with pytest.raises(ConfigError, match=variable) as caught:
        farm.chat("hello", model=far.dialect.ref)
    status = next(status for status in farm.health() if status.name == far.dialect.provider)
    assert not status.healthy
    assert variable in status.detail
    assert KEY not in f"{caught.value!r} {status!r}"
    farm.list_models()


def test_this_machine_is_reached_without_the_proxy(far: FarSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    assert far.chat(far.dialect.chunked(far.dialect.parts())).text == TEXT
