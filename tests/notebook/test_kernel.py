"""The magics in a real Jupyter kernel, seen from its client as a front end sees them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from kernels import Cell, Kernel

pytestmark = pytest.mark.kernel

LONG = "-m scripted:slow-600"  # half a minute, unless it is stopped
STOPPED_S = 5.0  # 0.2 s is the aim; the rest is for a busy machine


@pytest.fixture(scope="module")
def shared_kernel() -> Iterator[Kernel]:
    kernel = Kernel(FARM_MODEL="scripted:echo")
    yield kernel
    kernel.close()


@pytest.fixture
def kernel(shared_kernel: Kernel) -> Iterator[Kernel]:
    """The module's kernel; it must be left with no stream open and ready for the next cell."""
    shared_kernel.run("%farm_chat --reset")
    yield shared_kernel
    assert (
        shared_kernel.value(
            "__import__('farm_notebook.providers.scripted').providers.scripted.ScriptedProvider.open_streams"
        )
        == 0
    )


def thread(kernel: Kernel, name: str = "notebook") -> list[tuple[str, str]]:
    registry = "get_ipython().magics_manager.registry['FarmMagics']"
    found = kernel.value(
        f"[(each.role, each.content) for each in {registry}.session.threads.history({name!r})]"
    )
    assert isinstance(found, list)
    return found


def test_an_answer_grows_in_the_cell_and_ends_as_one_output(kernel: Kernel) -> None:
    cell = kernel.run("%%farm_chat -m scripted:slow-20\nHi")
    assert cell.status == "ok"
    idle_at = cell.idle_at
    assert idle_at is not None
    texts = [content["data"]["text/markdown"] for at, content in cell.paintings if at < idle_at]
    streamed = [text for text in texts[:-1] if "word0" in text]
    assert len(streamed) >= 3
    assert all(later.startswith(earlier) for earlier, later in pairwise(streamed))
    assert len({len(text) for text in streamed}) >= 3
    (output,) = cell.outputs
    assert (output["type"], set(output["data"])) == ("display_data", {"text/markdown", "text/plain"})
    assert output["data"]["text/markdown"].startswith(" ".join(f"word{number}" for number in range(20)))
    farm = output["metadata"]["farm"]
    assert (farm["model"], farm["finish_reason"], farm["cached"]) == ("scripted:slow-20", "stop", False)
    assert farm["usage"]["output_tokens"] == 20


def test_a_long_answer_is_one_static_output_in_the_end(kernel: Kernel) -> None:
    cell = kernel.run("%farm_chat -m scripted:count-3000 Hi")
    (output,) = cell.outputs
    assert "word0 " in output["data"]["text/markdown"]
    assert "word2999" in output["data"]["text/markdown"]


def test_the_value_is_bound_without_a_second_output(kernel: Kernel) -> None:
    cell = kernel.run("%%farm_chat\nHi there")
    assert [kind for _, kind, _ in cell.said if kind == "execute_result"] == []
    value = f"Out[{cell.count}]"
    found = kernel.value(f"[type({value}).__name__, {value}.text.strip(), _ is {value}]")
    assert found == ["Reply", "Hi there", True]
    again = kernel.run(f"Out[{cell.count}]")
    (output,) = again.outputs
    assert output["type"] == "execute_result"
    assert "Hi there" in output["data"]["text/markdown"]
    assert "farm" in output["metadata"]


def interrupt_when(kernel: Kernel, cell: Cell, is_time: Callable[[], bool]) -> float:
    """Press the button at the right moment; the seconds until the cell was idle."""
    kernel.wait_for(is_time)
    pressed_at = kernel.interrupt()
    cell.ended()
    assert cell.idle_at is not None
    return cell.idle_at - pressed_at


