"""The place that a path names, links left as they are."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["place_of"]

UP = ".."


def place_of(path: str) -> Path:
    """An absolute path, in which a link is not replaced by what it leads to.

    So ``latest`` stays one model when it is made to lead from ``step-100`` to ``step-200``. What stands
    before a ``..`` is followed, since only the system knows what is above a link's target.

    Args:
        path: As a user writes it; ``~`` is his home.

    Raises:
        OSError: No file can have that name.
        ValueError: It has a NUL in it.
    """
    parts = (Path.cwd() / os.path.expanduser(path)).parts  # pathlib's own raises on an unknown ~user
    cut = len(parts) - parts[::-1].index(UP) if UP in parts else 0
    place = Path(Path(*parts[:cut]).resolve() if cut else "", *parts[cut:])
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        os.lstat(place)  # for the errors of names that no file can have
    return place
