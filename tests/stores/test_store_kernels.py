"""Two real kernels share one file of answers, whatever becomes of either of them."""

from __future__ import annotations

import ast
import contextlib
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from farm_notebook.config import load_config
from farm_notebook.recording import load, replay
from farm_notebook.types import Finished

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

PATIENCE_S = 90.0  # far beyond what anything here takes
QUESTIONS = 60
SETUP = """
import random
from farm_notebook import Farm
farm = Farm(model="scripted:echo", cache_dir={folder!r}, cache={{"enabled": True}})

def ask(count, seed):
    numbers, cached = random.Random(seed).sample(range({questions}), {questions}), 0
    for number in range(count):
        question = f"question {{numbers[number % {questions}]}} " + "at some length " * 200
        reply = farm.chat(question, temperature=0)
        assert reply.text.strip() == question.strip(), reply.text
        cached += reply.cached
    return cached
"""


class Kernel:
    """A kernel with a farm on the shared folder."""

    def __init__(self, folder: Path) -> None:
        self._manager = KernelManager(kernel_name="python3")
        self._manager.start_kernel(env=dict(os.environ))
        self._client: BlockingKernelClient = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=PATIENCE_S)
        self.ended(self.start(SETUP.format(folder=str(folder), questions=QUESTIONS)))
        self.pid = self.value("__import__('os').getpid()")

    def start(self, code: str) -> str:
        """Send a cell, and do not wait for it."""
        sent: str = self._client.execute(code)
        return sent

    def ended(self, sent: str) -> None:
        """Wait until a cell has ended, without an error and without a word."""
        while True:
            message: dict[str, Any] = self._client.get_iopub_msg(timeout=PATIENCE_S)
            if message["parent_header"].get("msg_id") != sent:
                continue
            kind, content = message["msg_type"], message["content"]
            assert kind not in ("error", "stream"), content
            if kind == "status" and content["execution_state"] == "idle":
                return

    def value(self, expression: str) -> Any:
        """The value of an expression, as far as it can be written as a literal."""
        sent = self._client.execute("", user_expressions={"value": f"repr({expression})"})
        while (reply := self._client.get_shell_msg(timeout=PATIENCE_S))["parent_header"]["msg_id"] != sent:
            pass
        return ast.literal_eval(
            ast.literal_eval(reply["content"]["user_expressions"]["value"]["data"]["text/plain"])
        )

    def kill(self) -> None:
        """End it as ``kill -9`` does, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(self.pid).wait(PATIENCE_S)

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """A function that starts a kernel; all are closed in the end."""
    with contextlib.ExitStack() as stack:

        def kernel() -> Kernel:
            started = Kernel(tmp_path)
            stack.callback(started.close)
            return started

        yield kernel


def whole_answers(path: Path) -> int:
    """How many answers are kept; fails where one of them is not whole, or the file is not."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        values = [value for (value,) in connection.execute("SELECT value FROM answers")]
    assert all(isinstance(replay(load(value))[-1], Finished) for value in values)
    return len(values)


def test_two_kernels_share_answers_and_one_that_is_killed_takes_none_with_it(
    start: Any, tmp_path: Path
) -> None:
    one, other = start(), start()
    path = load_config({"cache_dir": tmp_path}).answers_path
    sent = [(kernel, kernel.start(f"ask(400, {seed})")) for seed, kernel in enumerate((one, other))]
    for kernel, cell in sent:
        kernel.ended(cell)
    assert one.value(f"ask({QUESTIONS}, 7)") == other.value(f"ask({QUESTIONS}, 8)") == QUESTIONS
    for seed in range(3):
        going_on = one.start(f"farm.cache_clear(); ask(300, {seed})")
        other.start(f"ask(100_000, {seed})")
        one.ended(going_on)
        other.kill()
        one.ended(one.start(f"ask({QUESTIONS}, {seed}); farm.cache_stats()"))
        assert whole_answers(path) == QUESTIONS
        other = start()
    assert one.value(f"ask({QUESTIONS}, 10)") == QUESTIONS
    assert other.value(f"ask({QUESTIONS}, 11)") == QUESTIONS
    assert not list(tmp_path.glob("*.corrupt-*"))
