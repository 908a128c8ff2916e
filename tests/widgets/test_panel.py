"""The widget between page and parts: messages find their part, state is told, and closing leaves nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from farm_notebook import loop
from farm_notebook.widgets import panel as panel_module
from farm_notebook.widgets.calls import Handler
from farm_notebook.widgets.outbox import Slices
from farm_notebook.widgets.panel import Panel
from farm_notebook.widgets.part import Part
from farm_notebook.widgets.views import GONE_S

from .pages import Page, stub_farm

SECRET = "what the model said"


class Toy(Part):
    def __init__(self, name: str) -> None:
        super().__init__(stub_farm())
        self.name = name  # type: ignore[misc]
        self.text = SECRET
        self.threads: list[str] = []
        self.is_seen = False

    def slices(self) -> Slices:
        return {"text": self.text}

    def calls(self) -> Mapping[str, Handler]:
        return {"say": self._say, "hang": self._hang, "odd": self._odd}

    def shown(self) -> None:
        self.is_seen = True

    def hidden(self) -> None:
        self.is_seen = False

    def static_html(self) -> str:
        return f"<p>{self.text}</p>"

    def static_text(self) -> str:
        return self.text

    async def _say(self, text: str) -> None:
        self.threads.append(threading.current_thread().name)
        self.text = text
        self.set(text=text)
        self.settled()

    async def _hang(self) -> None:
        await asyncio.Event().wait()

    async def _odd(self) -> None:
        self.set(text=object())


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def no_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel_module, "built", lambda entry: (f"/* {entry} */", ""))


def panel_of(*names: str, clock: Clock | None = None) -> tuple[Panel, list[Toy]]:
    parts = [Toy(name) for name in names]
    return Panel("toy", parts, clock=clock or Clock()), parts


def test_a_view_that_says_hello_gets_the_state_of_every_part(page: Page) -> None:
    _, (one, two) = panel_of("one", "two")
    one.text, two.text = "1", "2"
    page.look("one")
    page.wait_until(lambda: len(page.frames) == 2)
    assert page.frames == [{"state": {"text": "1"}}, {"state": {"text": "2"}}]


def test_a_call_reaches_its_part_on_the_farms_loop(page: Page) -> None:
    _, (one, two) = panel_of("one", "two")
    page.look()
    assert page.call("two", "say", text="hello") is None
    assert (one.text, two.text) == (SECRET, "hello")
    assert two.threads == ["farm-loop"]


def test_the_script_is_sent_to_who_wants_it_and_is_not_in_the_widgets_state(page: Page) -> None:
    panel, _ = panel_of("one")
    assert "/* toy */" not in json.dumps(panel.get_state(), default=str)
    page.say(wants="script")
    page.wait_until(lambda: bool(page.scripts))
    assert page.scripts == ["/* toy */"]
    assert panel.get_state()["script_id"].startswith("toy-")


def test_nothing_but_constants_is_in_the_widgets_state(page: Page) -> None:
    panel, _ = panel_of("one")
    page.look()
    page.call("one", "say", text="a secret answer")
    state = json.dumps([page.states, panel.get_state()], default=str)
    assert SECRET not in state
    assert "a secret answer" not in state
    assert panel.get_state()["part_names"] == ["one"]
    assert len(page.states) == 2, "nothing is synced after it and its layout were opened"


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"part": "three", "call": "say", "args": {}, "id": "1"},
        {"part": "one", "call": "say", "args": [], "id": "1"},
        {"part": "one", "call": 3, "args": {}, "id": "1"},
        {"view": 3, "shows": []},
        {"view": "v", "shows": "one"},
    ],
)
def test_a_message_that_is_not_understood_is_logged_and_harms_nothing(
    page: Page, message: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    panel_of("one")
    with caplog.at_level(logging.WARNING):
        page.say(**message)
        page.look()
        assert page.call("one", "say", text="hello") is None
    assert "does not understand" in caplog.text


def test_a_part_is_seen_while_any_view_shows_it(page: Page) -> None:
    _, (one, two) = panel_of("one", "two")
    page.look("one", view="a")
    page.look("one", "two", view="b")
    page.wait_until(lambda: one.is_seen and two.is_seen)
    page.look("one", view="b", hello=False)
    page.wait_until(lambda: one.is_seen and not two.is_seen)
    page.say(view="a", bye=True)
    page.say(view="b", bye=True)
    page.wait_until(lambda: not one.is_seen)


def test_a_view_that_fell_silent_shows_nothing(page: Page) -> None:
    clock = Clock()
    _, (one, two) = panel_of("one", "two", clock=clock)
    page.look("one", view="a")
    page.wait_until(lambda: one.is_seen)
    clock.now += GONE_S
    page.look("two", view="b")
    page.wait_until(lambda: two.is_seen and not one.is_seen)


@pytest.mark.parametrize("way", ["close", "comm", "shutdown"])
def test_a_panel_that_ends_leaves_no_work(page: Page, way: str) -> None:
    closers = list(loop._closers)
    panel, (one,) = panel_of("one")
    page.look("one")
    page.say(part="one", call="hang", args={}, id="1")
    page.wait_for(lambda frame: frame.get("ack") == "1")
    if way == "close":
        panel.close()
    elif way == "comm":
        page.close_comm()
    else:
        loop.run_blocking(panel.aclose())
    page.wait_until(lambda: not one.is_seen and not one._tasks)
    assert loop._closers == closers


def test_a_value_that_is_no_json_does_not_stop_the_part(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    panel, _ = panel_of("one")

    def send(content: Any, buffers: Any = None) -> None:
        json.dumps(content)
        page.frames.extend(content["frames"])

    panel.send = send  # the kernel's own raises as well
    page.say(part="one", call="odd", args={}, id="1")
    with caplog.at_level(logging.WARNING):
        page.wait_until(lambda: "could not be sent" in caplog.text)
    page.say(part="one", call="say", args={"text": "goes on"}, id="2")
    page.wait_until(lambda: any(frame.get("done") == "2" for frame in page.frames))


def test_a_page_gets_messages_on_the_channel_it_chose(page: Page) -> None:
    panel, _ = panel_of("one")
    assert panel.comm._reply_subshell_for is None


def test_panels_of_one_kind_share_a_stylesheet_and_others_do_not(page: Page) -> None:
    ids = [Panel(entry, [Toy("one")])._anywidget_id for entry in ("chat", "chat", "gpu")]
    assert ids[0] == ids[1] != ids[2]


def test_in_a_terminal_a_panel_is_text(page: Page, capsys: pytest.CaptureFixture[str]) -> None:
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    try:
        panel, _ = panel_of("one")
        shell.displayhook(panel)
        assert SECRET in capsys.readouterr().out
    finally:
        InteractiveShell.clear_instance()


def test_a_front_end_that_asks_for_a_bundle_gets_the_widget_and_the_text(page: Page) -> None:
    panel, _ = panel_of("one")
    data, _ = panel._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.model_id
    assert data["text/plain"] == SECRET


WITHOUT_WIDGETS = """
import sys
sys.modules["anywidget"] = None
import farm_notebook
from farm_notebook import *  # noqa: F403
from farm_notebook.errors import MissingExtraError
try:
    HealthPanel()
except MissingExtraError as error:
    print(error)
"""


def test_without_the_extra_a_panel_names_it_and_all_else_works() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_WIDGETS], capture_output=True, text=True, check=True)
    assert 'Run: pip install "farm-notebook[widgets]"' in done.stdout
