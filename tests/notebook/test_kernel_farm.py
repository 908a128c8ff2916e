"""``%farm`` in a real Jupyter kernel: outputs, help, completion, interrupts, and the warning of keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kernels import Kernel

pytestmark = pytest.mark.kernel

LOADING_PROVIDER = """
import asyncio
import farm_notebook
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.types import LoadProgress

class Loading(ScriptedProvider):
    name = "loading"
    async def load_model(self, model):
        for number in range(1 if model == "short" else 10_000):
            yield LoadProgress("fetch", number * 1_000_000, 10_000_000_000)
            await asyncio.sleep(0.05)

farm_notebook.register_provider(Loading)
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    folder = tmp_path_factory.mktemp("cache")
    kernel = Kernel(FARM_MODEL="scripted:echo", FARM_CACHE_DIR=str(folder), FARM_HISTORY__ENABLED="true")
    assert kernel.run(LOADING_PROVIDER).status == "ok"
    yield kernel
    kernel.close()


@pytest.mark.parametrize(
    "code",
    [
        "%farm cache stats",
        "await asyncio.sleep(0)\nfound = %farm cache stats\nfound",
        "found = %farm cache stats\nfound",
    ],
)
def test_a_table_is_the_cells_one_output(kernel: Kernel, code: str) -> None:
    cell = kernel.run(code)
    assert cell.status == "ok"
    (output,) = cell.outputs
    assert output["type"] == "execute_result"
    assert output["data"]["text/markdown"].startswith("| cache | ")
    assert output["data"]["text/plain"].startswith("cache  ")


def test_a_load_ends_as_one_line(kernel: Kernel) -> None:
    cell = kernel.run("%farm load loading:short")
    (output,) = cell.outputs
    assert output["data"]["text/plain"].startswith("loading:short is loaded (")
    assert cell.has_painted("Fetching loading:short … 0.0 of 10.0 GB")


def test_an_interrupted_load_ends_the_cell_with_one_line(kernel: Kernel) -> None:
    cell = kernel.start("%farm load loading:long")
    kernel.wait_for(lambda: cell.has_painted("Fetching"))
    kernel.interrupt()
    cell.ended()
    assert (cell.status, cell.content["ename"]) == ("error", "KeyboardInterrupt")
    assert "Fetching" not in str(cell.outputs)
    (error,) = [output for output in cell.outputs if output["type"] == "error"]
    assert len(error["traceback"]) == 1
    assert kernel.run("%farm_chat next").answers


def test_that_all_models_failed_is_the_cells_error(kernel: Kernel) -> None:
    kernel.run("import os; os.environ['FARM_FALLBACK__CHAIN'] = 'scripted:error-auth'")
    kernel.run("%farm config reload")
    cell = kernel.run("%farm_chat -m scripted:error-model Hi")
    kernel.run("del os.environ['FARM_FALLBACK__CHAIN']")
    kernel.run("%farm config reload")
    (error,) = [output for output in cell.outputs if output["type"] == "error"]
    assert (cell.status, error["ename"], len(error["traceback"])) == ("error", "NoTargetAnsweredError", 1)
    assert "- scripted:error-auth: " in error["traceback"][0]
    assert "File " not in str(cell.outputs)


def test_help_and_errors_are_text_in_the_cell(kernel: Kernel) -> None:
    assert kernel.run("%farm").text.startswith("%farm SUBCOMMAND")
    assert kernel.run("%farm cache?").text.startswith("usage: %farm cache")
    cell = kernel.run("%farm cach")
    (error,) = cell.outputs
    assert len(error["traceback"]) == 1
    assert "Did you mean cache?" in error["traceback"][0]


def test_another_model_answers_in_awaited_cells_too(kernel: Kernel) -> None:
    kernel.run("%farm model scripted:count-2")
    assert "word0 word1" in kernel.run("%farm_chat Hi").answers[0]["data"]["text/markdown"]
    kernel.run("%farm model scripted:echo")
    assert "Hi" in kernel.run("%%farm_chat\nHi").answers[0]["data"]["text/markdown"]


@pytest.mark.parametrize(
    ("code", "matches", "start"),
    [
        ("%farm cac", ["cache"], 6),
        ("%%farm_chat -m scripted:ec", ["scripted:echo"], 15),
        ("x = 1\n%farm cache o", ["on", "off"], 18),
    ],
)
def test_a_front_end_is_told_what_may_follow(
    kernel: Kernel, code: str, matches: list[str], start: int
) -> None:
    content = kernel.reply(kernel.client.complete(code))
    assert (content["matches"], content["cursor_start"], content["cursor_end"]) == (matches, start, len(code))


STANDING_IN = """
import os
os.environ["FARM_ALIASES"] = '{"fast": {"model": "scripted:error-503", "fallback": ["scripted:slow-8"]}}'
os.environ["FARM_RETRY__ATTEMPTS"] = "1"
%farm config reload
"""


def test_who_stands_in_is_told_until_the_first_word_and_in_the_footer(kernel: Kernel) -> None:
    assert "Changed: " in kernel.run(STANDING_IN).text
    cell = kernel.run("%farm_chat --no-history -m fast Hi")
    assert cell.has_painted("; asking scripted:slow-8")
    (output,) = cell.outputs
    markdown = output["data"]["text/markdown"]
    assert markdown.startswith("word0 word1")
    assert "asking" not in markdown
    assert "scripted:slow-8 · instead of scripted:error-503" in markdown
    assert output["metadata"]["farm"]["rerouted"][0]["model"] == "scripted:error-503"


@pytest.mark.parametrize("code", ["%farm usage", "%farm history"])
def test_a_report_is_the_cells_one_output(kernel: Kernel, code: str) -> None:
    kernel.run("%farm_chat Hi")
    (output,) = kernel.run(code).outputs
    assert output["type"] == "execute_result"
    assert "scripted:echo" in output["data"]["text/markdown"]
    assert "scripted:echo" in output["data"]["text/plain"]


def test_with_the_plot_there_is_a_picture_too(kernel: Kernel) -> None:
    kernel.run("%farm_chat Hi")
    outputs = kernel.run("%farm usage --plot").outputs
    (picture,) = [output["data"] for output in outputs if "image/png" in output["data"]]
    assert "widget" not in str(picture)
    assert outputs[-1]["type"] == "execute_result"
    assert "scripted:echo" in outputs[-1]["data"]["text/markdown"]


def test_a_key_in_a_cell_is_warned_of_once(kernel: Kernel) -> None:
    key = "hf_" + "aB3dE5fG7hJ9kL2mN4pQ6rS8tU1v"
    first, second = kernel.run(f"token = '{key}'"), kernel.run(f"token = '{key}'")
    assert "looks like an API key (hf_…)" in first.text
    assert key not in first.text
    assert second.text == ""


def test_unloading_takes_it_away(kernel: Kernel) -> None:
    assert kernel.run("%unload_ext farm_notebook").status == "ok"
    assert "not found" in kernel.run("%farm").text
    assert "cache" not in kernel.reply(kernel.client.complete("%farm ca"))["matches"]
    assert kernel.run("%load_ext farm_notebook").status == "ok"
    assert kernel.run("%farm").text.startswith("%farm SUBCOMMAND")
