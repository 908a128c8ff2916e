"""An HTTP client fits its server, and what is wrong with the environment is told as what it is."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from faulty_server import closed_port, own_certificate, serving

from farm_notebook.errors import ConfigError
from farm_notebook.providers.http import connection_error
from farm_notebook.providers.http_client import is_loopback, make_client, proxy_variables

HERE = "http://127.0.0.1:8000/v1"
THERE = "http://no-such-host.invalid/v1"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*proxy_variables(), "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"]:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("host", "is_this"),
    [
        ("localhost", True),
        ("jupyter.localhost", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("10.0.0.7", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_this_machine_is_known_by_addresses_that_no_other_can_reach(host: str, is_this: bool) -> None:
    assert is_loopback(host) is is_this


async def test_no_log_shows_the_parameters_of_an_address(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with serving() as server:
        server.play((OK,))
        async with make_client(httpx2.AsyncClient, server.url) as client:
            await client.get(f"{server.url}/v1", params={"sig": "a-secret"})
    assert f"GET {server.url}/v1 " in caplog.text
    assert "a-secret" not in caplog.text


async def test_this_machine_is_reached_through_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    with serving() as server:
        server.play((OK,))
        async with make_client(httpx2.AsyncClient, server.url) as client:
            assert (await client.get(server.url)).text == "ok"


async def test_another_machine_is_reached_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy:
        proxy.play((OK,))
        monkeypatch.setenv("http_proxy", proxy.url)
        async with make_client(httpx2.AsyncClient, THERE) as client:
            assert (await client.get(THERE)).text == "ok"
        assert proxy.requests[0].target == THERE


async def test_a_proxy_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://me:hidden-key@127.0.0.1:{closed_port()}")
    async with make_client(httpx2.AsyncClient, THERE) as client:
        with pytest.raises(httpx2.ConnectError) as caught:
            await client.get(THERE)
    message = str(connection_error(caught.value, url=THERE, provider="somewhere"))
    assert "HTTP_PROXY" in message
    assert "hidden-key" not in message
    assert "HTTP_PROXY" not in str(connection_error(caught.value, url=HERE, provider="somewhere"))


@pytest.mark.parametrize(
    ("proxy", "says"),
    [
        ("socks5://me:hidden-key@127.0.0.1:1", "pip install socksio"),
        ("gopher://me:hidden-key@127.0.0.1:1", "'http://proxy:3128'"),
        ("http://me:hidden-key", "'http://proxy:3128'"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_a_wrong_setting(
    proxy: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ConfigError, match="ALL_PROXY") as caught:
        make_client(httpx2.AsyncClient, THERE)
    assert says in str(caught.value)
    assert "NO_PROXY" in str(caught.value)
    assert "hidden-key" not in repr(caught.value)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_a_wrong_setting(
    content: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "authority.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(ConfigError, match="SSL_CERT_FILE") as caught:
        make_client(httpx2.AsyncClient, "https://somewhere/v1")
    assert repr(str(file)) in str(caught.value)


async def test_without_tls_no_certificate_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    async with make_client(httpx2.AsyncClient, HERE) as client:
        assert not client.is_closed


async def test_a_server_of_an_own_authority_is_trusted_on_this_machine_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tls, authority = own_certificate()
    (tmp_path / "authority.pem").write_bytes(authority)
    with serving(tls) as server:
        server.play((OK,))
        async with make_client(httpx2.AsyncClient, server.url) as client:
            with pytest.raises(httpx2.ConnectError):
                await client.get(server.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        async with make_client(httpx2.AsyncClient, server.url) as client:
            assert (await client.get(server.url)).text == "ok"
