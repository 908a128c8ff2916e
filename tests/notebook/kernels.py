"""A real Jupyter kernel, seen from its client as a front end sees it."""

from __future__ import annotations

import ast
import os
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

__all__ = ["PATIENCE_S", "Cell", "Kernel"]

PATIENCE_S = 60.0  # far beyond what anything here takes; a test fails by it, none passes by it


class Kernel:
    """A kernel with the extension loaded, and everything it has said so far."""

    def __init__(self, **environment: str) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(env={**os.environ, **environment})
        self.client: BlockingKernelClient = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE_S)
        self.log: list[tuple[float, dict[str, Any]]] = []
        self._sent: list[str] = []
        self._replies: dict[str, dict[str, Any]] = {}
        assert self.run("%load_ext farm_notebook").status == "ok"
        self.pid = int(self.value("__import__('os').getpid()"))

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def start(self, code: str) -> Cell:
        """Send a cell and do not wait for it."""
        self._sent.append(self.client.execute(code, store_history=True))
        return Cell(self, self._sent[-1])

    def run(self, code: str) -> Cell:
        """Send a cell and wait until it has ended."""
        return self.start(code).ended()

    def value(self, expression: str) -> Any:
        """The value of an expression in the kernel, as far as it can be written as a literal."""
        sent = self.client.execute("", store_history=False, user_expressions={"value": f"repr({expression})"})
        found = self.reply(sent)["user_expressions"]["value"]
        assert found["status"] == "ok", found
        return ast.literal_eval(ast.literal_eval(found["data"]["text/plain"]))

    def rest(self) -> None:
        """Stop what a failed test has left running, or every later one would wait for it."""
        give_up_at = time.monotonic() + PATIENCE_S
        while any(sent not in self._replies for sent in self._sent) and time.monotonic() < give_up_at:
            self.interrupt()
            self._read_reply(5.0)

    def interrupt(self) -> float:
        """Press the button; the moment at which it was pressed."""
        pressed_at = time.monotonic()
        self.manager.interrupt_kernel()
        return pressed_at

    def wait_for(self, holds: Callable[[], bool]) -> None:
        """Read what the kernel says until something holds."""
        give_up_at = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < give_up_at, f"waited in vain; the last words: {self.log[-5:]}"
            try:
                message = self.client.get_iopub_msg(timeout=0.5)
            except Empty:
                continue
            self.log.append((time.monotonic(), message))

    def reply(self, sent: str) -> dict[str, Any]:
        """What the kernel answers to a request."""
        give_up_at = time.monotonic() + PATIENCE_S
        while sent not in self._replies:
            assert time.monotonic() < give_up_at
            self._read_reply(0.5)
        return self._replies[sent]

    def _read_reply(self, timeout_s: float) -> None:
        """Take the next reply, if one comes in time."""
        with suppress(Empty):
            message = self.client.get_shell_msg(timeout=timeout_s)
            self._replies[message["parent_header"]["msg_id"]] = message["content"]


class Cell:
    """One cell sent to the kernel."""

    def __init__(self, kernel: Kernel, sent: str) -> None:
        self._kernel = kernel
        self._sent = sent

    def ended(self) -> Cell:
        self._kernel.wait_for(lambda: self.idle_at is not None)
        self._kernel.reply(self._sent)
        return self

    @property
    def content(self) -> dict[str, Any]:
        return self._kernel.reply(self._sent)

    @property
    def status(self) -> str:
        return str(self.content["status"])

    @property
    def count(self) -> int:
        return int(self.content["execution_count"])

    @property
    def said(self) -> list[tuple[float, str, dict[str, Any]]]:
        """When, of what type and what: every message of this cell."""
        return [
            (at, message["msg_type"], message["content"])
            for at, message in self._kernel.log
            if message["parent_header"].get("msg_id") == self._sent
        ]

    @property
    def idle_at(self) -> float | None:
        idle = [
            at
            for at, kind, content in self.said
            if (kind, content.get("execution_state")) == ("status", "idle")
        ]
        return idle[0] if idle else None

    @property
    def paintings(self) -> list[tuple[float, dict[str, Any]]]:
        """When and what was displayed, painted over or not."""
        kinds = ("display_data", "update_display_data")
        return [(at, content) for at, kind, content in self.said if kind in kinds]

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """The cell's outputs as a front end would save them."""
        outputs: list[dict[str, Any]] = []
        clear = False
        for _, kind, content in self.said:
            if kind == "clear_output":
                clear = True
            elif kind == "update_display_data":
                shown = content["transient"]["display_id"]
                assert any(output.get("transient", {}).get("display_id") == shown for output in outputs)
                for output in outputs:
                    if output.get("transient", {}).get("display_id") == shown:
                        output.update(data=content["data"], metadata=content["metadata"])
            elif kind in ("display_data", "stream", "error", "execute_result"):
                if clear:
                    outputs.clear()
                    clear = False
                outputs.append({"type": kind, **content})
        return outputs

    @property
    def answers(self) -> list[dict[str, Any]]:
        """The outputs that are answers of a model."""
        return [output for output in self.outputs if "farm" in output.get("metadata", {})]

    @property
    def text(self) -> str:
        """All that is printed."""
        return "".join(output["text"] for output in self.outputs if output["type"] == "stream")

    def has_painted(self, words: str) -> bool:
        return any(words in str(content["data"]) for _, content in self.paintings)
