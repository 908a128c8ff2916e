"""What goes wrong on the way to a server and back has one table; here real failures are looked up in it."""

from __future__ import annotations

import email.utils
import socket
import traceback

import httpx2
import pytest
from faulty_server import (
    Close,
    Reset,
    Script,
    Stall,
    closed_port,
    deaf,
    own_certificate,
    serving,
)
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook.errors import (
    AuthenticationError,
    ContextLengthError,
    FarmError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitedError,
)
from farm_notebook.providers.http import (
    SHORTEST_SECRET,
    connection_error,
    public_url,
    redact,
    redacted,
    retry_after_s,
    status_error,
)

NOW = 1_800_000_000.0
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"


async def failure(
    url: str, *, timeout_s: float = 5.0, headers: dict[str, str] | None = None, fix: str = ""
) -> ProviderError:
    """What a real client's failure on the way to a URL is in our terms."""
    try:
        async with httpx2.AsyncClient(trust_env=False, timeout=timeout_s) as client:
            await client.get(url, headers=headers)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return connection_error(error, url=url, provider="somewhere", fix=fix)
    raise AssertionError("the request succeeded")


async def failure_of(script: Script, *, timeout_s: float = 5.0) -> ProviderError:
    """The same, for a server that answers with a script."""
    with serving() as server:
        server.play(script)
        return await failure(server.url, timeout_s=timeout_s)


# Connections


async def test_a_refused_connection_says_so_and_how_to_mend_it() -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    error = await failure(url, fix="Start it.")
    assert type(error) is ProviderConnectionError
    assert str(error) == f"Nothing answers at {url} (Connection refused). Start it."
    assert error.provider == "somewhere"


async def test_a_name_with_two_addresses_that_both_refuse_is_a_refusal() -> None:
    assert "(Connection refused)" in str(await failure(f"http://localhost:{closed_port()}"))


async def test_a_host_that_nobody_knows_is_told_from_one_that_does_not_answer() -> None:
    error = await failure("http://no-such-host.invalid:8000/v1")
    assert type(error) is ProviderConnectionError
    assert str(error).startswith("http://no-such-host.invalid:8000/v1 has a host name that nobody knows (")


async def test_a_host_that_lets_nobody_in_runs_out_of_the_connect_timer() -> None:
    with deaf() as port:
        error = await failure(f"http://127.0.0.1:{port}", timeout_s=0.2)
    assert isinstance(error, ProviderTimeoutError)
    assert error.timer == "connect"
    assert "FARM_TIMEOUTS__CONNECT_S" in str(error)


async def test_a_tls_handshake_that_never_ends_runs_out_of_the_connect_timer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the system lets clients in, and nobody speaks
        error = await failure(f"https://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.2)
    assert isinstance(error, ProviderTimeoutError)
    assert error.timer == "connect"


async def test_a_certificate_that_is_not_trusted_is_named_and_how_to_trust_it() -> None:
    tls, _ = own_certificate()
    with serving(tls) as server:
        error = await failure(server.url)
    assert type(error) is ProviderConnectionError
    assert "not trusted" in str(error)
    assert "SSL_CERT_FILE" in str(error)


async def test_tls_spoken_to_a_plain_port_points_at_the_scheme() -> None:
    with serving() as server:
        error = await failure(f"https://127.0.0.1:{server.port}")
    assert type(error) is ProviderConnectionError
    assert "http:// where the server does not speak TLS" in str(error)


async def test_plain_http_spoken_to_a_tls_port_is_a_broken_connection() -> None:
    tls, _ = own_certificate()
    with serving(tls) as server:
        error = await failure(f"http://127.0.0.1:{server.port}")
    assert type(error) is ProviderConnectionError
    assert f"The connection to http://127.0.0.1:{server.port} broke" in str(error)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ((Close(),), "without sending a response"),
        ((Reset(),), "Connection reset by peer"),
        ((WHOLE + b"half", Close()), "without sending complete message body"),
        ((WHOLE + b"half", Reset()), "Connection reset by peer"),
        ((b"not HTTP at all\r\n\r\n", Close()), "illegal status line"),
    ],
    ids=["closed", "reset", "closed halfway", "reset halfway", "not HTTP"],
)
async def test_a_connection_that_breaks_is_told_from_one_that_was_never_made(
    script: Script, words: str
) -> None:
    error = await failure_of(script)
    assert type(error) is ProviderConnectionError
    assert str(error).startswith("The connection to http://127.0.0.1:")
    assert words in str(error)


