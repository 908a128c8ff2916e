"""Whatever a server does wrong ends in the right typed error, for each provider that speaks HTTP.

Nothing is left behind: see the fixture ``far``.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import pytest
from faulty_server import Close, Reset, Script, Stall, Wait, closed_port, deaf, own_certificate, serving

from farm_notebook import loop
from farm_notebook.errors import (
    AuthenticationError,
    ContextLengthError,
    FarmError,
    IncompleteStreamError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitedError,
    TimerName,
)
from farm_notebook.providers import make_provider
from farm_notebook.types import TextDelta
from faults.dialects import LAST_CHUNK, MODEL, Dialect, as_chunk, whole
from faults.far_side import LONG_S, SHORT_S, TEXT, FarSide, begun, until

pytestmark = pytest.mark.slow  # hundreds of cases, and some wait for a timer


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, and what a caller gets.

    Args:
        script: What the server does instead of answering.
        error: The exact type.
        says: A part of the message.
        partial: The text that had arrived.
        timeouts: Of the farm, where a timer is to run out.
        timer: Which one runs out.
    """

    script: Callable[[Dialect], Script]
    error: type[FarmError]
    says: str = ""
    partial: str = ""
    timeouts: tuple[tuple[str, float], ...] = ()
    timer: TimerName | None = None


BROKE = "The connection to http://127.0.0.1:"
HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
FAULTS: dict[str, Fault] = {
    "closed before any byte": Fault(lambda d: (Close(),), ProviderConnectionError, BROKE),
    "reset before any byte": Fault(lambda d: (Reset(),), ProviderConnectionError, "reset by peer"),
    "closed in the head": Fault(lambda d: (b"HTTP/1.1 200 O", Close()), ProviderConnectionError, BROKE),
    "not HTTP": Fault(lambda d: (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Close()), ProviderConnectionError, BROKE),
    "reset mid-stream": Fault(
        lambda d: (begun(d, "one ", "two "), Wait(0.05), Reset()), ProviderConnectionError, BROKE, "one two "
    ),
    "closed inside a chunk": Fault(
        lambda d: (begun(d, "one "), as_chunk(d.delta("two "))[:-9], Close()),
        ProviderConnectionError,
        BROKE,
        "one ",
    ),
    "shorter than promised": Fault(
        lambda d: (
            d.head("content-length: 100000") + d.opening + d.delta("one ") + d.delta("two ")[:-9],
            Close(),
        ),
        ProviderConnectionError,
        BROKE,
        "one ",
    ),
    "ended without a finish mark": Fault(
        lambda d: (begun(d, "one ", "two ") + LAST_CHUNK,), IncompleteStreamError, "ended", "one two "
    ),
    "closed without a finish mark, of unknown length": Fault(
        lambda d: (d.head() + d.opening + d.delta("one "), Close()), IncompleteStreamError, "ended", "one "
    ),
    "cut off inside an event, of unknown length": Fault(
        lambda d: (d.head() + d.opening + d.delta("one ") + d.delta("two ")[:-9], Close()),
        IncompleteStreamError,
        "",
        "one ",
    ),
    "nothing at all": Fault(lambda d: (whole(b"", content_type=d.content_type),), IncompleteStreamError),
    "an error before any text": Fault(
        lambda d: (begun(d) + as_chunk(d.failure("the GPU fell off")) + LAST_CHUNK,),
        ProviderError,
        "the GPU fell off",
    ),
    "an error after some text": Fault(
        lambda d: (begun(d, "one ") + as_chunk(d.failure("the GPU fell off")) + LAST_CHUNK,),
        ProviderError,
        "the GPU fell off",
        "one ",
    ),
    "an error instead of a stream": Fault(
        lambda d: (whole(d.error_body("the GPU fell off")),), ProviderError, "the GPU fell off"
    ),
    "a page instead of a stream": Fault(
        lambda d: (whole(HTML, content_type="text/html"),), ProviderError, "502 Bad Gateway"
    ),
    "an event that is no JSON": Fault(
        lambda d: (begun(d, "one ") + as_chunk(d.delta("two ").replace(b"}", b"]")) + LAST_CHUNK,),
        ProviderError,
        "not JSON",
        "one ",
    ),
    "bytes that are no UTF-8": Fault(
        lambda d: (begun(d, "one ") + as_chunk(d.delta("two").replace(b"two", b"t\xffo")) + LAST_CHUNK,),
        ProviderError,
        "not JSON",
        "one ",
    ),
    "JSON of another kind": Fault(
        lambda d: (begun(d, "one ") + as_chunk(d.delta("two ").replace(b'"two "', b"[2]")) + LAST_CHUNK,),
        ProviderError,
        "unknown shape",
        "one ",
    ),
    "JSON without a bottom": Fault(
        lambda d: (
            begun(d, "one ") + as_chunk(d.delta("two ").replace(b'"two "', b"[" * 100_000)) + LAST_CHUNK,
        ),
        ProviderError,
        "not JSON",
        "one ",
    ),
    "gzip that is none": Fault(
        lambda d: (whole(d.delta("one "), "content-encoding: gzip", content_type=d.content_type),),
        ProviderConnectionError,
        BROKE,
    ),
    "no head in time": Fault(
        lambda d: (Stall(),),
        ProviderTimeoutError,
        timeouts=(("first_event_s", SHORT_S),),
        timer="first event",
    ),
    "a head, and nothing in time": Fault(
        lambda d: (begun(d), Stall()),
        ProviderTimeoutError,
        timeouts=(("first_event_s", SHORT_S),),
        timer="first event",
    ),
    "signs of life only": Fault(
        lambda d: (begun(d), *((as_chunk(d.keep_alive), Wait(0.01)) * 200)),
        ProviderTimeoutError,
        timeouts=(("first_event_s", SHORT_S),),
        timer="first event",
    ),
    "a stall mid-stream": Fault(
        lambda d: (begun(d, "one "), Stall()),
        ProviderTimeoutError,
        partial="one ",
        timeouts=(("idle_s", SHORT_S),),
        timer="idle",
    ),
    "signs of life only, mid-stream": Fault(
        lambda d: (begun(d, "one "), *((as_chunk(d.keep_alive), Wait(0.01)) * 200)),
        ProviderTimeoutError,
        partial="one ",
        timeouts=(("idle_s", SHORT_S),),
        timer="idle",
    ),
    "an answer that takes too long": Fault(
        lambda d: (begun(d, "one "), *((as_chunk(d.delta("")), Wait(0.01)) * 200)),
        ProviderTimeoutError,
        partial="one ",
        timeouts=(("total_s", 4 * SHORT_S),),
        timer="total",
    ),
}
WITHOUT_TIMERS = {name: fault for name, fault in FAULTS.items() if fault.timer is None}


