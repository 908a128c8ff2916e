"""Embedding many texts, a batch at a time, and Ctrl-C at any moment of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from farm_notebook.notebook.embedding import BATCH, embed_texts
from farm_notebook.notebook.session import Session
from farm_notebook.notebook.status import StatusLine


class InterruptedLine(StatusLine):
    """Ctrl-C comes while the second batch is told of."""

    told = 0

    def show(self, text: str) -> None:
        self.told += 1
        if self.told == 2:
            raise KeyboardInterrupt


def test_an_interrupt_between_two_batches_says_what_is_kept() -> None:
    shell: Any = SimpleNamespace(user_ns={}, history_manager=None)
    texts = [f"text {number}" for number in range(2 * BATCH)]
    with pytest.raises(KeyboardInterrupt, match=f"You stopped it after {BATCH} texts"):
        embed_texts(Session(shell), texts, model="scripted:echo", line=InterruptedLine(shell))
