"""Files below the user's home told as ``~/…``, so that what is recorded does not name the account."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from farm_notebook.types import ModelInfo

__all__ = ["with_home", "without_home"]


def without_home(models: Iterable[ModelInfo]) -> list[ModelInfo]:
    """Models, with the home that their locations are in as ``~``."""
    return [
        replace(info, location=_without(info.location)) if info.location is not None else info
        for info in models
    ]


def with_home(models: Iterable[ModelInfo]) -> list[ModelInfo]:
    """The same models again, in the home of whoever runs this."""
    return [
        replace(info, location=str(Path(info.location).expanduser()))
        if info.location is not None and info.location.startswith("~")
        else info
        for info in models
    ]


def _without(location: str) -> str:
    try:
        return str("~" / Path(location).relative_to(Path.home()))
    except (ValueError, RuntimeError):  # it is elsewhere, or there is no home
        return location
