"""The far side of a request: a faulty server in a dialect, and the farms that were pointed at it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psutil
from faulty_server import FaultyServer, Script, Step, closed_port

from farm_notebook.farm import AsyncFarm, Farm
from farm_notebook.reply import Reply
from farm_notebook.types import ChatRequest
from faults.dialects import Dialect, as_chunk, as_json, whole

TEXT = "one two three"  # of the stream that a dialect's ``parts`` are
SOON_S = 1.0  # within which a far side sees that nobody waits for it any more
SHORT_S = 0.25  # of a timer that is to run out
LONG_S = 20.0  # of one that is not


@dataclass
class FarSide:
    """A server that fails on cue, in the words of one dialect."""

    dialect: Dialect
    server: FaultyServer

    def __post_init__(self) -> None:
        self._farms: list[Farm] = []
        for path, (status, body) in self.dialect.elsewhere.items():
            self.server.play((whole(as_json(body), status=status),), at=path)

    def play(self, *scripts: Script) -> None:
        """Answer chat requests with these scripts in turn, then with the last."""
        self.server.play(*scripts, at=self.dialect.at)

    def farm(self, timeouts: Mapping[str, float] | None = None, *, url: str | None = None) -> Farm:
        """A farm of this server, or of another URL, that asks once and knows no other server.

        Timers that are not set are long.
        """
        limits = {"connect_s": LONG_S, "first_event_s": LONG_S, "idle_s": LONG_S, "total_s": LONG_S}
        nowhere = f"http://127.0.0.1:{closed_port()}"
        others = {"openai": {"base_url": nowhere}, "ollama": {"url": nowhere}}
        settings = {**others, **self.dialect.settings(url or self.server.url)}
        farm = Farm(timeouts={**limits, **(timeouts or {})}, retry={"attempts": 1}, **settings)
        self._farms.append(farm)
        return farm

    def chat(self, *script: Step) -> Reply:
        """The answer, where the server plays a script."""
        self.play(script)
        return self.farm().chat("hello", model=self.dialect.ref)

    def request(self, core: AsyncFarm) -> ChatRequest:
        """The request that ``chat`` makes."""
        return core.request("hello", model=self.dialect.ref)

    def is_left(self, within_s: float = SOON_S) -> bool:
        """Whether the connection of the last chat request has ended, or does in time."""
        return self.server.asked(self.dialect.at)[-1].is_over.wait(within_s)

    def open_connections(self) -> list[Any]:
        """Sockets of this process that lead to the server, or try to."""
        return connections_to(self.server.port)

    def close(self) -> None:
        """Close every farm."""
        for farm in self._farms:
            farm.close()


def begun(dialect: Dialect, *texts: str) -> bytes:
    """A stream's head, in chunks, and its first deltas."""
    head = dialect.head("transfer-encoding: chunked")
    return head + b"".join(map(as_chunk, filter(None, [dialect.opening, *map(dialect.delta, texts)])))


def connections_to(port: int) -> list[Any]:
    """Sockets of this process that lead to a port of this machine, or try to."""
    return [c for c in psutil.Process().net_connections("tcp") if c.raddr and c.raddr.port == port]


def until(condition: Callable[[], bool], within_s: float = SOON_S) -> bool:
    """Whether a condition comes to hold in time; for what nothing tells of when it happens."""
    give_up_at = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.005)
    return True
