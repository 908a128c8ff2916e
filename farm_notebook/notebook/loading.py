"""A load as a cell shows it: a line that says how far it is, and stays as its outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TYPE_CHECKING

from farm_notebook.errors import FarmError
from farm_notebook.types import LoadProgress

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["follow"]


def follow(
    shell: InteractiveShell,
    what: str,
    loading: Generator[LoadProgress, None, None],
    *,
    outcome: Callable[[float], str],
    left: Callable[[], str],
) -> None:
    """Show a load until it has ended. To interrupt the cell stops it.

    Args:
        shell: Whose cell it is.
        what: Is loaded, in words.
        loading: The load.
        outcome: Gets the seconds that it took; what the line says in the end.
        left: What is there where it failed or was stopped, in a sentence; maybe empty.

    Raises:
        KeyboardInterrupt: The user stopped it.
        FarmError: It failed.
    """
    from farm_notebook.notebook.status import StatusLine
    from farm_notebook.progress import LoadSteps

    line, steps, begun = StatusLine(shell), LoadSteps(what), time.monotonic()
    try:
        with closing(loading):
            for step in loading:
                line.show(steps.describe(step))
    except KeyboardInterrupt:
        line.discard()
        raise KeyboardInterrupt(" ".join(["You stopped it.", *filter(None, [left()])])) from None
    except FarmError:
        if told := left():
            line.end(told)
        else:
            line.discard()
        raise
    except BaseException:
        line.discard()
        raise
    line.end(outcome(time.monotonic() - begun))