def check(error: FarmError, fault: Fault, dialect: Dialect) -> None:
    """What is the same in every error."""
    assert type(error) is fault.error, repr(error)
    assert fault.says in str(error)
    assert str(error).strip() == str(error) != ""
    assert isinstance(error, ProviderError)
    assert error.provider == dialect.provider
    if fault.timer:
        assert isinstance(error, ProviderTimeoutError)
        assert error.timer == fault.timer


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_its_error_with_what_had_arrived_and_the_next_request_is_answered(
    far: FarSide, fault: Fault
) -> None:
    far.play(fault.script(far.dialect), (far.dialect.chunked(far.dialect.parts()),))
    farm = far.farm(dict(fault.timeouts))
    with pytest.raises(FarmError) as caught:
        farm.chat("hello", model=far.dialect.ref)
    check(caught.value, fault, far.dialect)
    assert isinstance(caught.value, ProviderError)
    assert caught.value.partial_text == fault.partial
    assert farm.chat("hello", model=far.dialect.ref).text == TEXT
    assert until(lambda: len(far.open_connections()) <= 1)  # one that is kept for the next request


@pytest.mark.parametrize("fault", WITHOUT_TIMERS.values(), ids=WITHOUT_TIMERS)
def test_a_fault_is_the_same_error_without_the_pipeline(far: FarSide, fault: Fault) -> None:
    farm = far.farm()
    provider = make_provider(far.dialect.provider, farm.config)
    far.play(fault.script(far.dialect))
    texts: list[str] = []

    async def ask() -> None:
        try:
            async with aclosing(provider.answer(far.request(farm.core))) as events:
                texts.extend([event.text async for event in events if isinstance(event, TextDelta)])
        finally:
            await provider.aclose()

    with pytest.raises(FarmError) as caught:
        loop.run_blocking(ask())
    check(caught.value, fault, far.dialect)


# Addresses where nobody answers


@pytest.mark.parametrize(
    ("make_url", "says"),
    [
        (lambda port: f"http://127.0.0.1:{port}", "(Connection refused)"),
        (lambda port: "http://no-such-host.invalid", "nobody knows"),
    ],
    ids=["refused", "unknown host"],
)
def test_an_address_where_nobody_answers_is_told_with_the_reason(
    far: FarSide, make_url: Callable[[int], str], says: str
) -> None:
    url = make_url(closed_port())
    with pytest.raises(ProviderConnectionError) as caught:
        far.farm(url=url).chat("hello", model=far.dialect.ref)
    assert url in str(caught.value)
    assert says in str(caught.value)
    assert caught.value.provider == far.dialect.provider


def test_a_host_that_lets_nobody_in_runs_out_of_the_connect_timer(far: FarSide) -> None:
    with deaf() as port:
        with pytest.raises(ProviderTimeoutError) as caught:
            far.farm({"connect_s": SHORT_S}, url=f"http://127.0.0.1:{port}").chat(
                "hello", model=far.dialect.ref
            )
        assert caught.value.timer == "connect"
        assert caught.value.provider == far.dialect.provider


