"""One JupyterLab for all browser tests, one Chromium, and a fresh page for each test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

from farm_notebook.config import load_config

from .chromium import ARGUMENTS, NOT_FOUND, find_chromium
from .lab import READY_S, LabServer, NotebookPage

_IMAGES = Path(__file__).parents[2] / "docs" / "images"


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The browser's program; ``FARM_TEST_CHROMIUM`` names another."""
    if path := find_chromium():
        return path
    pytest.skip(NOT_FOUND)


@pytest.fixture(scope="session")
def lab(
    chromium_path: str, embedded_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LabServer]:
    """A real JupyterLab on a free loopback port; of this machine it shares the fetched models only."""
    environment = {
        "FARM_CACHE_DIR": str(load_config().cache_dir),
        "FARM_CACHE__ENABLED": "0",  # what an earlier run was answered is not what the page shall show
        "FARM_HISTORY__ENABLED": "0",
        "FARM_OFFLINE": "1",
    }
    with LabServer(tmp_path_factory.mktemp("lab"), environment).running() as server:
        yield server


@pytest.fixture(scope="package")
def browser_context(chromium_path: str) -> Iterator[BrowserContext]:
    """Ends with the package: while it lives, its event loop is taken for this thread's running one."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=ARGUMENTS)
        context = browser.new_context(viewport={"width": 1200, "height": 800}, color_scheme="light")
        context.set_default_timeout(READY_S * 1e3)
        yield context
        context.close()
        browser.close()


@pytest.fixture
def page(lab: LabServer, browser_context: BrowserContext) -> Iterator[Page]:
    """An empty page; the kernels that the test has started are shut down after it."""
    page = browser_context.new_page()
    yield page
    page.close()
    lab.shut_down_kernels()


@pytest.fixture
def open_notebook(
    lab: LabServer, page: Page, request: pytest.FixtureRequest
) -> Callable[[Sequence[str]], NotebookPage]:
    """A function: cells' sources to a notebook that is open in Lab with its kernel ready."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    return lambda sources: NotebookPage.create(lab, page, name, sources)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures go: ``docs/images`` with ``FARM_SCREENSHOTS=1``, else a temporary folder."""
    folder = _IMAGES if os.environ.get("FARM_SCREENSHOTS") == "1" else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    return folder
