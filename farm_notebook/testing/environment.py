"""What kernels, tests and the programs that they start are told by their environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from farm_notebook.config.variables import BLOCK_REQUESTS

__all__ = ["ALLOWED", "STEADY", "Variables", "cassette_variables", "environment"]

Variables: TypeAlias = Mapping[str, str | None]
"""Names and values; ``None`` is for one that is not to be there."""

STEADY: Variables = {
    "FARM_DISPLAY__LIVE": "false",  # what is repainted is shown once, as it is in the end
    "FARM_CACHE__ENABLED": "false",
    "FARM_HISTORY__ENABLED": "false",
}
"""What depends on an earlier run, or on time, is off."""

ALLOWED: Variables = {BLOCK_REQUESTS: None}


def cassette_variables(mode: str, cassette: Path, *, asked_file: Path, record_command: str) -> Variables:
    """Have all calls recorded or replayed; replaying, nothing can be asked beside the cassette either.

    Args:
        mode: As of ``CassetteConfig``.
        cassette: The file.
        asked_file: Is told which recorded calls are asked for.
        record_command: What records, for errors to say.
    """
    return {
        **STEADY,
        "FARM_CASSETTE": mode,
        "FARM_CASSETTE_FILE": str(cassette),
        "FARM_CASSETTE__ASKED_FILE": str(asked_file),
        "FARM_CASSETTE__RECORD_COMMAND": record_command,
        BLOCK_REQUESTS: "1" if mode == "replay" else None,
    }


@contextmanager
def environment(variables: Variables) -> Iterator[None]:
    """Set variables of this process; afterwards they are as they were."""
    before = {name: os.environ.get(name) for name in variables}
    _set(variables)
    try:
        yield
    finally:
        _set(before)


def _set(variables: Variables) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
