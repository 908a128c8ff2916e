"""``%%farm_code``, ``%farm fix`` and ``%farm explain`` in a real Jupyter kernel."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from kernels import Cell, Kernel
from pytest_httpserver import HTTPServer

pytestmark = pytest.mark.kernel

TELLING = """
import farm_notebook
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.types import Finished, Started, TextDelta

class Telling(ScriptedProvider):
    name = "telling"
    words = ""
    asked = []
    async def stream(self, request):
        Telling.asked.append(request.messages[-1].content)
        Telling.pictures = [image.media_type for image in request.messages[-1].images]
        yield Started(request.ref)
        for line in self.words.splitlines(keepends=True):
            yield TextDelta(line)
        yield Finished("stop")

farm_notebook.register_provider(Telling)
"""
CODE = "Telling.words = 'Here:\\n\\n```python\\nx = 42\\n```'"


@pytest.fixture(scope="module")
def shared_kernel() -> Iterator[Kernel]:
    kernel = Kernel(FARM_MODEL="telling:it")
    assert kernel.run(TELLING).status == "ok"
    yield kernel
    kernel.close()


@pytest.fixture
def kernel(shared_kernel: Kernel) -> Kernel:
    shared_kernel.run("%farm_chat --reset")
    assert shared_kernel.run(CODE).status == "ok"
    return shared_kernel


def proposed(cell: Cell) -> list[dict[str, Any]]:
    """What the kernel asks the front end to put before the user."""
    return [each for each in cell.content["payload"] if each["source"] == "set_next_input"]


def prompt(kernel: Kernel) -> str:
    return str(kernel.value("Telling.asked[-1]"))


@pytest.mark.parametrize("code", ["%%farm_code\nset x", "%farm_code set x", "if True:\n    %farm_code set x"])
def test_the_code_is_proposed_as_the_next_cell_and_shown(kernel: Kernel, code: str) -> None:
    cell = kernel.run(code)
    assert cell.status == "ok"
    assert proposed(cell) == [{"source": "set_next_input", "text": "x = 42", "replace": False}]
    (answer,) = cell.answers
    assert answer["data"]["text/markdown"].startswith("```python\nx = 42\n```\n\n<small>telling:it")
    assert kernel.value("'x' in globals()") is False


def test_what_was_told_is_said_below_the_code(kernel: Kernel) -> None:
    kernel.run("numbers = [1, 2, 3]")
    (answer,) = kernel.run("%%farm_code\nsum numbers").answers
    assert re.search(
        r"<small>.*context: numbers, imports · \d+ of 4,000 tokens", answer["data"]["text/markdown"]
    )
    assert "list, 3 items" in prompt(kernel)


def test_code_streams_into_an_awaited_cell(kernel: Kernel) -> None:
    cell = kernel.run("%%farm_code -m scripted:slow-20\nHi")
    streamed = [content for _, content in cell.paintings if "word0" in str(content["data"])]
    assert len(streamed) >= 3


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("int('x')", "ValueError: invalid literal for int()"),
        ("import asyncio\nawait asyncio.sleep(0)\n1 / 0", "ZeroDivisionError: division by zero"),
        ("if x = 3:\n    pass", "SyntaxError: invalid syntax."),
    ],
    ids=["plain", "awaited", "syntax"],
)
def test_fix_finds_the_cell_that_failed_and_proposes_another(kernel: Kernel, code: str, error: str) -> None:
    failed = kernel.run(code)
    assert failed.status == "error"
    kernel.run("between = 1")
    cell = kernel.run("%farm fix")
    assert cell.status == "ok"
    assert f'<cell name="In[{failed.count}]">\n{code}\n</cell>' in prompt(kernel)
    assert f"In[{failed.count}] raised {error}" in prompt(kernel)
    assert "/ipykernel_" not in prompt(kernel)
    assert [each["text"] for each in proposed(cell)] == ["x = 42"]
    (output,) = cell.outputs
    assert output["data"]["text/markdown"].startswith("Here:")
    assert output["metadata"]["farm"]["model"] == "telling:it"


def test_fix_finds_a_chain_of_cells(kernel: Kernel) -> None:
    defined = kernel.run("def half(n):\n    return n / zero")
    kernel.run("zero = 0\nhalf(2)")
    kernel.run("%farm fix")
    assert f"In[{defined.count}], line 2, in half" in prompt(kernel)
    assert "def half(n):" in prompt(kernel)


def test_fix_streams_and_is_awaited_and_can_be_stopped(kernel: Kernel) -> None:
    kernel.run("1 / 0")
    cell = kernel.start("%farm fix -m scripted:slow-600")
    kernel.wait_for(lambda: cell.has_painted("word2"))
    kernel.interrupt()
    cell.ended()
    assert (cell.status, cell.content["ename"]) == ("error", "InterruptedReply")
    assert proposed_after(kernel) == ["x = 42"], "and the interrupt is not what is fixed next"
    assert "raised ZeroDivisionError" in prompt(kernel)


def proposed_after(kernel: Kernel) -> list[str]:
    return [each["text"] for each in proposed(kernel.run("%farm fix"))]


def test_panels_are_served_while_fix_streams(kernel: Kernel) -> None:
    kernel.run(
        "def opened(comm, message):\n"
        "    comm.on_msg(lambda message: comm.send({'echo': message['content']['data']}))\n"
        "get_ipython().kernel.comm_manager.register_target('probe', opened)"
    )
    kernel.run("1 / 0")
    cell = kernel.start("%farm fix -m scripted:slow-40")
    kernel.wait_for(lambda: cell.has_painted("word1"))
    name = uuid.uuid4().hex
    session, shell = kernel.client.session, kernel.client.shell_channel
    shell.send(session.msg("comm_open", {"comm_id": name, "target_name": "probe", "data": {}}))
    shell.send(session.msg("comm_msg", {"comm_id": name, "data": {"n": 1}}))
    kernel.wait_for(lambda: any(message["msg_type"] == "comm_msg" for _, message in kernel.log))
    assert cell.idle_at is None
    assert cell.ended().status == "ok"


def test_a_figure_and_a_picture_at_a_url_go_with_an_awaited_question(
    kernel: Kernel, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/a").respond_with_data(b"GIF89a...")
    kernel.run("import matplotlib.pyplot as plt\nfig, axes = plt.subplots()\naxes.plot([1, 2])")
    cell = kernel.run(f"%%farm_chat --image axes --image {httpserver.url_for('/a')}\nWhat is this?")
    assert cell.status == "ok"
    assert kernel.value("Telling.pictures") == ["image/png", "image/gif"]


def test_explain_takes_the_previous_cell(kernel: Kernel) -> None:
    done = kernel.run("6 * 7")
    cell = kernel.run("%farm explain")
    assert cell.status == "ok"
    assert f'<cell name="In[{done.count}]">\n6 * 7\n<output>\n42\n</output>' in prompt(kernel)
    assert proposed(cell) == []


@pytest.mark.model
@pytest.mark.parametrize(
    "code",
    [
        "%%farm_code -t 0 --max-tokens 60\nsort numbers",
        "%farm fix -t 0 --max-tokens 60",
        "%farm explain numbers -t 0 --max-tokens 60",
    ],
)
def test_a_real_model_answers_each_of_them(kernel: Kernel, embedded_model: str, code: str) -> None:
    kernel.run("numbers = [3, 1, 2]")
    kernel.run("numbers.sorted()")
    cell = kernel.run(code.replace(" -t", f" -m {embedded_model} -t", 1))
    assert cell.status == "ok"
    (answer,) = cell.answers
    assert answer["metadata"]["farm"]["usage"]["output_tokens"] >= 1
    assert "of 4,096 tokens" in answer["data"]["text/markdown"]


def test_what_a_cell_printed_and_displayed_is_told(kernel: Kernel) -> None:
    done = kernel.run(
        "import sys\nprint('to all')\nprint('to some', file=sys.stderr)\ndisplay([1, 2])\n6 * 7"
    )
    other = kernel.run("print('elsewhere')")
    kernel.run(f"%farm explain {done.count}")
    output = re.search(r"<output>\n(.*?)\n</output>", prompt(kernel), re.DOTALL)
    assert output is not None
    assert sorted(output[1].split("\n")) == ["42", "[1, 2]", "to all", "to some"]
    kernel.run(f"%farm_chat --cell {other.count} What?")
    assert "<output>\nelsewhere\n</output>" in prompt(kernel)


def test_a_long_print_keeps_its_end(kernel: Kernel) -> None:
    kernel.run("for number in range(5000):\n    print(number)")
    kernel.run("%farm explain")
    assert "\n4999\n</output>" in prompt(kernel)
    assert "\n17\n" not in prompt(kernel)


def test_unloaded_nothing_is_noted_any_more(kernel: Kernel) -> None:
    hooks = "get_ipython().display_pub._hooks"
    assert kernel.value(f"len({hooks})") == 1
    kernel.run("%unload_ext farm_notebook")
    assert kernel.value(f"len({hooks})") == 0
    assert (
        kernel.value("[each.__qualname__ for each in get_ipython().events.callbacks['pre_run_cell']]") == []
    )
    kernel.run("%load_ext farm_notebook")
