"""From what a user writes for "since when" to a moment."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from typing import TypeAlias

from farm_notebook.errors import InvalidRequestError

__all__ = ["Since", "as_moment"]

Since: TypeAlias = str | float | datetime | timedelta | None
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def as_moment(since: Since, *, now: float | None = None) -> float | None:
    """A moment in seconds since 1970.

    Args:
        since: An age, as in ``30m``, ``12h``, ``7d``, ``2w`` or a ``timedelta``; a day or time, as in
            ``2026-05-31``, ``2026-05-31T12:00`` or a ``datetime``, local where no zone is told; seconds since
            1970; or ``None``, which has no beginning.
        now: What an age is counted from; else it is this moment.

    Raises:
        InvalidRequestError: It is none of these.
    """
    if since is None or isinstance(since, int | float):
        return since
    present = time.time() if now is None else now
    try:
        if isinstance(since, str):
            age = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([mhdw])\s*", since)
            if age:
                since = timedelta(**{_UNITS[age[2]]: float(age[1])})
            else:
                since = datetime.fromisoformat(since.strip())
        return present - since.total_seconds() if isinstance(since, timedelta) else since.timestamp()
    except (ValueError, OverflowError):
        raise InvalidRequestError(
            f"since={since!r} is no moment. Valid: an age, as in 30m, 12h, 7d or 2w, or a day, as in "
            "2026-05-31."
        ) from None
