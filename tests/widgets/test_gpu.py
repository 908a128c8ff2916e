"""The panel of the devices in the kernel: it looks while it is seen, keeps the last minutes, frees memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

from farm_notebook.config import FarmConfig
from farm_notebook.farm import Farm
from farm_notebook.farm.freeing import FreeReport
from farm_notebook.types import DeviceStats, ModelRef, ModelShare
from farm_notebook.widgets.gpu import KEPT_S, GPUPanel, GPUPart
from farm_notebook.widgets.panel import Panel

from .pages import Page

REF = ModelRef("huggingface", "<b>tiny</b>")
SHARES = {"cuda:0": [ModelShare(REF, 2_000)]}


def toy_farm() -> Farm:
    """A farm with one model in memory, which freeing unloads."""

    async def free() -> FreeReport:
        farm.freed += 1
        return FreeReport((REF,), (), (), (), ())

    models = SimpleNamespace(shares=lambda: SHARES, free=free)
    config = FarmConfig()
    farm = SimpleNamespace(core=SimpleNamespace(models=models, config=config), config=config, freed=0)
    return cast(Farm, farm)


class Reading:
    """Devices that use more memory with each look."""

    def __init__(self) -> None:
        self.count = 0
        self.threads: set[str] = set()

    def __call__(self, models: Mapping[str, Sequence[ModelShare]]) -> tuple[DeviceStats, ...]:
        self.count += 1
        self.threads.add(threading.current_thread().name)
        used = 1_000 * self.count
        found = tuple(models.get("cuda:0", ()))
        return (DeviceStats("cuda:0", "cuda", "A card", 10_000, used, 10_000 - used, models=found),)


async def test_a_look_tells_the_devices_with_the_names_of_models_and_adds_to_the_curves() -> None:
    part = GPUPart(toy_farm(), read=Reading(), clock=iter([10.0, 11.0]).__next__)
    await part._look()
    await part._look()
    state = part.slices()
    assert state["devices"][0]["used_bytes"] == 2_000
    assert state["devices"][0]["models"] == [{"ref": str(REF), "size_bytes": 2_000}]
    assert [(each["at"], each["devices"]["cuda:0"]["memory"]) for each in state["samples"]] == [
        (10.0, 0.1),
        (11.0, 0.2),
    ]
    await part.aclose()


async def test_devices_are_read_in_a_thread_for_a_driver_may_hang() -> None:
    reading = Reading()
    part = GPUPart(toy_farm(), read=reading)
    await part.ready()
    assert reading.threads.isdisjoint({"MainThread", "farm-loop"})
    await part.aclose()


async def test_curves_keep_the_last_minutes_only() -> None:
    times = iter([0.0, KEPT_S, KEPT_S + 1, KEPT_S + 2])
    part = GPUPart(toy_farm(), read=Reading(), clock=times.__next__)
    for _ in range(4):
        await part._look()
    assert [each["at"] for each in part.slices()["samples"]] == [KEPT_S, KEPT_S + 1, KEPT_S + 2]
    await part.aclose()


def test_it_looks_while_it_is_seen_and_no_longer(page: Page) -> None:
    reading = Reading()
    part = GPUPart(toy_farm(), read=reading, sleep=_a_moment)
    Panel("gpu", [part])
    assert reading.count == 0
    page.look("gpu")
    page.wait_until(lambda: reading.count > 3)
    page.wait_for(lambda frame: frame.get("event") == "sample")
    page.look(hello=False)
    page.wait_until(lambda: not part._looking)
    seen = reading.count
    assert page.call("gpu", "free") is None  # one more look, and no others
    assert reading.count <= seen + 2


def test_the_button_frees_and_tells_what_came_of_it(page: Page) -> None:
    farm: Any = toy_farm()
    GPUPanel(farm=farm)
    page.look()
    assert page.call("gpu", "free") is None
    assert farm.freed == 1
    assert page.state["freed"]["lines"] == [f"{REF} is unloaded."]


async def test_the_static_output_tells_of_each_device_and_is_escaped() -> None:
    part = GPUPart(toy_farm(), read=Reading())
    await part.ready()
    assert "A card" in part.static_html()
    assert "&lt;b&gt;tiny" in part.static_html()
    assert "cuda:0" in part.static_text()
    assert "9.0 kB free" in part.static_text()
    await part.aclose()


async def _a_moment(_: float) -> None:
    await asyncio.sleep(0.01)
