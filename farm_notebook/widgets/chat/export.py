"""Writes a conversation into a file beside the notebook, and never over another one."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from farm_notebook.errors import InvalidRequestError
from farm_notebook.threads import Exchange
from farm_notebook.widgets.chat.transcript import as_notebook

__all__ = ["write_notebook"]


def write_notebook(thread: str, exchanges: Sequence[Exchange], folder: Path) -> Path:
    """The file that was written: ``chat-THREAD.ipynb``, or with a number where there is one already.

    Args:
        thread: The conversation's name.
        exchanges: What was said in it.
        folder: Where to.

    Raises:
        InvalidRequestError: It cannot be written there.
    """
    text = json.dumps(as_notebook(exchanges), ensure_ascii=False, indent=1) + "\n"
    stem = f"chat-{re.sub(r'[^0-9A-Za-z._-]+', '-', thread)[:60].strip('-.') or 'thread'}"
    for name in chain((stem,), (f"{stem}-{number}" for number in count(2))):
        path = folder / f"{name}.ipynb"
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            continue
        except OSError as error:
            raise InvalidRequestError(f"{path} cannot be written: {error.strerror or error}.") from error
        return path
    raise AssertionError("there is always another number")
