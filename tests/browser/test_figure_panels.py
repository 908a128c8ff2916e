"""The panels of devices and usage in JupyterLab: they move while they are seen; both themes are readable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .lab import READY_S, NotebookPage
from .looks import THEMES, use_theme, violations

pytestmark = [pytest.mark.browser, pytest.mark.kernel, pytest.mark.model, pytest.mark.slow]
expect.set_options(timeout=READY_S * 1e3)

Open = Callable[[Sequence[str]], NotebookPage]

# A machine with two GPUs, whose first one breathes; the CPU is this machine's own.
GPUS = """\
import asyncio, math
import farm_notebook as farm
from farm_notebook.devices import device_stats
from farm_notebook.types import DeviceStats, ModelRef, ModelShare
from farm_notebook.widgets.gpu import GPUPart
from farm_notebook.widgets.panel import Panel

GB, looks, MODELS = 10**9, [0], (
    ModelShare(ModelRef("huggingface", "Qwen/Qwen3-8B"), 16_400_000_000),
    ModelShare(ModelRef("huggingface", "BAAI/bge-m3"), 2_300_000_000),
    ModelShare(ModelRef("llamacpp", "smollm2:135m"), 700_000_000),
)

def read(shares):
    looks[0] += 1
    wave = math.sin(looks[0] / 6)
    used = 45 * GB + int(wave * 5 * GB)
    one = DeviceStats("cuda:0", "cuda", "A card", 85 * GB, used, 85 * GB - used, 21 * GB, 0.6 + wave / 3,
                      61 + 5 * wave, 420 + 150 * wave, 700, MODELS)
    two = DeviceStats("cuda:1", "cuda", "A card", 85 * GB, 0, 85 * GB, 0, 0.0, 34, 70, 700)
    return (one, two, *device_stats(shares))

def soon(seconds):
    return asyncio.sleep(0.05)

devices = Panel("gpu", [GPUPart(read=read, sleep=soon, clock=lambda: 3.0 * looks[0])])
devices"""
USAGE = """\
import random
from types import SimpleNamespace
from farm_notebook.config import FarmConfig
from farm_notebook.reports import UsageReport
from farm_notebook.stores.calls import UsageRow
from farm_notebook.widgets.usage import UsagePart

random.seed(3)
names = ("openai:gpt-4.1-mini", "llamacpp:smollm2:135m", "ollama:qwen3:4b")
daily = tuple(
    UsageRow(name, f"2026-03-{day:02d}", requests=random.randint(2, 40), cached=random.randint(0, 15),
             input_tokens=random.randint(1_000, 90_000), output_tokens=random.randint(400, 30_000),
             cost=random.random() * (name[0] == "o"), first_token_median_s=random.random())
    for day in range(1, 19) for name in names if random.random() > 0.2)

def summed(name):
    its = [row for row in daily if row.key == name]
    fields = ("requests", "cached", "input_tokens", "output_tokens", "cost")
    return UsageRow(name, first_token_median_s=0.4, tokens_per_s_median=80,
                    **{field: sum(getattr(row, field) for row in its) for field in fields})

asked = []
async def usage(by, *, since=None):
    asked.append(since)
    return UsageReport("model", tuple(map(summed, names)), daily)

config = FarmConfig()
core = SimpleNamespace(usage=usage, config=config)
spent = Panel("usage", [UsagePart(SimpleNamespace(core=core, config=config))])
spent"""


def test_figures_move_and_are_readable(open_notebook: Open, page: Page, pictures: Path) -> None:
    notebook = open_notebook([GPUS, USAGE, "asked[-1]"])
    notebook.run(0)
    devices = page.locator(".farm-gpu")
    expect(devices.locator(".farm-gpu-device")).to_have_count(3)
    page.wait_for_function(
        "() => document.querySelector('.farm-gpu-curve path').getAttribute('d').length > 400"
    )

    devices.get_by_role("button", name="Free").click()
    expect(devices.get_by_role("status").filter(has_text="No idle model was loaded.")).to_be_visible()
    devices.get_by_role("button", name="Dismiss this message").click()

    notebook.run(1)
    usage = page.locator(".farm-usage")
    expect(usage.locator("svg")).to_have_count(4)
    usage.get_by_label("a week").focus()
    page.keyboard.press("ArrowRight")
    expect(usage.get_by_label("30 days")).to_be_checked()
    notebook.run(2)
    notebook.wait_for_text(2, "'30d'")

    try:
        for name in THEMES:
            use_theme(page, name)
            devices.screenshot(path=pictures / f"gpu-panel-{name.lower()}.png")
            usage.screenshot(path=pictures / f"usage-panel-{name.lower()}.png")
            assert violations(devices) == []
            assert violations(usage) == []
    finally:
        use_theme(page, "Light")
