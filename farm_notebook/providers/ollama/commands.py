"""Runs short commands of the system and hears what they say."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Outcome", "run"]

_ABOUT_OPTIONS = re.compile(r"^(run|see) '[\w -]+ --help'", re.IGNORECASE)  # docker says it below the reason


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended, and what it wrote."""

    code: int
    output: str
    complaint: str

    @property
    def words(self) -> str:
        """What it said about its failure: the last line that is not about its options."""
        lines = [line.strip() for line in (self.complaint or self.output).splitlines() if line.strip()]
        told = [line for line in lines if not _ABOUT_OPTIONS.search(line)] or lines
        return told[-1] if told else f"exit status {self.code}"


async def run(*command: str, environment: Mapping[str, str] | None = None) -> Outcome:
    """Run a command to its end; it is ended where the caller leaves.

    Args:
        command: The program and its arguments.
        environment: In place of this process's own.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,  # Ctrl-C in a terminal is for the caller, who then ends it
    )
    try:
        output, complaint = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
        raise
    return Outcome(
        process.returncode or 0, output.decode(errors="replace"), complaint.decode(errors="replace")
    )
