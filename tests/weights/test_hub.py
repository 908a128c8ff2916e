"""A file of the hub arrives whole or not at all, over real HTTP, whatever the server does on the way."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from farm_notebook.config import FarmConfig
from farm_notebook.weights.fetch import fetch, local_path

from .fake_model import (
    CONTENT,
    FROM_HUB,
    HALF,
    HUB_PATH,
    MODEL,
    OTHER,
    bring,
    failure,
    halting,
    left_in,
    part_of,
    ranged,
    underway,
)

pytestmark = pytest.mark.usefixtures("index")


def cut_off(_: Request) -> Response:
    return Response(iter([CONTENT[:HALF]]), headers={"Content-Length": str(len(CONTENT))})


def ranges_asked(server: HTTPServer) -> list[str | None]:
    return [request.headers.get("Range") for request, _ in server.log]


def from_elsewhere(_: Request) -> Response:
    return Response(CONTENT[5:], 206, headers={"Content-Range": f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}"})


async def test_a_part_is_resumed_where_it_ends(config: FarmConfig, hub: HTTPServer) -> None:
    hub.expect_request(HUB_PATH).respond_with_handler(ranged)
    part_of(config).write_bytes(CONTENT[:HALF])
    await bring(FROM_HUB, config)
    assert local_path(MODEL, config).read_bytes() == CONTENT
    assert ranges_asked(hub) == [f"bytes={HALF}-"]


async def test_a_whole_part_is_only_verified(config: FarmConfig, hub: HTTPServer) -> None:
    part_of(config).write_bytes(CONTENT)
    assert {each.stage for each in await bring(FROM_HUB, config)} == {"verify"}
    assert hub.log == []


@pytest.mark.parametrize(
    ("part", "answers"),
    [
        (CONTENT[:HALF], [lambda _: Response(CONTENT)]),  # a server that knows no ranges
        (CONTENT[:HALF], [lambda _: Response(status=416), ranged]),
        (CONTENT[:HALF], [from_elsewhere, ranged]),
        (OTHER[:HALF], [ranged, ranged]),  # another file's part shows only in the checksum
        (OTHER, [ranged]),
        (CONTENT + b"!", [ranged]),
        (b"", [lambda _: Response(status=500), lambda _: Response(status=503), ranged]),
        (b"", [cut_off, ranged]),
        (b"", [lambda _: Response(iter([CONTENT[:HALF]])), ranged]),  # ends early, without a length to tell
    ],
)
async def test_the_file_comes_right_whatever_stands_in_the_way(
    config: FarmConfig, hub: HTTPServer, part: bytes, answers: list[Callable[[Request], Response]]
) -> None:
    for answer in answers:
        hub.expect_ordered_request(HUB_PATH).respond_with_handler(answer)
    part_of(config).write_bytes(part)
    await bring(FROM_HUB, config)
    assert local_path(MODEL, config).read_bytes() == CONTENT
    assert left_in(config) == {"fake.gguf"}
    assert len(hub.log) == len(answers)


async def test_a_broken_connection_is_resumed(config: FarmConfig, hub: HTTPServer) -> None:
    hub.expect_ordered_request(HUB_PATH).respond_with_handler(cut_off)
    hub.expect_ordered_request(HUB_PATH).respond_with_handler(ranged)
    await bring(FROM_HUB, config)
    assert ranges_asked(hub) == [None, f"bytes={HALF}-"]


async def test_three_retries_are_the_limit(config: FarmConfig, hub: HTTPServer) -> None:
    hub.expect_request(HUB_PATH).respond_with_data("busy", 503)
    assert "HTTP 503" in await failure(FROM_HUB, config)
    assert len(hub.log) == 1 + 3


@pytest.mark.parametrize(
    ("content", "said"), [(OTHER, "got " + hashlib.sha256(OTHER).hexdigest()), (CONTENT * 2, "got more")]
)
async def test_another_file_of_the_hub_leaves_nothing(
    config: FarmConfig, hub: HTTPServer, content: bytes, said: str
) -> None:
    hub.expect_request(HUB_PATH).respond_with_data(content)
    message = await failure(FROM_HUB, config)
    assert said in message
    assert "expected" in message
    assert left_in(config) == set()


async def test_the_token_goes_to_the_hub_and_nowhere_else(
    config: FarmConfig, hub: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_s3cret")
    elsewhere = hub.url_for("/cdn").replace("localhost", "127.0.0.1")
    hub.expect_request(HUB_PATH).respond_with_data("", 302, headers={"Location": elsewhere})
    hub.expect_request("/cdn").respond_with_data("no", 403)
    message = await failure(FROM_HUB, config)
    assert [request.headers.get("Authorization") for request, _ in hub.log] == ["Bearer hf_s3cret", None]
    assert "HTTP 403" in message


@pytest.mark.parametrize(
    ("endpoint", "token"),
    [("http://u:s3cret@127.0.0.1:9", "t"), ("http://127.0.0.1:9", "s3cret\nX"), ("s3cret", "s3cret")],
)
async def test_no_secret_is_in_a_message(
    config: FarmConfig, endpoint: str, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv("HF_TOKEN", token)
    assert "s3cret" not in await failure(FROM_HUB, config)


async def test_stopping_keeps_the_part_and_the_next_fetch_resumes_it(
    config: FarmConfig, hub: HTTPServer, gate: threading.Event
) -> None:
    hub.expect_ordered_request(HUB_PATH).respond_with_handler(lambda _: halting(CONTENT, HALF, gate))
    hub.expect_ordered_request(HUB_PATH).respond_with_handler(ranged)
    task = await underway(fetch(FROM_HUB, config), at_least=1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    kept = part_of(config).stat().st_size
    assert 0 < kept <= HALF
    gate.set()
    await bring(FROM_HUB, config)
    assert local_path(MODEL, config).read_bytes() == CONTENT
    assert ranges_asked(hub)[-1] == f"bytes={kept}-"
