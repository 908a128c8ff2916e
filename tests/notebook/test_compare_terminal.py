"""``%%farm_compare`` in a real terminal: painted over while models stream, then left as one whole."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

pytestmark = pytest.mark.kernel

PATIENCE_S = 60
PROMPT = r"In \[\d+\]: "
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r")
UP_AND_CLEARED = "\x1b[1A\x1b[2K"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Any]:
    """Terminal IPython with the extension loaded, 100 characters wide."""
    process: Any = pexpect.spawn(
        sys.executable,
        ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=nocolor", "--no-confirm-exit"],
        env={
            **os.environ,
            "FARM_MODEL": "scripted:echo",
            "TERM": "xterm",
            "IPYTHONDIR": str(tmp_path),
            "FARM_CACHE_DIR": str(tmp_path),
        },
        encoding="utf-8",
        timeout=PATIENCE_S,
        dimensions=(30, 100),
    )
    process.expect(PROMPT)
    process.sendline("%load_ext farm_notebook")
    process.expect(PROMPT)
    yield process
    process.sendline("exit")
    process.expect(pexpect.EOF)
    process.close()
    assert process.exitstatus == 0


def test_columns_are_painted_over_and_an_interrupt_leaves_what_arrived(terminal: Any) -> None:
    terminal.sendline("%farm_compare -m scripted:slow-600 -m scripted:count-3 --out table Hi")
    terminal.expect("word9 ")
    terminal.expect("word12 ")
    assert UP_AND_CLEARED in terminal.before
    terminal.sendintr()
    terminal.expect("InterruptedReply")
    _, figures, left = terminal.before.rpartition("first token  tokens/s")
    assert figures, "the table is printed"
    assert "\x1b[?25h" in terminal.before, "the cursor is there again"
    lines = [line.strip() for line in CONTROLS.sub("", left).splitlines()]
    assert any(re.search(r"^scripted:slow-600 .* interrupted$", line) for line in lines)
    assert any(re.search(r"^scripted:count-3 .* done$", line) for line in lines)
    assert any(re.search(r"^word0 word1 .* {3,}word0 word1 word2$", line) for line in lines), "side by side"
    terminal.expect(PROMPT)
    terminal.sendline("list(table.outcome)")
    terminal.expect(re.escape("['interrupted', 'done']"))
    terminal.expect(PROMPT)
