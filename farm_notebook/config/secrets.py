"""Finds keys and passwords where the user keeps them. Settings hold only the names of the variables."""

from __future__ import annotations

import os

from farm_notebook.config.settings import FarmConfig

__all__ = ["find_secret"]


def find_secret(variable: str | None, config: FarmConfig) -> str:
    """What a variable holds, looked up anew each time, so that a key can be changed while the kernel runs.

    Args:
        variable: Its name; ``None`` is none.
        config: The settings.

    Returns:
        The secret without the white space around it; empty where there is none.
    """
    return os.environ.get(variable, "").strip() if variable else ""
