"""A real ipykernel and what it sends: each iopub message of a cell, its moment and its bytes on the wire."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import psutil
import zmq
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from benchmarks.measure import ROOT

__all__ = ["Cell", "Kernel", "Message"]

START_TIMEOUT_S = 60.0
CELL_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Message:
    """One iopub message; ``received_s`` is ``time.perf_counter``, ``wire_bytes`` counts all its frames."""

    kind: str
    content: dict[str, Any]
    metadata: dict[str, Any]
    received_s: float
    wire_bytes: int

    @property
    def text(self) -> str:
        """What a front end would show of it; empty where nothing."""
        if self.kind == "stream":
            return str(self.content["text"])
        data = self.content.get("data", {})
        return str(data.get("text/markdown") or data.get("text/plain") or "")

    @property
    def is_output(self) -> bool:
        """Whether it changes what a front end shows."""
        return self.kind in ("stream", "display_data", "update_display_data", "execute_result")


@dataclass(frozen=True, slots=True)
class Cell:
    """What one executed cell did: all its iopub messages, its processor time and the expressions' values."""

    messages: tuple[Message, ...]
    sent_s: float
    cpu_s: float
    values: dict[str, str]

    @property
    def wire_bytes(self) -> int:
        """Bytes of all messages, status and echo of the input included."""
        return sum(message.wire_bytes for message in self.messages)


class Kernel:
    """One kernel, started on entering and killed on leaving.

    Args:
        environment: Variables for the kernel, besides those of this process.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._manager = KernelManager(kernel_name="python3")
        self._client: BlockingKernelClient
        self._iopub: zmq.Socket[bytes]

    def __enter__(self) -> Kernel:
        environment = {**os.environ, **self._environment}
        self._manager.start_kernel(cwd=str(ROOT), env=environment, extra_arguments=["--log-level=ERROR"])
        self._client = self._manager.client()
        self._client.start_channels(shell=True, iopub=False, stdin=False, hb=False, control=False)
        info = self._client.get_connection_info()
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._iopub = context.socket(zmq.SUB)
        self._iopub.set_hwm(0)
        self._iopub.setsockopt(zmq.SUBSCRIBE, b"")
        self._iopub.connect(f"{info['transport']}://{info['ip']}:{info['iopub_port']}")
        give_up_at = time.monotonic() + START_TIMEOUT_S
        while not self._iopub.poll(20):  # until a status message proves that the subscription stands
            if time.monotonic() > give_up_at:
                self._stop()
                raise RuntimeError(f"The kernel said nothing for {START_TIMEOUT_S:g} s.")
            if not self._client.shell_channel.msg_ready():
                self._client.kernel_info()
        provisioner: Any = self._manager.provisioner  # a local one has the process id
        self._process = psutil.Process(provisioner.pid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def heartbeat_url(self) -> str:
        """Where the kernel answers pings."""
        info = self._client.get_connection_info()
        return f"{info['transport']}://{info['ip']}:{info['hb_port']}"

    def execute(self, code: str, **expressions: str) -> Cell:
        """Run a cell and take everything it sends until it is idle.

        Args:
            code: The cell.
            expressions: Evaluated after it; their ``repr`` comes back in ``values``.

        Raises:
            RuntimeError: The cell failed; with its traceback.
        """
        before = self._cpu_s()
        sent = time.perf_counter()
        identity = self._client.execute(code, store_history=False, user_expressions=expressions)
        messages: list[Message] = []
        while not messages or messages[-1].content.get("execution_state") != "idle":
            if not self._iopub.poll(int(CELL_TIMEOUT_S * 1000)):
                raise RuntimeError(f"The cell sent nothing for {CELL_TIMEOUT_S:g} s: {code!r}")
            frames = self._iopub.recv_multipart()
            received = time.perf_counter()
            session = self._client.session
            _, parts = session.feed_identities(frames)
            message = session.deserialize(parts)
            if message["parent_header"].get("msg_id") != identity:
                continue
            size = sum(map(len, frames))
            kind, content, metadata = message["msg_type"], message["content"], message["metadata"]
            messages.append(Message(kind, content, metadata, received, size))
        cpu = self._cpu_s() - before
        reply = self._reply(identity)
        if reply["status"] != "ok":
            raise RuntimeError("\n".join(reply.get("traceback") or [str(reply)]))
        values = {
            name: value.get("data", {}).get("text/plain", "")
            for name, value in reply["user_expressions"].items()
        }
        return Cell(tuple(messages), sent, cpu, values)

    def _reply(self, identity: str) -> dict[str, Any]:
        while True:
            message = self._client.get_shell_msg(timeout=CELL_TIMEOUT_S)
            if message["parent_header"].get("msg_id") == identity:
                content: dict[str, Any] = message["content"]
                return content

    def _cpu_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _stop(self) -> None:
        self._iopub.close(0)
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