async def test_a_server_that_says_nothing_runs_out_of_the_idle_timer() -> None:
    error = await failure_of((Stall(),), timeout_s=0.2)
    assert isinstance(error, ProviderTimeoutError)
    assert error.timer == "idle"


@pytest.mark.parametrize("url", ["ftp://somewhere/v1", "somewhere/v1", "http://somewhere:port"])
async def test_an_address_that_is_none_is_quoted(url: str) -> None:
    error = await failure(url)
    assert type(error) is ProviderConnectionError
    assert repr(url) in str(error)


async def test_a_proxy_that_refuses_is_named_as_such() -> None:
    with serving() as proxy:
        proxy.play((b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",))
        async with httpx2.AsyncClient(trust_env=False, proxy=proxy.url) as client:
            with pytest.raises(httpx2.HTTPError) as caught:
                await client.get("https://somewhere.invalid/v1")
    error = connection_error(caught.value, url="https://somewhere.invalid/v1", provider="somewhere")
    assert str(error).startswith("The proxy on the way to https://somewhere.invalid/v1 refused (407")


async def test_a_key_that_no_header_can_carry_is_not_shown() -> None:
    with serving() as server:
        error = await failure(server.url, headers={"authorization": "Bearer sk-planted\nkey"})
    assert type(error) is ProviderConnectionError
    assert "line break" in str(error)
    assert "planted" not in str(error)


@pytest.mark.parametrize(("end", "words"), [(Close(), "without sending"), (Reset(), "reset by peer")])
async def test_the_failure_of_an_earlier_try_is_no_cause_of_this_one(end: Close | Reset, words: str) -> None:
    try:
        raise httpx2.ConnectTimeout("an earlier try")
    except httpx2.ConnectTimeout:
        error = await failure_of((end,))
    assert type(error) is ProviderConnectionError
    assert words in str(error)


# Statuses


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequestError),
        (401, AuthenticationError),
        (402, QuotaExceededError),
        (403, AuthenticationError),
        (404, ModelNotFoundError),
        (408, ProviderError),
        (409, ProviderError),
        (413, ContextLengthError),
        (422, InvalidRequestError),
        (429, RateLimitedError),
        (500, ProviderError),
        (502, ProviderError),
        (503, ProviderError),
        (529, ProviderError),
        (None, ProviderError),
    ],
)
def test_a_status_has_one_error(status: int | None, kind: type[FarmError]) -> None:
    error = status_error("It said no.", status=status, provider="somewhere", headers={"Retry-After": "7"})
    assert type(error) is kind
    assert str(error) == "It said no."
    if isinstance(error, ProviderError):
        assert (error.provider, error.status) == ("somewhere", status)
    if kind in (ProviderError, RateLimitedError):
        assert isinstance(error, ProviderError)
        assert error.retry_after_s == 7.0


# When to try again


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"Retry-After": " 0.5 "}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "1", "Retry-After-Ms": "250"}, 0.25),
        ({"retry-after": "2", "retry-after-ms": "soon"}, 2.0),
        ({"retry-after": email.utils.formatdate(NOW + 90, usegmt=True)}, 90.0),
        ({"retry-after": email.utils.formatdate(NOW + 90)}, 90.0),
        ({"retry-after": email.utils.formatdate(NOW - 90, usegmt=True)}, 0.0),
    ],
    ids=str,
)
def test_the_wait_is_read_in_seconds_milliseconds_or_as_a_date(
    headers: dict[str, str], wait_s: float
) -> None:
    assert retry_after_s(headers, now=NOW) == wait_s


