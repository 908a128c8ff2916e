"""What a panel looks like: the theme of the page, and what axe finds in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page

__all__ = ["FROZEN_MS", "THEMES", "use_theme", "violations"]

THEMES = ("Dark", "Light")  # the light one last, so that the next test finds it
FADED_MS = 500
FROZEN_MS = 1_000  # at a stretch: what a page that freezes exceeds on any machine; figures are for benchmarks

_AXE = Path(__file__).parents[2] / "farm_notebook/widgets/js/node_modules/axe-core/axe.min.js"
_CHANGE = "theme => void window.jupyterapp.commands.execute('apputils:change-theme', {theme})"
_FIND = "root => axe.run(root).then(found => found.violations.map(each => `${each.id}: ${each.help}`))"


def use_theme(page: Page, name: str) -> None:
    """Have JupyterLab change to one of ``THEMES``, and wait until it has."""
    page.evaluate(_CHANGE, f"JupyterLab {name}")
    is_light = "true" if name == "Light" else "false"
    page.locator(f'body[data-jp-theme-light="{is_light}"]').wait_for(state="attached")
    page.locator("#jupyterlab-splash").wait_for(state="detached")  # it covers the page meanwhile
    page.wait_for_timeout(FADED_MS)  # until the colours have faded over


def violations(root: Locator) -> list[str]:
    """What axe finds wrong below an element; see https://github.com/dequelabs/axe-core."""
    if not _AXE.exists():
        pytest.skip("axe-core is not installed: make widgets")
    root.page.add_script_tag(path=_AXE)
    found: list[str] = root.evaluate(_FIND)
    return found
