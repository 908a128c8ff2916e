"""``%%farm_compare`` in a real Jupyter kernel, seen from its client as a front end sees it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kernels import Kernel

pytestmark = pytest.mark.kernel

LONG = "scripted:slow-600"  # half a minute, unless it is stopped
SHORT = "scripted:slow-20"


@pytest.fixture(scope="module")
def shared_kernel() -> Iterator[Kernel]:
    kernel = Kernel(FARM_MODEL="scripted:echo")
    yield kernel
    kernel.close()


@pytest.fixture
def kernel(shared_kernel: Kernel) -> Iterator[Kernel]:
    """The module's kernel; it must be left with no stream open and ready for the next cell."""
    yield shared_kernel
    provider = "__import__('farm_notebook.providers.scripted').providers.scripted.ScriptedProvider"
    assert shared_kernel.value(f"{provider}.open_streams") == 0


def test_answers_grow_side_by_side_and_end_as_one_static_output(kernel: Kernel) -> None:
    cell = kernel.run(f"%%farm_compare -m {SHORT} -m scripted:slow-12 -m scripted:error-auth\nHi")
    assert cell.status == "ok"
    live = [content["data"]["text/markdown"] for _, content in cell.paintings][:-1]
    both = [text for text in live if text.count("word0") == 2]
    assert both, "they are asked at once"
    assert any("scripted:error-auth failed on cue" in text and "word11" not in text for text in live)
    (output,) = cell.outputs
    assert (output["type"], set(output["data"])) == ("display_data", {"text/markdown", "text/plain"})
    markdown = output["data"]["text/markdown"]
    assert markdown.startswith("| model | first token | tokens/s | tokens | total | cost | outcome |")
    assert "word19" in markdown
    compared = output["metadata"]["farm"]["compared"]
    assert [(each["name"], each["status"]) for each in compared] == [
        (SHORT, "done"),
        ("scripted:slow-12", "done"),
        ("scripted:error-auth", "failed"),
    ]
    assert compared[0]["usage"]["output_tokens"] == 20
    found = kernel.value(f"[type(Out[{cell.count}]).__name__, [each.status for each in _]]")
    assert found == ["Comparison", ["done", "done", "failed"]]
    (again,) = kernel.run(f"Out[{cell.count}]").outputs
    assert again["data"]["text/markdown"] == markdown


@pytest.mark.parametrize(
    "code",
    [
        f"%%farm_compare -m {LONG} -m scripted:count-3 -m scripted:stall-2 --out table\nHi",
        f"%farm_compare -m {LONG} -m scripted:count-3 -m scripted:stall-2 --out table Hi",
        f"for word in ['Hi']:\n    %farm_compare -m {LONG},scripted:count-3,scripted:stall-2 -o table Hi",
    ],
    ids=["awaited cell", "awaited line", "nested line"],
)
def test_an_interrupt_keeps_what_arrived_of_every_model(kernel: Kernel, code: str) -> None:
    kernel.run("table = None")
    cell = kernel.start(code)
    kernel.wait_for(lambda: any("word5" in str(content["data"]) for _, content in cell.paintings))
    kernel.interrupt()
    cell.ended()
    assert (cell.status, cell.content["ename"]) == ("error", "InterruptedReply")
    assert kernel.value("list(table['outcome'])") == ["interrupted", "done", "interrupted"]
    texts = kernel.value("list(table['text'])")
    assert texts[0].startswith("word0 word1 word2 word3 word4 word5")
    assert texts[1:] == ["word0 word1 word2", "word0 word1"]
    answer, error = cell.outputs
    assert answer["data"]["text/markdown"].count("*interrupted*") == 2
    assert (error["type"], error["traceback"][0].count("\n")) == ("error", 0)


def test_a_widget_is_served_while_models_stream(kernel: Kernel) -> None:
    """The cell is awaited: another coroutine of the kernel's own loop goes on meanwhile."""
    kernel.run(
        "import asyncio\nbeats = 0\n"
        "async def beat():\n    global beats\n    while True:\n"
        "        beats += 1\n        await asyncio.sleep(0.01)\n"
        "task = asyncio.ensure_future(beat())"
    )
    before = kernel.value("beats")
    kernel.run(f"%%farm_compare -m {SHORT} -m scripted:slow-12\nHi")
    assert kernel.value("beats") > before + 5
    kernel.run("task.cancel()")


def test_one_by_one_the_second_waits_for_its_turn(kernel: Kernel) -> None:
    cell = kernel.run(f"%farm_compare --one-by-one -m {SHORT} -m scripted:slow-12 Hi")
    live = [content["data"]["text/markdown"] for _, content in cell.paintings][:-1]
    assert any("word3" in text and "waits for its turn" in text for text in live)
    assert not any("word3" in text and text.count("word0") == 2 and "word18" not in text for text in live)


def test_without_streaming_there_is_one_message(kernel: Kernel) -> None:
    cell = kernel.run("%farm_compare --no-stream -m scripted:slow-5 -m scripted:slow-6 Hi")
    assert len(cell.paintings) == 1


@pytest.mark.slow
def test_real_models_answer_at_once_and_one_that_is_missing_does_not_matter(
    kernel: Kernel, embedded_model: str
) -> None:
    models = f"-m {embedded_model} -m scripted:count-3 -m llamacpp:nobody"
    cell = kernel.run(f"%%farm_compare {models} --max-tokens 12 -t 0 -o t\nWhat is the capital of France?")
    assert cell.status == "ok"
    assert kernel.value("list(t['outcome'])") in (
        ["done", "done", "failed"],
        ["cut at the token limit", "done", "failed"],
    )
    first = "t.iloc[0]"
    facts = f"bool({first}.first_token_s > 0), bool({first}.output_tokens > 2), float({first}.cost)"
    assert kernel.value(f"[{facts}]") == [True, True, 0.0]
    assert "ModelNotFoundError" in kernel.value("t['error'][2]")


@pytest.mark.slow
def test_an_interrupt_stops_a_real_model_too(kernel: Kernel, embedded_model: str) -> None:
    cell = kernel.start(
        f"%%farm_compare -m {embedded_model} -m {LONG} --max-tokens 4000 -t 0 -o t\n"
        "Write the numbers from 1 to 1000 in words, one a line, and nothing else."
    )

    def both_answer() -> bool:
        texts = (str(content["data"]) for _, content in cell.paintings)
        return any(text.count("first token") == 2 for text in texts)

    kernel.wait_for(both_answer)
    kernel.interrupt()
    cell.ended()
    assert cell.content["ename"] == "InterruptedReply"
    assert kernel.value("list(t['outcome'])") == ["interrupted", "interrupted"]
    assert kernel.value("[bool(text) for text in t['text']]") == [True, True]
    again = kernel.run(f"%farm_chat -m {embedded_model} --max-tokens 3 --no-history Hi")
    assert again.status == "ok", "it is free for the next"
