"""A page for panels without a browser: it writes down what a widget sends, and says what views say."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import comm
import pytest
from comm.base_comm import BaseComm

from farm_notebook.config import CassetteConfig, FarmConfig
from farm_notebook.farm import Farm
from farm_notebook.types import ProviderStatus

__all__ = ["ENOUGH_S", "Page", "stub_farm"]

ENOUGH_S = 20.0  # for whatever a busy machine may be slow at


class Page:
    """One page with views of one panel; every widget that is made while it stands sends to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frames: list[dict[str, Any]] = []
        self.scripts: list[str] = []
        self.states: list[dict[str, Any]] = []  # the widgets' synced state, as it was opened or changed
        self.is_closed = False
        self._news = threading.Condition()
        self._comm: BaseComm | None = None
        self._ids = count(1)
        page = self

        class RecordingComm(BaseComm):
            def publish_msg(self, msg_type: str, data: Any = None, *_: Any, **__: Any) -> None:
                page._hear(self, msg_type, data or {})

        monkeypatch.setattr(comm, "create_comm", RecordingComm)

    def say(self, **content: Any) -> None:
        """Send a message, as a view does."""
        assert self._comm is not None
        data = {"method": "custom", "content": content}
        self._comm.handle_msg({"content": {"data": data}, "buffers": []})

    def look(self, *parts: str, view: str = "view", hello: bool = True) -> None:
        """Be a view that has appeared, and shows these parts."""
        self.say(view=view, shows=list(parts), hello=hello)

    def call(self, part: str, call: str, **args: Any) -> dict[str, Any] | None:
        """Call a part and wait for the end; its error."""
        call_id = f"call-{next(self._ids)}"
        self.say(part=part, call=call, args=args, id=call_id)
        error: dict[str, Any] | None = self.wait_for(lambda frame: frame.get("done") == call_id)["error"]
        return error

    def close_comm(self) -> None:
        """End the widget's channel, as a page may."""
        assert self._comm is not None
        self._comm.handle_close({"content": {"data": {}}})

    def wait_for(self, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first frame of a kind, also if it came already."""
        with self._news:
            assert self._news.wait_for(lambda: any(map(is_it, self.frames)), ENOUGH_S), self.frames
            return next(filter(is_it, self.frames))

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Until something holds that is asked for again with every message, and ten times a second."""
        with self._news:
            for _ in range(int(ENOUGH_S * 10)):
                if holds():
                    return
                self._news.wait(0.1)
        raise AssertionError("waited in vain")

    @property
    def state(self) -> dict[str, Any]:
        """All slices as the page knows them."""
        known: dict[str, Any] = {}
        for frame in tuple(self.frames):
            known |= frame.get("state", {}) | frame.get("set", {})
        return known

    def _hear(self, sender: BaseComm, kind: str, data: dict[str, Any]) -> None:
        with self._news:
            self._comm = sender
            if kind == "comm_close":
                self.is_closed = True
            elif data.get("method") == "custom":
                self.frames += data["content"].get("frames", [])
                self.scripts += [data["content"]["script"]] if "script" in data["content"] else []
            elif "state" in data:
                self.states.append(data["state"])
            self._news.notify_all()


def stub_farm(
    *statuses: ProviderStatus, error: Exception | None = None, cassette: CassetteConfig | None = None
) -> Farm:
    """A farm whose providers say this of themselves; ``asked`` counts how often."""

    async def health(*, refresh: bool = False) -> list[ProviderStatus]:
        farm.asked += 1
        if farm.error is not None:
            raise farm.error
        return list(farm.statuses)

    config = FarmConfig()
    settings = cassette or config.cassette
    tape = SimpleNamespace(settings=settings, path=settings.file)
    core = SimpleNamespace(health=health, config=config, tape=tape)
    farm = SimpleNamespace(core=core, config=config, statuses=statuses, error=error, asked=0)
    return cast(Farm, farm)