@pytest.mark.parametrize(
    "text", ["", "soon", "-5", "nan", "inf", "1e3", "1_000", "\u0661", "5, 10", "Mon, 99 Foo 2026", "9" * 400]
)
def test_a_wait_that_makes_no_sense_is_unknown(text: str) -> None:
    assert retry_after_s({"retry-after": text}, now=NOW) is None


def test_a_wait_that_is_not_told_is_unknown() -> None:
    assert retry_after_s({}) is None


@given(text=st.text(max_size=40), milliseconds=st.none() | st.text(max_size=10))
def test_no_header_breaks_the_reading_of_the_wait(text: str, milliseconds: str | None) -> None:
    headers = {"retry-after": text} | ({"retry-after-ms": milliseconds} if milliseconds else {})
    wait_s = retry_after_s(headers, now=NOW)
    assert wait_s is None or wait_s >= 0


@given(
    st.from_regex(
        r"(Mon, )?[0-9]{1,3} (Jan|Feb|Dec) [0-9]{1,12} [0-9:]{1,9} (GMT|[+-][0-9]{4,6}|)", fullmatch=True
    )
)
def test_no_date_breaks_the_reading_of_the_wait(text: str) -> None:
    wait_s = retry_after_s({"retry-after": text}, now=NOW)
    assert wait_s is None or wait_s >= 0


# What may be shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        ("http://[::1]:8000/v1/", "http://[::1]:8000/v1/"),
        ("http://me:hidden@somewhere:1/v1?key=hidden#hidden", "http://somewhere:1/v1"),
        ("http://hidden@somewhere", "http://somewhere"),
        ("me:hidden@somewhere/v1", "somewhere/v1"),
        *((f"http://me:hidden{sign}hidden@somewhere/v1", "http://somewhere/v1") for sign in "@/?#:"),
        ("http://me:hidden@hidden/hidden@somewhere/v1", "http://somewhere/v1"),
        ("http://me:hidden://hidden@somewhere/v1", "http://somewhere/v1"),
        ("http://somewhere/@models/v1", "http://somewhere/@models/v1"),
        ("http://somewhere?key=hidden@x/y", "http://somewhere"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert public_url(url) == shown


async def test_an_error_shows_no_secret_of_its_url() -> None:
    error = await failure(f"http://me:hidden@127.0.0.1:{closed_port()}/v1?key=hidden")
    assert "hidden" not in "".join(traceback.format_exception(error))


def test_keys_that_a_message_repeats_are_blotted_out_the_longest_first() -> None:
    secrets = ["sk-planted", "sk-planted-and-more"]
    assert redacted("Bad key sk-planted-and-more, sk-planted.", secrets) == "Bad key ***, ***."


def test_an_error_loses_the_keys_that_it_or_its_causes_repeat() -> None:
    error, cause = AuthenticationError("sk-planted is wrong"), OSError("no way")
    cause.__cause__ = OSError("not for sk-planted")
    error.__cause__ = cause
    redact(error, ["sk-planted"])
    assert str(error) == "*** is wrong"
    assert "planted" not in "".join(traceback.format_exception(error))


def test_an_error_keeps_a_cause_that_repeats_no_key() -> None:
    error, cause = ProviderError("no"), OSError("no route")
    error.__cause__ = cause
    redact(error, ["sk-planted"])
    assert error.__cause__ is cause


def test_a_stand_in_for_a_key_is_a_word_like_any_other() -> None:
    assert redacted("ollama has no such model", ["ollama", ""]) == "ollama has no such model"
    assert len("ollama") < SHORTEST_SECRET