@pytest.mark.parametrize(
    "code",
    [
        f"%%farm_chat {LONG} --out kept\nHi",
        f"%farm_chat {LONG} --out kept Hi",
        f"for word in ['Hi']:\n    %farm_chat {LONG} --out kept Hi",
        f"get_ipython().run_cell('%%farm_chat {LONG} --out kept\\nHi').raise_error()",
    ],
    ids=["awaited cell", "awaited line", "nested line", "nested cell"],
)
def test_an_interrupt_mid_answer_keeps_what_arrived(
    kernel: Kernel, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel.run("kept = None")
    cell = kernel.start(code)
    took_s = interrupt_when(kernel, cell, lambda: cell.has_painted("word2"))
    with capsys.disabled():
        print(f"\ninterrupt to idle: {took_s:.3f} s  ({code.splitlines()[0][:40]})")
    assert (cell.status, cell.content["ename"]) == ("error", "InterruptedReply")
    assert took_s < STOPPED_S
    text, reason = kernel.value("[kept.text, kept.finish_reason]")
    assert (text[:17], reason) == ("word0 word1 word2", "interrupted")
    assert [(role, content.strip()) for role, content in thread(kernel)] == [
        ("user", "Hi"),
        ("assistant", text),
    ]
    (answer,) = cell.answers
    assert text in answer["data"]["text/markdown"]
    assert "interrupted" in answer["data"]["text/markdown"]
    assert answer["metadata"]["farm"]["finish_reason"] == "interrupted"
    assert kernel.run("%farm_chat next").answers


def test_the_error_of_an_interrupt_is_one_line(kernel: Kernel) -> None:
    cell = kernel.start(f"%farm_chat {LONG} Hi")
    interrupt_when(kernel, cell, lambda: cell.has_painted("word0"))
    errors = [output for output in cell.outputs if output["type"] == "error"]
    assert [len(error["traceback"]) for error in errors] == [1]
    assert "You stopped the answer" in errors[0]["traceback"][0]


LOADING_PROVIDER = """
import asyncio
import farm_notebook
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.types import LoadProgress

class Loading(ScriptedProvider):
    name = "loading"
    async def stream(self, request):
        ScriptedProvider.open_streams += 1
        try:
            yield LoadProgress("load", 0, 10)
            await asyncio.sleep(1000)
        finally:
            ScriptedProvider.open_streams -= 1

farm_notebook.register_provider(Loading)
"""


@pytest.mark.parametrize(
    "code", ["%farm_chat -m loading:x --out kept Hi", "if True:\n    %farm_chat -m loading:x Hi"]
)
def test_an_interrupt_while_the_model_loads_ends_the_cell(
    kernel: Kernel, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kernel.run(LOADING_PROVIDER).status == "ok"
    cell = kernel.start(code)
    took_s = interrupt_when(kernel, cell, lambda: cell.has_painted("Loading"))
    with capsys.disabled():
        print(f"\ninterrupt to idle while loading: {took_s:.3f} s")
    assert (cell.status, cell.content["ename"]) == ("error", "InterruptedReply")
    assert took_s < 1.0
    assert "Loading" not in str(cell.outputs)
    assert thread(kernel) == []
    assert kernel.run("%farm_chat next").answers


def test_queued_cells_are_aborted_by_an_interrupt(kernel: Kernel) -> None:
    kernel.run("ran = []")
    first = kernel.start(f"%farm_chat {LONG} Hi")
    second, third = kernel.start("ran.append(2)"), kernel.start("%farm_chat Hi")
    kernel.wait_for(lambda: first.has_painted("word0"))
    kernel.interrupt()
    assert [cell.status for cell in (first, second, third)] == ["error", "aborted", "aborted"]
    assert kernel.value("ran") == []


def test_comm_messages_are_handled_while_an_awaited_cell_streams(kernel: Kernel) -> None:
    kernel.run(
        "def opened(comm, message):\n"
        "    comm.on_msg(lambda message: comm.send({'echo': message['content']['data']}))\n"
        "get_ipython().kernel.comm_manager.register_target('probe', opened)"
    )
    cell = kernel.start("%farm_chat -m scripted:slow-40 Hi")
    kernel.wait_for(lambda: cell.has_painted("word1"))
    name = uuid.uuid4().hex
    session, shell = kernel.client.session, kernel.client.shell_channel
    shell.send(session.msg("comm_open", {"comm_id": name, "target_name": "probe", "data": {}}))
    shell.send(session.msg("comm_msg", {"comm_id": name, "data": {"n": 1}}))

    def echoes() -> list[float]:
        return [
            at
            for at, message in kernel.log
            if message["msg_type"] == "comm_msg" and message["content"]["data"] == {"echo": {"n": 1}}
        ]

    kernel.wait_for(lambda: bool(echoes()))
    assert cell.idle_at is None
    cell.ended()
    assert cell.status == "ok"
    assert any(at > echoes()[0] for at, _ in cell.paintings)


def test_outputs_of_queued_cells_land_in_their_own_cell(kernel: Kernel) -> None:
    cells = [
        kernel.start("%farm_chat -m scripted:slow-10 Hi"),
        kernel.start("%farm_chat second"),
        kernel.start("%farm_chat third"),
    ]
    shown = [cell.ended().outputs for cell in cells]
    assert [len(outputs) for outputs in shown] == [1, 1, 1]
    for outputs, word in zip(shown, ("word9", "second", "third"), strict=True):
        assert outputs[0]["data"]["text/markdown"].split("\n")[0].endswith(word)


def test_a_magic_called_in_a_thread_shows_its_answer_in_the_cell_that_started_it(kernel: Kernel) -> None:
    cell = kernel.run(
        "import threading\n"
        "def ask():\n"
        "    get_ipython().run_line_magic('farm_chat', '-m scripted:slow-5 --out threaded Hi')\n"
        "started = threading.Thread(target=ask)\n"
        "started.start()\n"
        "started.join()"
    )
    assert (cell.status, len(cell.answers)) == ("ok", 1)
    assert kernel.value("threaded.text") == "word0 word1 word2 word3 word4"


def test_time_measures_an_answer(kernel: Kernel) -> None:
    for body in ("%%farm_chat -m scripted:slow-3\nHi", "%farm_chat -m scripted:slow-3 Hi?"):
        cell = kernel.run(f"%%time\n{body}")
        assert cell.status == "ok"
        assert len(cell.answers) == 1
        assert "word0 word1 word2" in cell.answers[0]["data"]["text/markdown"]
        assert "Wall time" in cell.text


def test_a_cell_run_by_a_cell_is_answered(kernel: Kernel) -> None:
    cell = kernel.run(
        "print('before')\nget_ipython().run_cell('%%farm_chat --out nested\\nHi')\nprint('after')"
    )
    assert (cell.status, kernel.value("nested.text.strip()")) == ("ok", "Hi")
    kinds = [output["type"] for output in cell.outputs]
    assert kinds == ["stream", "display_data", "stream"]
    assert kernel.run("%farm_chat awaited again").answers


def test_several_magics_in_one_cell_show_every_answer(kernel: Kernel) -> None:
    cell = kernel.run("print('before')\nfor word in ['one', 'two']:\n    %farm_chat Is it {word}?")
    assert [output["type"] for output in cell.outputs] == ["stream", "display_data", "display_data"]
    shown = [answer["data"]["text/plain"] for answer in cell.answers]
    assert [text.splitlines()[0] for text in shown] == ["Is it one?", "Is it two?"]


def test_a_long_answer_in_a_shared_cell_leaves_the_other_outputs(kernel: Kernel) -> None:
    cell = kernel.run("print('before')\n%farm_chat -m scripted:slow-15 Hi\nprint('after')")
    assert [output["type"] for output in cell.outputs] == ["stream", "display_data", "stream"]
    assert cell.text == "before\nafter\n"


def test_without_autoawait_the_magics_still_answer(kernel: Kernel) -> None:
    kernel.run("%autoawait off")
    try:
        cell = kernel.run("%%farm_chat -m scripted:slow-5\nHi")
        assert (cell.status, len(cell.answers)) == ("ok", 1)
        stopped = kernel.start(f"%farm_chat {LONG} --out kept Hi")
        assert interrupt_when(kernel, stopped, lambda: stopped.has_painted("word0")) < STOPPED_S
        assert stopped.content["ename"] == "InterruptedReply"
    finally:
        kernel.run("%autoawait True")
    assert kernel.run("%farm_chat Hi").answers


def test_cells_values_and_errors_are_filled_in(kernel: Kernel) -> None:
    source = kernel.run("6 * 7")
    count = source.count
    kernel.run("1 / 0")
    cell = kernel.run(f"%%farm_chat --out filled\n{{In[{count}]}} = {{Out[{count}]}}; {{Err}}; {{In[99999]}}")
    assert cell.status == "ok"
    text = kernel.value("filled.text")
    assert text.startswith("6 * 7 = 42; Traceback")
    assert "ZeroDivisionError: division by zero" in text
    assert text.rstrip().endswith("{In[99999]}")
    asked = kernel.run("%farm_chat Hi")
    assert kernel.run(f"%farm_chat --out filled {{In[{asked.count}]}} {{Out[{asked.count}]}}").status == "ok"
    assert kernel.value("filled.text") == "%farm_chat Hi Hi"


def test_an_error_is_one_line_and_leaves_no_painted_note(kernel: Kernel) -> None:
    cell = kernel.run("%farm_chat --modle x Hi")
    (output,) = cell.outputs
    assert (output["type"], output["ename"], len(output["traceback"])) == ("error", "InvalidRequestError", 1)
    cell = kernel.run("%farm_chat -m scripted:fail-0 Hi")
    assert [output["type"] for output in cell.outputs] == ["error"]


def test_an_answer_that_breaks_stays_in_the_cell_with_its_error(kernel: Kernel) -> None:
    cell = kernel.run("%farm_chat -m scripted:fail-3 --out kept Hi")
    assert [output["type"] for output in cell.outputs] == ["display_data", "error"]
    assert "word0 word1 word2" in cell.answers[0]["data"]["text/markdown"]
    assert cell.answers[0]["metadata"]["farm"]["finish_reason"] == "error"
    assert kernel.value("kept.text") == "word0 word1 word2"


@pytest.mark.parametrize(
    ("name", "mime"),
    [("json", "application/json"), ("html", "text/html"), ("math", "text/latex"), ("text", "text/plain")],
)
def test_a_format_is_the_mime_type_of_the_output(kernel: Kernel, name: str, mime: str) -> None:
    cell = kernel.run(f"%%farm_chat -f {name}\n[1]")
    (output,) = cell.outputs
    assert mime in output["data"]
    assert output["metadata"]["farm"]["model"] == "scripted:echo"


def test_code_is_put_into_the_next_cell(kernel: Kernel) -> None:
    cell = kernel.run("%%farm_chat -f code\n```py\nx = 1\n```")
    assert {"source": "set_next_input", "text": "x = 1", "replace": False} in cell.content["payload"]


def test_the_help_is_shown_in_the_pager(kernel: Kernel) -> None:
    cell = kernel.run("%farm_chat?")
    pages = [
        payload["data"]["text/plain"] for payload in cell.content["payload"] if payload["source"] == "page"
    ]
    assert len(pages) == 1
    assert "--no-interpolate" in pages[0]


def test_a_cell_asked_to_be_silent_answers_all_the_same(kernel: Kernel) -> None:
    sent = kernel.client.execute("%farm_chat --out quiet Hi", silent=True)
    assert kernel.reply(sent)["status"] == "ok"
    assert kernel.value("quiet.text") == "Hi"


def test_unloading_in_a_kernel_takes_everything_away_and_loading_brings_it_back(kernel: Kernel) -> None:
    assert kernel.run("%unload_ext farm_notebook").status == "ok"
    assert "not found" in kernel.run("%farm_chat Hi").text
    assert kernel.run("1 + 1").outputs[0]["data"] == {"text/plain": "2"}
    assert kernel.run("%load_ext farm_notebook").status == "ok"
    assert kernel.run("%farm_chat Hi").answers


@pytest.fixture(scope="module")
def embedded_kernel(embedded_model: str) -> Iterator[Kernel]:
    kernel = Kernel(FARM_MODEL=embedded_model)
    yield kernel
    kernel.close()


def llamacpp_processes(kernel: Kernel) -> list[psutil.Process]:
    """The llama.cpp processes of a kernel."""
    children = psutil.Process(kernel.pid).children()
    return [child for child in children if Path(child.cmdline()[-1]).parts[-2:] == ("llamacpp", "child.py")]


@pytest.mark.model
def test_the_embedded_model_knows_the_capital_of_france(embedded_kernel: Kernel) -> None:
    cell = embedded_kernel.run("%%farm_chat -t 0\nWhat is the capital of France? Answer in one sentence.")
    assert cell.status == "ok"
    (output,) = cell.outputs
    assert "Paris" in output["data"]["text/markdown"]
    farm = output["metadata"]["farm"]
    assert len(farm["digest"]) == 64
    assert farm["usage"]["output_tokens"] > 3
    assert farm["timings"]["first_token_s"] > 0
    assert embedded_kernel.value("'Paris' in _.text") is True


STORY = "%farm_chat --no-history --max-tokens 4000 --out story Write a very long story about a farm."


def has_begun(cell: Cell) -> bool:
    """Whether the first words of the answer are there, after all that is said of loading it."""
    shown = [content["data"].get("text/markdown", "") for _, content in cell.paintings]
    return any(len(text) > 60 and not text.startswith("*") for text in shown)


@pytest.mark.model
def test_killing_the_models_process_ends_the_cell_and_the_next_one_starts_it_again(
    embedded_kernel: Kernel,
) -> None:
    kernel = embedded_kernel
    cell = kernel.start(STORY)
    kernel.wait_for(lambda: has_begun(cell))
    (process,) = llamacpp_processes(kernel)
    process.kill()
    cell.ended()
    assert (cell.status, cell.content["ename"]) == ("error", "BackendCrashedError")
    assert [output["type"] for output in cell.outputs] == ["display_data", "error"]
    assert len(cell.outputs[1]["traceback"]) == 1
    assert "SIGKILL" in cell.outputs[1]["traceback"][0]
    text, reason = kernel.value("[story.text, story.finish_reason]")
    assert (len(text) > 50, reason) == (True, "error")
    after = kernel.run("%farm_chat --no-history -t 0 --max-tokens 5 Say hello.")
    assert (after.status, len(after.answers)) == ("ok", 1)
    (restarted,) = llamacpp_processes(kernel)
    assert restarted.pid != process.pid


@pytest.mark.model
def test_an_interrupt_stops_the_embedded_model_too(
    embedded_kernel: Kernel, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = embedded_kernel
    cell = kernel.start(STORY)
    took_s = interrupt_when(kernel, cell, lambda: has_begun(cell))
    with capsys.disabled():
        print(f"\ninterrupt to idle with the embedded model: {took_s:.3f} s")
    assert (cell.status, cell.content["ename"]) == ("error", "InterruptedReply")
    assert took_s < STOPPED_S
    (process,) = llamacpp_processes(kernel)
    before = sum(process.cpu_times()[:2])
    time.sleep(1.0)
    assert sum(process.cpu_times()[:2]) - before < 0.5  # it does not go on generating for nobody
    assert kernel.value("story.finish_reason") == "interrupted"


@pytest.mark.model
def test_a_kernel_that_is_killed_leaves_no_model_process(embedded_model: str) -> None:
    kernel = Kernel(FARM_MODEL=embedded_model)
    cell = kernel.start(STORY)
    kernel.wait_for(lambda: has_begun(cell))
    processes = llamacpp_processes(kernel)
    assert len(processes) == 1
    kernel.close()
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert alive == []