def test_a_certificate_that_is_not_trusted_is_refused_before_the_key_is_sent(far: FarSide) -> None:
    tls, _ = own_certificate()
    with serving(tls) as server:
        with pytest.raises(ProviderConnectionError, match="not trusted"):
            far.farm(url=server.url).chat("hello", model=far.dialect.ref)
        assert server.requests == []


def test_a_certificate_of_an_own_authority_is_trusted_where_the_environment_says_so(
    far: FarSide, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tls, authority = own_certificate()
    (tmp_path / "authority.pem").write_bytes(authority)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with serving(tls) as server:
        secure = FarSide(far.dialect, server)
        secure.play((far.dialect.chunked(far.dialect.parts()),))
        assert secure.farm().chat("hello", model=far.dialect.ref).text == TEXT
        secure.close()


def test_tls_spoken_to_a_plain_port_points_at_the_scheme(far: FarSide) -> None:
    with pytest.raises(ProviderConnectionError, match="scheme"):
        far.farm(url=far.server.url.replace("http:", "https:")).chat("hello", model=far.dialect.ref)


def test_plain_http_spoken_to_a_tls_port_is_a_broken_connection(far: FarSide) -> None:
    tls, _ = own_certificate()
    with serving(tls) as server, pytest.raises(ProviderConnectionError, match="broke"):
        far.farm(url=server.url.replace("https:", "http:")).chat("hello", model=far.dialect.ref)


# Statuses


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequestError),
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, ModelNotFoundError),
        (408, ProviderError),
        (409, ProviderError),
        (413, ContextLengthError),
        (429, RateLimitedError),
        (500, ProviderError),
        (503, ProviderError),
        (529, ProviderError),
    ],
)
def test_a_status_is_its_error_in_the_servers_words_and_asked_for_once(
    far: FarSide, status: int, kind: type[FarmError]
) -> None:
    missing = f"model '{MODEL}' not found, " if status == 404 else ""
    with pytest.raises(FarmError) as caught:
        far.chat(far.dialect.error(status, message=f"{missing}no such luck"))
    error = caught.value
    assert type(error) is kind, repr(error)
    assert "no such luck" in str(error)
    assert len(far.server.asked(far.dialect.at)) == 1  # retries are the pipeline's, and are off here
    if isinstance(error, ProviderError):
        assert (error.provider, error.status) == (far.dialect.provider, status)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("retry-after: 7", 7.0),
        ("Retry-After-Ms: 250", 0.25),
        ("retry-after: DATE", 60.0),
        ("x-other: 1", None),
    ],
)
def test_a_status_says_how_long_to_wait(far: FarSide, status: int, header: str, wait_s: float | None) -> None:
    header = header.replace("DATE", email.utils.formatdate(time.time() + 60, usegmt=True))
    with pytest.raises(ProviderError) as caught:
        far.chat(far.dialect.error(status, header))
    assert caught.value.retry_after_s == (
        wait_s if wait_s is None else pytest.approx(wait_s, abs=10 if wait_s > 7 else 0)
    )


@pytest.mark.parametrize("status", [401, 404, 429, 502])
@pytest.mark.parametrize(
    "body",
    [HTML, b"", b"\xff\xfe\x00", b"null", b"[]", b'"text"', b'{"detail": 5}', b"[" * 100_000],
    ids=lambda body: repr(body[:15]),
)
def test_an_error_whose_body_is_no_error_object_is_still_typed(
    far: FarSide, status: int, body: bytes
) -> None:
    """A 404 that does not speak of a model is another path's, or another server's."""
    with pytest.raises(FarmError) as caught:
        far.chat(whole(body, status=status, content_type="text/html"))
    kinds = {401: AuthenticationError, 404: ProviderError, 429: RateLimitedError, 502: ProviderError}
    assert isinstance(caught.value, kinds[status])
    if body == HTML:
        assert "502 Bad Gateway" in str(caught.value)


@pytest.mark.parametrize("words", ["x", "model ", "maximum context length is "], ids=str.strip)
def test_an_endless_error_message_is_cut_and_read_at_once(far: FarSide, words: str) -> None:
    started = time.monotonic()
    with pytest.raises(FarmError) as caught:
        far.chat(far.dialect.error(500, message=words * (2**22 // len(words))))
    assert len(str(caught.value)) < 3000
    assert time.monotonic() - started < LONG_S / 4


def test_many_faults_in_a_row_leave_one_connection_at_most(far: FarSide) -> None:
    scripts = [fault.script(far.dialect) for fault in WITHOUT_TIMERS.values()]
    farm = far.farm()
    for script in scripts * 3:
        far.play(script)
        with pytest.raises(FarmError):
            farm.chat("hello", model=far.dialect.ref)
    assert until(lambda: len(far.open_connections()) <= 1)
