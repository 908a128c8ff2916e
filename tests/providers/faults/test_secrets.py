"""A key goes to the server it is for, and nowhere else: no error, log, repr or status shows it."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from faulty_server import Close, Script, closed_port, serving

from farm_notebook.errors import FarmError
from farm_notebook.farm import Farm
from faults.dialects import CHAT, ENDPOINT, KEY, LAST_CHUNK, OLLAMA, RESPONSES, Dialect, as_chunk, whole
from faults.far_side import FarSide, begun

pytestmark = pytest.mark.slow  # hundreds of cases, and some wait for a timer

# What servers and gateways repeat to whoever calls them.
REPEATING: dict[str, Callable[[Dialect], Script]] = {
    "a refusal": lambda d: (d.error(401, message=f"Incorrect API key provided: {KEY}."),),
    "a bad request": lambda d: (d.error(400, message=f"bad header 'Bearer {KEY}'"),),
    "a missing model": lambda d: (d.error(404, message=f"model not found for {KEY}"),),
    "a missing path": lambda d: (whole(f"no {KEY} here".encode(), status=404, content_type="text/plain"),),
    "a crash": lambda d: (d.error(500, message=f"traceback ... api_key={KEY!r}"),),
    "a page": lambda d: (whole(f"<html>{KEY}</html>".encode(), status=502, content_type="text/html"),),
    "a page as if it were an answer": lambda d: (whole(f"<html>{KEY}</html>".encode()),),
    "a redirect": lambda d: (whole(b"", f"location: /login?key={KEY}", status=307),),
    "an error in the stream": lambda d: (
        begun(d, "one ") + as_chunk(d.failure(f"not for {KEY}")) + LAST_CHUNK,
    ),
    "rubbish in the stream": lambda d: (
        begun(d, "one ") + as_chunk(d.delta(KEY).replace(b"}", b"]")) + LAST_CHUNK,
    ),
    "a head that is none": lambda d: (f"Bearer {KEY}\r\n\r\n".encode(), Close()),
    "headers": lambda d: (
        d.error(401, f"x-key: {KEY}", f"www-authenticate: Bearer {KEY}", f"set-cookie: {KEY}"),
    ),
    "headers of an answer": lambda d: (d.chunked(d.parts(), f"x-key: {KEY}", f"set-cookie: a={KEY}"),),
}


def keyed(dialect: Dialect, **settings: Any) -> Dialect:
    """A dialect with further settings for its section."""

    def with_settings(url: str) -> dict[str, Any]:
        sections = dialect.settings(url)
        if "endpoints" in sections:
            return {"endpoints": {name: {**body, **settings} for name, body in sections["endpoints"].items()}}
        return {name: {**body, **settings} for name, body in sections.items()}

    return replace(dialect, settings=with_settings)


WITH_KEYS = {
    "chat": CHAT,
    "chat, key in a header of its own": keyed(CHAT, api_key_header="x-api-key"),
    "endpoint": ENDPOINT,
    "endpoint, key in a header of its own": keyed(ENDPOINT, api_key_header="api-key"),
    "responses": RESPONSES,
    "ollama": keyed(OLLAMA, api_key_env="OLLAMA_API_KEY"),
}


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """A function: whatever was logged so far, by anyone, at any level."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx2", "httpcore2", "openai", "asyncio", "farm_notebook"):
        caplog.set_level(logging.DEBUG, logger=name)

    def read() -> str:
        # What a server sends in a response's head is in httpcore2's own log of it, be it whatever it may.
        ours = [record for record in caplog.records if "receive_response_headers" not in record.getMessage()]
        return "\n".join(f"{record.getMessage()} {vars(record)!r}" for record in ours)

    return read


def shown(farm: Farm, dialect: Dialect) -> str:
    """All that a user can get to see of a request, of the models and of the provider's state."""
    seen: list[object] = [farm.health()]
    calls: list[Callable[[], object]] = [
        lambda: farm.chat("hello", model=dialect.ref),
        lambda: farm.embed("hello", model=dialect.ref),
        lambda: farm.unload(dialect.ref),
        lambda: list(farm.load(dialect.ref)),
        farm.list_models,
    ]
    for call in calls:
        try:
            seen.append(call())
        except FarmError as error:
            seen += [error, str(error), repr(error), vars(error), "".join(traceback.format_exception(error))]
    return "\n".join(map(repr, seen))


@pytest.mark.parametrize("dialect", WITH_KEYS.values(), ids=WITH_KEYS, indirect=True)
@pytest.mark.parametrize("script", REPEATING.values(), ids=REPEATING)
def test_a_key_that_the_server_repeats_is_not_shown(
    far: FarSide,
    script: Callable[[Dialect], Script],
    said: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)
    far.server.play(script(far.dialect))  # whatever is asked
    far.play(script(far.dialect))
    seen = shown(far.farm(), far.dialect)
    assert any(KEY in value for request in far.server.requests for value in request.headers.values())
    assert KEY not in seen
    assert KEY not in said()


@pytest.mark.parametrize("dialect", WITH_KEYS.values(), ids=WITH_KEYS, indirect=True)
@pytest.mark.parametrize("key", [f"{KEY}\n", f"\u201c{KEY}\u201d", f"{KEY}\nx: y", f"{KEY}é"], ids=repr)
def test_a_key_that_no_header_can_carry_is_an_error_that_does_not_show_it(
    far: FarSide, key: str, said: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "GROQ_API_KEY", "OLLAMA_API_KEY"):
        monkeypatch.setenv(name, key)
    far.play((far.dialect.chunked(far.dialect.parts()),))
    assert KEY not in shown(far.farm(), far.dialect)
    assert KEY not in said()
    assert not any("x" in request.headers for request in far.server.requests)


@pytest.mark.parametrize("place", ["user:{}@127.0.0.1", "{}@127.0.0.1", "user:{}/x@127.0.0.1"])
@pytest.mark.parametrize("end", ["", "?key={}"])
def test_a_key_in_the_address_is_refused_or_used_and_never_shown(
    far: FarSide, place: str, end: str, said: Callable[[], str]
) -> None:
    url = far.server.url.replace("127.0.0.1", place.format(KEY)) + end.format(KEY)
    far.play((far.dialect.error(401, message=f"wrong: {KEY}"),))
    try:
        seen = shown(far.farm(url=url), far.dialect)
    except FarmError as error:
        seen = "".join((repr(error), *traceback.format_exception(error)))
    assert KEY not in seen
    assert KEY not in said()


def test_a_key_is_not_shown_where_nobody_answers(far: FarSide, said: Callable[[], str]) -> None:
    seen = shown(far.farm(url=f"http://127.0.0.1:{closed_port()}"), far.dialect)
    assert "Connection refused" in seen
    assert KEY not in seen
    assert KEY not in said()


def test_a_redirect_to_another_server_does_not_take_the_key_along(
    far: FarSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)
    with serving() as stranger:
        stranger.play((far.dialect.chunked(far.dialect.parts()),))
        far.server.play((whole(b"", f"location: {stranger.url}{far.dialect.at}", status=307),))
        far.play((whole(b"", f"location: {stranger.url}{far.dialect.at}", status=307),))
        with pytest.raises(FarmError, match=f"127.0.0.1:{stranger.port}"):
            far.farm().chat("hello", model=far.dialect.ref)
        assert not any(KEY in value for request in stranger.requests for value in request.headers.values())
