"""Models are loaded anew when their files change, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from toy_loop import virtual_time

from farm_notebook.config import ModelsConfig
from farm_notebook.errors import LoadError, ModelNotFoundError
from farm_notebook.lifecycle.watching import Watcher
from farm_notebook.types import ModelRef

REF, OTHER = ModelRef("toy", "a"), ModelRef("toy", "b")
SETTINGS = ModelsConfig(watch_interval_s=0.5, settle_s=1.0)


class Folder:
    """Files of a model, and what was loaded from them."""

    def __init__(self) -> None:
        self.files: str | Exception | None = "1"
        self.loaded: str | None = "1"
        self.loads: list[str] = []
        self.looks = 0
        self.fails: Callable[[str], Exception | None] = lambda files: None
        self.gate: asyncio.Event | None = None
        self.watcher = Watcher(self.look, self.known, self.reload, lambda: SETTINGS)

    async def look(self, ref: ModelRef) -> str | None:
        self.looks += 1
        if isinstance(self.files, Exception):
            raise self.files
        return self.files

    async def known(self, ref: ModelRef) -> str | None:
        return self.loaded

    async def reload(self, ref: ModelRef) -> None:
        assert isinstance(self.files, str)
        self.loads.append(self.files)
        if self.gate is not None:
            await self.gate.wait()
        if (error := self.fails(self.files)) is not None:
            raise error
        self.loaded = self.files

    async def __aenter__(self) -> Folder:
        assert self.watcher.watch(REF)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.watcher.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}


@virtual_time
async def test_files_that_stay_as_they_are_cause_nothing() -> None:
    async with Folder() as folder:
        await asyncio.sleep(100)
        assert folder.loads == []
        assert 190 <= folder.looks <= 201


@virtual_time
async def test_new_files_are_loaded_once_nobody_has_written_them_for_a_while() -> None:
    async with Folder() as folder:
        for write in range(20):  # a saver at work
            folder.files = f"half {write}"
            await asyncio.sleep(0.7)
        assert folder.loads == []
        folder.files = "2"
        await asyncio.sleep(10)
        assert folder.loads == ["2"]


@virtual_time
async def test_files_that_are_not_whole_are_waited_for() -> None:
    async with Folder() as folder:
        folder.files = None
        await asyncio.sleep(10)
        folder.files = "2"
        await asyncio.sleep(10)
        assert folder.loads == ["2"]


@virtual_time
async def test_files_that_were_put_back_as_they_were_are_not_loaded() -> None:
    async with Folder() as folder:
        folder.files = "2"
        await asyncio.sleep(0.7)
        folder.files = "1"
        await asyncio.sleep(10)
        assert folder.loads == []


@pytest.mark.parametrize("error", [LoadError("It is corrupt."), ZeroDivisionError("A defect.")])
@virtual_time
async def test_files_that_failed_are_not_tried_again_but_others_are(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async with Folder() as folder:
        folder.fails = lambda files: error if files == "corrupt" else None
        folder.files = "corrupt"
        await asyncio.sleep(20)
        assert folder.loads == ["corrupt"]
        assert "toy:a was not loaded anew" in caplog.text
        folder.files = "3"
        await asyncio.sleep(20)
        assert folder.loads == ["corrupt", "3"]


@virtual_time
async def test_files_that_worked_once_are_loaded_again_when_they_come_back() -> None:
    async with Folder() as folder:
        for files in ("2", "1", "2"):  # a link that is made to lead here and there
            folder.files = files
            await asyncio.sleep(20)
        assert folder.loads == ["2", "1", "2"]


@virtual_time
async def test_a_folder_that_is_away_for_a_moment_is_looked_at_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Folder() as folder:
        for away in (FileNotFoundError("gone"), ModelNotFoundError("gone"), PermissionError("locked")):
            folder.files = away
            await asyncio.sleep(10)
        assert caplog.text == ""  # twice a second would be too often
        folder.files = "2"
        await asyncio.sleep(10)
        assert folder.loads == ["2"]


@virtual_time
async def test_a_defect_in_looking_is_logged_and_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    async with Folder() as folder:
        folder.files = ZeroDivisionError("A defect.")
        await asyncio.sleep(10)
        assert caplog.text.count("toy:a cannot be looked at") == 1
        folder.files = "2"
        await asyncio.sleep(10)
        assert folder.loads == ["2"]


@virtual_time
async def test_a_model_that_is_not_in_memory_is_not_brought_there() -> None:
    async with Folder() as folder:
        folder.loaded = None
        folder.files = "2"
        await asyncio.sleep(10)
        assert folder.loads == []
        folder.loaded = "1"
        await asyncio.sleep(10)
        assert folder.loads == ["2"]


@virtual_time
async def test_a_model_that_was_unloaded_or_reloaded_by_hand_meanwhile_is_left_alone() -> None:
    async with Folder() as folder:
        for loaded in (None, "2"):
            folder.loaded, folder.files = "1", "2"
            await asyncio.sleep(0.9)  # it is seen, and not settled
            folder.loaded = loaded
            await asyncio.sleep(10)
            folder.files = "1"
            await asyncio.sleep(0.9)
            folder.loaded = "1"
        assert folder.loads == []


@virtual_time
async def test_a_model_is_watched_once_and_until_that_is_ended() -> None:
    async with Folder() as folder:
        assert not folder.watcher.watch(REF)
        assert folder.watcher.watch(OTHER)
        assert folder.watcher.unwatch(REF)
        assert not folder.watcher.unwatch(REF)
        assert folder.watcher.unwatch(OTHER)
        folder.files = "2"
        await asyncio.sleep(10)
        assert folder.loads == []
        assert folder.watcher.watch(REF)
        await asyncio.sleep(10)
        assert folder.loads == ["2"]


@virtual_time
async def test_a_reload_under_way_is_waited_for_at_the_end_also_where_it_was_told_to_stop_before() -> None:
    stopped: list[str] = []
    async with Folder() as folder:
        folder.gate = asyncio.Event()

        async def reload(ref: ModelRef) -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(1)  # it lets go
                stopped.append(ref.model)

        folder.watcher._reload = reload
        folder.watcher.watch(OTHER)
        folder.files = "2"
        await asyncio.sleep(10)
        folder.watcher.unwatch(REF)
    assert sorted(stopped) == ["a", "b"]
