"""The Chromium that browser tests and benchmarks drive, and how it is started."""

from __future__ import annotations

import os
import shutil

__all__ = ["ARGUMENTS", "NOT_FOUND", "find_chromium"]

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
_KNOWN = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_NAMES = [name for name in (os.environ.get("FARM_TEST_CHROMIUM"), *_KNOWN) if name]
NOT_FOUND = f"no Chromium found under the names {', '.join(_NAMES)}: apt install chromium"


def find_chromium() -> str | None:
    """The browser's program, if there is one; ``FARM_TEST_CHROMIUM`` names another."""
    return next(filter(None, map(shutil.which, _NAMES)), None)
