"""How long a kernel's heartbeat stays away while transformers is imported, loads a model and answers in it.

A front end that waits too long for its ping says that the kernel is gone. The ping is answered by a thread of
the kernel, so its longest round trip tells how long nothing else of the process could run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import zmq

from benchmarks.checkpoints import TINY
from benchmarks.kernels import Kernel
from benchmarks.measure import Settings, clean_environment, run_child, spread
from benchmarks.model_files import small_model
from benchmarks.report import Row, Table

ROUNDS = 3
PING_S = 0.005  # between two pings
GOAL_MS = 50.0

_SETUP = """
from farm_notebook import Farm
model, other = "huggingface:%s", "huggingface:%s"
farm = Farm(cache={"enabled": False}, model=model)
"""
# What a user does, phase by phase.
PHASES = {
    "import and load": "for _ in farm.models.load(): pass",
    "a first answer of 5 tokens": "farm.chat('Write a long story.', max_tokens=5)",
    "an answer of 60 tokens": "farm.chat('Write a long story.', max_tokens=60)",
    "reload": "for _ in farm.models.reload(): pass",
    "swap, the other from disk": "for _ in farm.models.swap(model, other): pass",
    "swap, back from host memory": "for _ in farm.models.swap(other, model): pass",
    "unload": "farm.models.unload()",
    "load again": "for _ in farm.models.load(): pass",
}
LOADS = ("import and load", "reload", "load again")
_BY_HAND = """
import transformers
transformers.AutoModelForCausalLM.from_pretrained(%r, **%r)
"""


def run(settings: Settings) -> Table:
    """Fresh kernels, one a round, and one that loads the same file by hand."""
    if find_spec("transformers") is None:
        return Table("heartbeat", "The heartbeat.", (), ('pip install "farm-notebook[huggingface]"',))
    path, what = small_model()
    title = (
        "The longest round trip of a kernel's heartbeat, pinged every 5 ms, in each phase of a model of "
        f"transformers in it, {what}; medians (least to greatest) of fresh kernels."
    )
    taken: dict[str, list[float]] = {phase: [] for phase in PHASES}
    by_hand: list[float] = []
    with clean_environment() as environment, TemporaryDirectory() as other:
        run_child("model_checkpoint", TINY.name, "cpu", other)
        environment |= {"HF_HUB_OFFLINE": "1"}
        for _ in range(settings.rounds or ROUNDS):
            with Kernel(environment) as kernel:
                kernel.execute(_SETUP % (path, other))
                for phase, code in PHASES.items():
                    with _longest_ms(kernel, taken[phase]):
                        kernel.execute(code)
            with Kernel(environment) as kernel, _longest_ms(kernel, by_hand):
                kernel.execute(_BY_HAND % _place(path))
    peer = f"from_pretrained in the cell: {median(by_hand):.0f} ms"
    rows = [
        Row(
            phase,
            spread(values, "ms", 1),
            peer if phase in LOADS else "",
            median(values) / median(by_hand) if phase in LOADS else None,
            f"≤ {GOAL_MS:g} ms",
            max(values) <= GOAL_MS,
        )
        for phase, values in taken.items()
    ]
    return Table("heartbeat", title, tuple(rows), ("A goal is met where the greatest value meets it.",))


def _place(path: Path) -> tuple[str, dict[str, Any]]:
    """A folder and the options with which ``from_pretrained`` finds a model."""
    return (str(path), {}) if path.is_dir() else (str(path.parent), {"gguf_file": path.name})


@contextmanager
def _longest_ms(kernel: Kernel, taken: list[float]) -> Iterator[None]:
    """Ping the kernel while the block lasts, and add its longest round trip to ``taken``."""
    longest_s = 0.0
    is_over = threading.Event()

    def ping() -> None:
        nonlocal longest_s
        socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REQ)
        socket.connect(kernel.heartbeat_url)
        while not is_over.is_set():
            sent = time.perf_counter()
            socket.send(b"ping")
            socket.recv()
            longest_s = max(longest_s, time.perf_counter() - sent)
            time.sleep(PING_S)
        socket.close(0)

    thread = threading.Thread(target=ping)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        taken.append(longest_s * 1e3)
