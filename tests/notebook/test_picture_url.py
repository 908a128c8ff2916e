"""A picture is fetched from a real server: within bounds, and nothing secret is sent or shown."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from farm_notebook import loop
from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook import picture_url
from farm_notebook.notebook.picture_url import fetch_picture
from farm_notebook.types import Image

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def fetch(url: str, **options: Any) -> Image:
    return loop.run_blocking(fetch_picture(url, **options))


def message_of(url: str, **options: Any) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        fetch(url, **options)
    return str(caught.value)


def test_what_a_picture_is_is_told_by_its_bytes(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/a").respond_with_data(b"GIF89a...", content_type="text/html")
    assert fetch(httpserver.url_for("/a")) == Image(b"GIF89a...", "image/gif")


def test_no_credentials_are_sent(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / ".netrc").write_text("machine localhost login me password hunter2\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    seen: list[dict[str, str]] = []

    def answer(request: Request) -> Response:
        seen.append({name.lower(): value for name, value in request.headers.items()})
        return Response(PNG, headers={"set-cookie": "a=b"})

    httpserver.expect_request("/a").respond_with_handler(answer)
    for _ in range(2):
        fetch(httpserver.url_for("/a"))
    assert not {"authorization", "cookie", "referer"} & seen[1].keys()


def test_a_password_in_the_address_is_neither_sent_nor_shown(httpserver: HTTPServer) -> None:
    message = message_of(httpserver.url_for("/a").replace("://", "://me:hunter2@") + "?sig=topsecret")
    assert "a user or password, which are not sent" in message
    assert "hunter2" not in message
    assert httpserver.log == []
    httpserver.expect_request("/gone").respond_with_data("no", status=404)
    message = message_of(httpserver.url_for("/gone") + "?sig=topsecret")
    assert message == f"{httpserver.url_for('/gone')} answered 404 NOT FOUND."


def test_redirects_are_followed_and_end(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/a").respond_with_data("", status=302, headers={"location": "b?x=1"})
    httpserver.expect_request("/b").respond_with_data(PNG)
    assert fetch(httpserver.url_for("/a")).data == PNG
    httpserver.expect_request("/round").respond_with_data("", status=302, headers={"location": "/round"})
    assert "leads on and on, more than 5 times" in message_of(httpserver.url_for("/round"))


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://localhost/a", "http://me:pw@localhost/"])
def test_no_redirect_leads_off_the_web(place: str, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/a").respond_with_data("", status=302, headers={"location": place})
    message = message_of(httpserver.url_for("/a"))
    assert "is no address of a picture" in message or "which are not sent" in message


def test_a_public_server_does_not_lead_into_the_machines_own_network(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in says of the first name that it is public, for there is no such server on loopback."""
    httpserver.expect_request("/a").respond_with_data(
        "", status=302, headers={"location": httpserver.url_for("/b").replace("localhost", "127.0.0.1")}
    )
    httpserver.expect_request("/b").respond_with_data(PNG)
    is_private = picture_url._is_private

    async def only_numbers(url: str) -> bool:
        return "localhost" not in url and await is_private(url)

    monkeypatch.setattr(picture_url, "_is_private", only_numbers)
    assert "leads on to http://127.0.0.1" in message_of(httpserver.url_for("/a"))
    assert [request.path for request, _ in httpserver.log] == ["/a"]


@pytest.mark.parametrize(
    ("url", "is_private"),
    [
        ("http://127.0.0.1/", True),
        ("http://[::1]:80/", True),
        ("http://localhost/", True),
        ("http://169.254.169.254/latest", True),
        ("http://10.0.0.1/", True),
        ("http://1.1.1.1/", False),
        ("http://[2606:4700::1111]/", False),
    ],
)
def test_addresses_of_this_machine_and_its_network_are_known(url: str, is_private: bool) -> None:
    assert asyncio.run(picture_url._is_private(url)) is is_private


def test_a_large_picture_is_not_read_to_its_end(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/told").respond_with_data(PNG + bytes(5_000))
    httpserver.expect_request("/untold").respond_with_handler(lambda _: Response(pieces()))

    def pieces() -> Iterator[bytes]:
        for _ in range(50):
            yield bytes(1_000)

    for path in ("/told", "/untold"):
        message = message_of(httpserver.url_for(path), most_bytes=2_000)
        assert f"The picture at {httpserver.url_for(path)} is larger than" in message


def test_a_page_is_no_picture(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/a").respond_with_data("<!DOCTYPE html>")
    message = message_of(httpserver.url_for("/a"))
    assert "is no image that models take: it begins with b'<!DOCTYPE ht'" in message
    assert "Is it the page around the picture" in message


def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a"
        assert message_of(url, total_s=0.2) == f"{url} did not send its picture within 0.2 s."


def test_where_nothing_answers_that_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    message = message_of(f"http://127.0.0.1:{port}/a?key=topsecret")
    assert f"The picture cannot be fetched: Nothing answers at http://127.0.0.1:{port}/a" in message
    assert "topsecret" not in message
