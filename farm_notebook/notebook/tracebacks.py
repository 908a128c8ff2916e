"""How an exception reads as plain text, for a model to read in a prompt."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Mapping
from typing import Any

__all__ = ["ANSI", "LONGEST_TRACEBACK", "Errors", "describe_error"]

LONGEST_TRACEBACK = 6_000  # characters

# Compiled where first used, so that importing stays cheap.
ANSI = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))"


class Errors(str):
    """What ``{Err}`` is: the last error's text. Behind ``[n]`` stands that of cell ``n``.

    Args:
        last: The text.
        told: By a cell's number, what IPython keeps of its error.
    """

    _told: Mapping[int, Mapping[str, Any]]

    def __new__(cls, last: str, told: Mapping[int, Mapping[str, Any]]) -> Errors:
        made = super().__new__(cls, last)
        made._told = told
        return made

    def __getitem__(self, number: Any) -> str:
        """The text of a cell's error.

        Raises:
            KeyError: The cell had none.
        """
        text = re.sub(ANSI, "", "\n".join(map(str, self._told[number]["traceback"])))
        return text[-LONGEST_TRACEBACK:]


def describe_error(error: BaseException | None) -> str:
    """A traceback as plain text, without colours and without IPython's own frames.

    Args:
        error: The exception, with its causes and contexts, or ``None``.

    Returns:
        At most the last 6,000 characters, on whole lines; empty where there is no error.
    """
    if error is None:
        return ""
    summary = traceback.TracebackException.from_exception(error)
    _drop_frames_of_ipython(summary)
    text = re.sub(ANSI, "", "".join(summary.format())).rstrip("\n")
    if len(text) <= LONGEST_TRACEBACK:
        return text
    mark = "...\n"
    tail = text[-(LONGEST_TRACEBACK - len(mark)) - 1 :]  # one more, to see whether a line begins there
    return mark + (tail.partition("\n")[2] or tail[1:])


def _drop_frames_of_ipython(summary: traceback.TracebackException) -> None:
    folders = tuple(
        os.path.dirname(file) + os.sep
        for name in ("IPython", "ipykernel")
        if (file := getattr(sys.modules.get(name), "__file__", None))
    )
    waiting, seen = [summary], set[int]()
    while waiting:
        part = waiting.pop()
        seen.add(id(part))
        own = [frame for frame in part.stack if not (folders and frame.filename.startswith(folders))]
        part.stack = traceback.StackSummary.from_list(own)
        linked = (part.__cause__, part.__context__, *(part.exceptions or ()))
        waiting += [other for other in linked if other is not None and id(other) not in seen]
