"""``--tool``, ``--confirm`` and ``--schema`` in a real kernel, as its client sees them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kernels import PATIENCE_S, Cell, Kernel

pytestmark = pytest.mark.kernel

ASK = '{"city": "Rome"}'
DEFINITIONS = """
import sqlite3, threading, time
from pydantic import BaseModel

database = sqlite3.connect(":memory:")  # may be used by the thread that made it only

def weather(city: str) -> str:
    "The weather in a city."
    print("looking out in", city)
    assert threading.current_thread() is threading.main_thread()
    return f"rain in {city} {database.execute('select 1').fetchone()[0]}"

async def later(city: str) -> str:
    import asyncio
    await asyncio.sleep(0.01)
    return f"sun in {city}"

def endless() -> None:
    print("looping")
    while True:
        sum(range(1000))

async def endless_later() -> None:
    import asyncio
    print("waiting")
    await asyncio.sleep(3600)

class City(BaseModel):
    name: str
    population: int
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    kernel = Kernel(FARM_MODEL="scripted:call")
    assert kernel.run(DEFINITIONS).status == "ok"
    yield kernel
    kernel.close()


def shown(cell: Cell) -> list[str]:
    return [output["data"]["text/plain"] for output in cell.outputs if output["type"] == "display_data"]


def answering(kernel: Kernel, cell: Cell, *says: str) -> Cell:
    """Answer the questions of a cell."""
    for say in says:
        asked = kernel.client.get_stdin_msg(timeout=PATIENCE_S)
        assert asked["content"]["prompt"] == 'Call weather(city="Rome")? [y]es, [n]o, [a]ll: '
        kernel.client.input(say)
    return cell.ended()


@pytest.mark.parametrize(
    "code",
    [
        f"%%farm_chat --tool weather\n{ASK}",  # awaited
        f"for _ in [1]:\n    get_ipython().run_cell_magic('farm_chat', '--tool weather', {ASK!r})",  # not so
    ],
    ids=["awaited", "called"],
)
def test_a_tool_runs_as_if_the_cell_had_called_it_and_its_outputs_stay(kernel: Kernel, code: str) -> None:
    cell = kernel.run(code)
    assert cell.status == "ok"
    assert cell.text == "looking out in Rome\n"
    call, printed, answer = cell.outputs
    assert call["data"]["text/plain"].startswith('weather(city="Rome") → rain in Rome 1')
    assert printed["type"] == "stream"
    assert answer["data"]["text/markdown"].startswith("rain in Rome 1\n\n<small>")
    (told,) = answer["metadata"]["farm"]["steps"]
    assert [(each["name"], each["result"]) for each in told["calls"]] == [("weather", "rain in Rome 1")]


def test_a_call_is_shown_while_it_runs(kernel: Kernel) -> None:
    cell = kernel.run(f"%%farm_chat --tool weather\n{ASK}")
    painted = [content["data"].get("text/plain", "") for _, content in cell.paintings]
    begun = painted.index('weather(city="Rome") …')
    assert painted[begun + 1].startswith('weather(city="Rome") →')


def test_without_streaming_a_call_is_shown_once_and_so_is_the_answer(kernel: Kernel) -> None:
    cell = kernel.run(f"%%farm_chat --no-stream --tool later\n{ASK}")
    assert len(cell.paintings) == len(cell.outputs) == 2
    assert shown(cell)[0].startswith('later(city="Rome") → sun in Rome')


def test_a_coroutine_function_is_awaited_on_the_kernels_loop(kernel: Kernel) -> None:
    cell = kernel.run(f"%%farm_chat --tool later\n{ASK}")
    assert shown(cell)[0].startswith('later(city="Rome") → sun in Rome')


@pytest.mark.parametrize("name", ["endless", "endless_later"])
def test_an_interrupt_ends_a_tool_that_runs_and_the_kernel_lives_on(kernel: Kernel, name: str) -> None:
    cell = kernel.start(f"%%farm_chat --tool {name} --out r\n{{}}")
    kernel.wait_for(lambda: bool(cell.text))
    kernel.interrupt()
    assert cell.ended().status == "error"
    assert cell.content["ename"] == "InterruptedReply"
    assert shown(cell)[0] == f"{name}() ✗ stopped"
    assert kernel.value("r.finish_reason") == "interrupted"
    assert kernel.value("1 + 1") == 2


def test_confirm_asks_in_an_awaited_cell(kernel: Kernel) -> None:
    cell = answering(kernel, kernel.start(f"%%farm_chat --tool weather --confirm\n{ASK}"), "what?", "y")
    assert cell.text == "looking out in Rome\n"
    cell = answering(kernel, kernel.start(f"%%farm_chat --tool weather --confirm\n{ASK}"), "n")
    assert (cell.status, cell.text) == ("ok", "")
    assert shown(cell)[0] == 'weather(city="Rome") ✗ The user does not allow this call.'


def test_an_interrupt_ends_the_question(kernel: Kernel) -> None:
    cell = kernel.start(f"%%farm_chat --tool weather --confirm\n{ASK}")
    kernel.client.get_stdin_msg(timeout=PATIENCE_S)
    kernel.interrupt()
    assert cell.ended().content["ename"] == "InterruptedReply"
    assert kernel.value("1 + 1") == 2


def test_a_front_end_that_takes_no_input_is_told_at_once(kernel: Kernel) -> None:
    kernel.client.allow_stdin = False
    try:
        cell = kernel.run(f"%%farm_chat --tool weather --confirm\n{ASK}")
    finally:
        kernel.client.allow_stdin = True
    assert (cell.status, cell.text, shown(cell)) == ("error", "", [])
    assert "nobody can be asked here" in cell.content["evalue"]


def test_the_value_of_a_cell_with_a_schema_is_shown_once(kernel: Kernel) -> None:
    cell = kernel.run("%%farm_chat -m scripted:echo --schema City --out city\nName one.")
    (output,) = cell.outputs
    assert output["data"]["text/markdown"].startswith('```json\n{\n  "name": ""')
    assert output["metadata"]["farm"]["model"] == "scripted:echo"
    assert kernel.value("(city == City(name='', population=0), Out[max(Out)] is city)") == (True, True)


def test_a_data_frame_is_shown_once_too(kernel: Kernel) -> None:
    cell = kernel.run("%%farm_chat -m scripted:echo --schema City --as df --out frame\nName one.")
    assert len(cell.outputs) == 1
    assert kernel.value("frame.to_dict('records')") == [{"name": "", "population": 0}]


@pytest.mark.model
@pytest.mark.slow
def test_the_embedded_model_gives_a_valid_object(kernel: Kernel, embedded_model: str) -> None:
    cell = kernel.run(
        f"%%farm_chat -m {embedded_model} --schema City -t 0 --seed 1 --max-tokens 200 --out paris\n"
        "Tell me about Paris."
    )
    assert cell.status == "ok", cell.content
    assert kernel.value("type(paris) is City and isinstance(paris.population, int)") is True
