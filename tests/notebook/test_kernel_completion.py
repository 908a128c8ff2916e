"""What a real kernel tells a front end where the cursor is, also on the first line of a cell with a body."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kernels import Kernel

pytestmark = pytest.mark.kernel

SETTING_UP = """
import dataclasses
import pandas as pd
city, docs = "Paris", ["cats purr", "dogs bark"]
df = pd.DataFrame({"review": ["good"], "stars": [5]})

@dataclasses.dataclass
class Town:
    name: str

def add(a: int, b: int) -> int:
    return a + b
"""

# The second batch of texts never comes back.
SLOW_EMBEDDING = """
import asyncio
import farm_notebook
from farm_notebook.providers.scripted import ScriptedProvider

class Slow(ScriptedProvider):
    name = "slow"
    calls = 0

    async def embed(self, texts, model):
        Slow.calls += 1
        await asyncio.sleep(0.3 if Slow.calls == 1 else 600)  # longer than a painted line stays
        return await super().embed(texts, model)

farm_notebook.register_provider(Slow)
many = [f"text {number}" for number in range(1000)]
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    folder = tmp_path_factory.mktemp("work")
    (folder / "notes.md").touch()
    (folder / "farm.toml").write_text('[aliases]\nfast = "scripted:count-2"\n')
    kernel = Kernel(FARM_MODEL="scripted:echo", FARM_CACHE_DIR=str(folder / "cache"))
    assert kernel.run(f"%cd -q {folder}").status == "ok"
    assert kernel.run("%farm config reload").status == "ok"
    assert kernel.run(SETTING_UP).status == "ok"
    yield kernel
    kernel.close()


def completed(kernel: Kernel, cell: str) -> tuple[list[str], str]:
    """What is offered with the cursor at ``|``, and what of the cell it replaces."""
    code, cursor = cell.replace("|", "", 1), cell.index("|")
    content = kernel.reply(kernel.client.complete(code, cursor))
    return content["matches"], code[content["cursor_start"] : content["cursor_end"]]


@pytest.mark.parametrize(
    ("cell", "matches", "replaced"),
    [
        # options, their values and models
        ("%%farm_chat --mod|\nTell me.", ["--model", "--model-parameters"], "--mod"),
        ("%%farm_chat -f m|\nTell me.\nMore.", ["markdown", "math"], "m"),
        ("%%farm_chat -m fa| -t 0\nTell me.", ["fast"], "fa"),
        ("%%farm_chat -m scripted:e|\nTell me.", ["scripted:echo"], "scripted:e"),
        ("%%farm_chat fa|\nTell me.", ["fast"], "fa"),
        ("%%farm_compare -m fast -m fa|\nTell me.", ["fast"], "fa"),
        ("%%farm_code -c d|\nTell me.", ["df", "docs"], "d"),
        # variables, columns, files
        ("%%farm_chat --out ci|\nTell me.", ["city"], "ci"),
        ("%%farm_chat --file no|\nTell me.", ["notes.md"], "no"),
        ("%%farm_chat --tool a|\nTell me.", ["add"], "a"),
        ("%%farm_chat --schema T|\nTell me.", ["Town"], "T"),
        ("%%farm_chat\nTell me of {ci|", ["city"], "ci"),
        ("%%farm_chat -m fast\nTell me of {ci|} and more.", ["city"], "ci"),
        ("%%farm_chat\nMuch of {df.sha|", ["df.shape"], "df.sha"),
        ("%farm_chat Tell me of {ci|", ["city"], "ci"),
        ("%farm embed d|", ["df", "docs"], "d"),
        ("%farm similar 'what?' --in df --column r|", ["review"], "r"),
        # subcommands
        ("%farm al|", ["alias"], "al"),
        ("x = 1\n%farm pan|\ny = 2", ["panel"], "pan"),
        ("x = 1\nfound = %farm usage --by d|\ny = 2", ["day"], "d"),
        ("%farm panel |", ["chat", "models", "gpu", "health", "usage", "dashboard"], ""),
        ("%farm alias fa|", ["fast"], "fa"),
    ],
)
def test_a_front_end_is_told_what_may_follow(
    kernel: Kernel, cell: str, matches: list[str], replaced: str
) -> None:
    assert completed(kernel, cell) == (matches, replaced)


def test_prose_is_left_to_ipython(kernel: Kernel) -> None:
    matches, _ = completed(kernel, "%%farm_chat\nTell me {city} and ci|")
    assert "--model" not in matches


def test_a_panel_that_was_asked_for_by_name_is_the_cells_output(kernel: Kernel) -> None:
    assert kernel.run("import farm_notebook; farm_notebook.ChatPanel = lambda: 'a panel'").status == "ok"
    (output,) = kernel.run("%farm panel chat").outputs
    assert output["data"]["text/plain"] == "'a panel'"


def test_texts_are_embedded_and_searched(kernel: Kernel) -> None:
    cell = kernel.run("%farm embed docs --out vectors")
    assert cell.status == "ok"
    assert "2 texts of docs: vectors of" in str(cell.outputs[0]["data"])
    assert kernel.value("len(vectors)") == 2
    (output,) = kernel.run("%farm similar 'dogs bark' --in docs -k 1").outputs
    assert "| 1.000 | 1 | dogs bark |" in output["data"]["text/markdown"]
    note, output = kernel.run("%farm similar good --in df --column review").outputs
    assert note["data"]["text/plain"] == "Of 1 text, by scripted:echo."
    assert "text/html" in output["data"], "a data frame shows itself"


def test_many_texts_say_how_far_they_are_and_an_interrupt_keeps_what_was_done(kernel: Kernel) -> None:
    assert kernel.run(SLOW_EMBEDDING).status == "ok"
    cell = kernel.start("%farm embed many -m slow:echo")
    kernel.wait_for(lambda: cell.has_painted("Embedding … 64 of 1,000 texts"))
    kernel.interrupt()
    cell.ended()
    (error,) = [output for output in cell.outputs if output["type"] == "error"]
    assert error["ename"] == "KeyboardInterrupt"
    assert "You stopped it after 64 texts" in error["traceback"][0]
    assert len(error["traceback"]) == 1


def test_defaults_hold_in_awaited_cells(kernel: Kernel) -> None:
    kernel.run("%config FarmMagics.temperature = 0.25")
    assert kernel.run("%%farm_chat --out reply\nHi").status == "ok"
    assert kernel.value("reply.parameters") == {"temperature": 0.25}
    kernel.run("%config FarmMagics.temperature = None")


def test_a_model_alone_and_parameters_are_read_in_awaited_cells(kernel: Kernel) -> None:
    cell = kernel.run('%%farm_chat fast -m {"temperature": 0.5} --out reply\nHi')
    assert cell.status == "ok", cell.outputs
    assert kernel.value("(str(reply.ref), reply.parameters['temperature'])") == ("scripted:count-2", 0.5)
