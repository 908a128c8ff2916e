"""What a reader without a kernel sees of a panel: whole, sanitised, and without a broken widget."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from farm_notebook.widgets.outbox import Slices
from farm_notebook.widgets.part import Part
from farm_notebook.widgets.static_output import StaticOutput

from .pages import ENOUGH_S, stub_farm

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class Text(Part):
    name: ClassVar[str] = "text"
    text = "one"

    def slices(self) -> Slices:
        return {}

    def static_html(self) -> str:
        return f"<p>{self.text}</p>"

    def static_text(self) -> str:
        return self.text


class Shell:
    """What is published, and whether each was an update."""

    def __init__(self) -> None:
        self.published: list[tuple[bool, dict[str, str]]] = []
        self.ids: set[str] = set()
        self.news = asyncio.Event()
        self.display_pub = SimpleNamespace(publish=self._publish)

    def _publish(self, *, data: dict[str, str], transient: dict[str, str], update: bool, **_: Any) -> None:
        self.published.append((update, data))
        self.ids.add(transient["display_id"])
        self.news.set()


async def test_it_is_made_anew_once_in_a_while_however_often_the_state_settles() -> None:
    part, shell = Text(stub_farm()), Shell()
    static = StaticOutput("cafe", [part], period_s=0.05)
    static.publish(cast(Any, shell))
    shell.news.clear()
    for text in ("two", "three", "four"):
        part.text = text
        static.update()
    async with asyncio.timeout(ENOUGH_S):
        await shell.news.wait()
    assert [(update, data["text/plain"]) for update, data in shell.published] == [
        (False, "one"),
        (True, "four"),
    ]
    assert len(shell.ids) == 1


async def test_an_update_that_would_change_nothing_is_not_sent() -> None:
    shell = Shell()
    static = StaticOutput("cafe", [Text(stub_farm())])
    await static.update_now()
    static.publish(cast(Any, shell))
    await static.update_now()
    assert len(shell.published) == 1


@pytest.mark.kernel
@pytest.mark.slow
def test_a_notebook_that_is_run_and_exported_without_a_page_tells_all() -> None:
    source = "import farm_notebook as farm\nfarm.HealthPanel()"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(notebook, kernel_name="python3").execute()
    live, static = notebook.cells[0].outputs
    assert (set(live.data), live.data["text/plain"]) == ({WIDGET_VIEW, "text/plain"}, "")
    for text in static.data.values():
        assert "llamacpp" in text
        assert "Asked on" in text
    page, _ = HTMLExporter().from_notebook_node(notebook)  # type: ignore[no-untyped-call]
    assert '<div class="farm-static' in page
    assert page.count("Asked on") == 1
    assert "not found" not in page
