"""``--tool``, ``--confirm`` and ``--schema`` as a person sees them in JupyterLab."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest
from playwright.sync_api import Page

from .lab import READY_S, LabServer, NotebookPage, farm_outputs, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

OpenNotebook: TypeAlias = Callable[[Sequence[str]], NotebookPage]

LOAD = "%load_ext farm_notebook"
DEFINITIONS = '''\
from pydantic import BaseModel

def weather(city: str) -> str:
    """The weather in a city."""
    print("looking out in", city)
    return f"rain in {city}"

class City(BaseModel):
    name: str
    population: int'''
HOSTILE = '<img src=x onerror="window.pwned=1"> </code><script>window.pwned=1</script> $x<b onclick="1">$'


def test_a_call_stands_above_what_it_prints_and_the_answer_below(
    lab: LabServer, page: Page, pictures: Path
) -> None:
    ask = '%%farm_chat -m scripted:call --tool weather\n{"city": "Rome"}'
    value = '%%farm_chat -m scripted:echo --schema City\n{"name": "Rome", "population": 3}'
    notebook = NotebookPage.create(lab, page, "tools", [LOAD, DEFINITIONS, ask, value])
    for index in range(4):
        notebook.run(index)
    call, printed, answer = notebook.rendered(2).all_inner_texts()
    assert call.startswith('weather(city="Rome") → rain in Rome')
    assert printed.strip() == "looking out in Rome"
    assert answer.startswith("rain in Rome")
    assert notebook.rendered(2).locator("li code").count() == 2
    assert notebook.outputs(3).count() == 1
    assert '"name": ""' in notebook.text(3)
    page.screenshot(path=pictures / "tools-lab.png")
    (told,) = farm_outputs(notebook.save()["cells"][2])
    assert told["metadata"]["farm"]["steps"][0]["calls"][0]["result"] == "rain in Rome"


def test_the_question_before_a_call_is_answered_in_the_cell(open_notebook: OpenNotebook) -> None:
    notebook = open_notebook(
        [LOAD, DEFINITIONS, '%%farm_chat -m scripted:call --tool weather --confirm\n{"city": "Rome"}']
    )
    notebook.run(0)
    notebook.run(1)
    notebook.start(2)
    box = notebook.cells.nth(2).locator("input.jp-Stdin-input")
    box.wait_for(timeout=READY_S * 1e3)
    assert 'Call weather(city="Rome")?' in notebook.cells.nth(2).inner_text()
    box.fill("y")
    box.press("Enter")
    notebook.wait_until_done(2)
    assert "looking out in Rome" in notebook.text(2)
    notebook.wait_for_text(2, "called weather")


def test_what_tools_and_models_say_is_harmless(open_notebook: OpenNotebook) -> None:
    tool = f"def weather(city: str) -> str:\n    return {HOSTILE!r}"
    ask = f'%%farm_chat --no-interpolate -m scripted:call --tool weather\n{{"city": {HOSTILE!r}}}'.replace(
        repr(HOSTILE), '"' + HOSTILE.replace('"', '\\"') + '"'
    )
    notebook = open_notebook([LOAD, tool, ask])
    for index in range(3):
        notebook.run(index)
    wait_for("the call", lambda: notebook.rendered(2).locator("li code").count() == 2)
    assert HOSTILE[:10] in notebook.text(2)
    assert notebook.rendered(2).locator("img, script, b").count() == 0
    assert notebook.rendered(2).page.evaluate("window.pwned") is None
