"""Recording and replaying in a real Jupyter kernel: the cells of a notebook are the same, byte for byte."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from kernels import PATIENCE_S, Cell, Kernel

from farm_notebook.cassettes import CassetteFile

pytestmark = pytest.mark.kernel

CELLS = [
    "%%farm_chat -m scripted:sample-40 -t 1\nTell me a story.",
    "%farm_chat -m scripted:sample-5 Go on",
    "%%farm_chat -m scripted:think-5\nThink first.",
    "%farm_chat -m scripted:fail-3 Break",
    "import farm_notebook as farm\nfarm.chat('Hello', model='scripted:sample-5')",
    "list(farm.stream('Hello', model='scripted:sample-5'))",
    "%%farm_compare -m scripted:echo -m scripted:count-3\nCompare",
    "%farm load scripted:echo",
    "%farm loaded",
    "%farm unload scripted:echo",
    "farm.embed(['a', 'b']).vectors[0][:2]",
    "%farm health",
    "%farm models",
    "%farm route scripted:echo",
]


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    (tmp_path / "story.ipynb").touch()
    kernel = Kernel(
        FARM_MODEL="scripted:echo",
        JPY_SESSION_NAME=str(tmp_path / "story.ipynb"),
    )
    yield kernel
    kernel.close()


def shown(kernel: Kernel, cell: str) -> list[dict[str, Any]]:
    """The outputs of a cell that is run."""
    return saved(kernel.run(cell))


def saved(ran: Cell) -> list[dict[str, Any]]:
    """The outputs of a cell as they would be saved, but for what no two runs have in common."""
    return [
        {name: value for name, value in output.items() if name not in ("transient", "execution_count")}
        for output in ran.outputs
    ]


def test_the_cells_of_a_replayed_notebook_are_those_of_the_recorded_one(
    kernel: Kernel, tmp_path: Path
) -> None:
    assert "story.farm.jsonl" in kernel.run("%farm record").text
    live = [shown(kernel, cell) for cell in CELLS]
    before = (tmp_path / "story.farm.jsonl").read_bytes()
    kernel.manager.restart_kernel(now=True)
    kernel.client.wait_for_ready(timeout=60)
    kernel.run("%load_ext farm_notebook")
    kernel.run("%farm replay --strict")
    for cell, outputs in zip(CELLS, live, strict=True):
        assert shown(kernel, cell) == outputs, cell
    assert kernel.run("%farm cassette check").text == "All that story.farm.jsonl holds was asked for.\n"
    assert (tmp_path / "story.farm.jsonl").read_bytes() == before


def test_a_cell_that_was_interrupted_is_recorded_as_far_as_it_came(kernel: Kernel, tmp_path: Path) -> None:
    kernel.run("%farm record")
    cell = kernel.start("%farm_chat --reset -m scripted:slow-500 Endless")
    kernel.wait_for(lambda: cell.has_painted("word0"))
    kernel.interrupt()
    stopped = saved(cell.ended())
    assert cell.content["ename"] == "InterruptedReply"
    for _ in range(2):
        kernel.run("%farm_chat --reset -m scripted:echo Hello")
    lines = CassetteFile(tmp_path / "story.farm.jsonl").read().lines
    assert sorted(line.is_interrupted for line in lines) == [False, False, True]
    kernel.run("%farm replay")
    assert shown(kernel, "%farm_chat --reset -m scripted:slow-500 Endless") == stopped


def recording(path: Path, *names: str) -> Iterator[Kernel]:
    """Kernels that record into one file; each knows its name."""
    for name in names:
        kernel = Kernel(FARM_MODEL="scripted:echo", FARM_CASSETTE="record", FARM_CASSETTE_FILE=str(path))
        kernel.run(f"import farm_notebook as farm, itertools\nname = {name!r}")
        yield kernel


def prompts(path: Path) -> set[str]:
    found = CassetteFile(path).read()
    assert found.problems == ()
    return {line.ask["messages"][0]["content"] for line in found.lines}


@pytest.mark.slow
def test_two_kernels_that_record_into_one_file_lose_nothing(tmp_path: Path) -> None:
    path, count = tmp_path / "shared.farm.jsonl", 20
    kernels = [*recording(path, "one", "other")]
    loop = f"for n in range({count}):\n    farm.chat(f'{{name}} {{n}}')"
    cells = [kernel.start(loop) for kernel in kernels]
    assert [cell.ended().status for cell in cells] == ["ok", "ok"]
    for kernel in kernels:
        kernel.close()
    assert prompts(path) == {f"{name} {n}" for name in ("one", "other") for n in range(count)}


@pytest.mark.slow
def test_a_kernel_that_is_killed_while_it_records_leaves_all_that_it_was_told(tmp_path: Path) -> None:
    path = tmp_path / "shared.farm.jsonl"
    (kernel,) = recording(path, "one")
    cell = kernel.start("for n in itertools.count():\n    print(farm.chat(f'{name} {n}').text)")
    kernel.wait_for(lambda: "one 7" in cell.text)
    os.kill(kernel.pid, signal.SIGKILL)
    assert prompts(path) >= set(cell.text.rpartition("\n")[0].splitlines())
    kernel.close()


def notebook(path: Path, *cells: str) -> None:
    made: Any = nbformat.v4.new_notebook()
    made.cells = [nbformat.v4.new_code_cell(cell) for cell in ("%load_ext farm_notebook", *cells)]
    nbformat.write(made, path)


@pytest.mark.slow
def test_a_replayed_notebook_passes_nbval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_MODEL", "scripted:sample-9")
    monkeypatch.setenv("FARM_DISPLAY__LIVE", "false")
    notebook(tmp_path / "story.ipynb", "%farm_chat Hello", "%%farm_chat --reset\nAgain", "%farm health")
    executed = ["nbconvert", "--to", "notebook", "--execute", "--inplace", "story.ipynb"]
    checked = ["pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env", "story.ipynb"]
    for mode, words, code in (
        ("record", executed, 0),
        ("replay", checked, 0),
        ("off", checked, 1),  # or it would compare nothing
    ):
        monkeypatch.setenv("FARM_CASSETTE", mode)
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=150)
        assert done.returncode == code, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("program", ["nbconvert", "papermill"])
def test_programs_that_execute_a_notebook_have_its_name_on_their_command_line(
    tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"FARM_MODEL": "scripted:echo", "FARM_CASSETTE": "record"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("JPY_SESSION_NAME", "/elsewhere/of-whoever-runs-the-tests.ipynb")
    notebook(tmp_path / "my story.ipynb", "%farm_chat Hello")
    words = {
        "nbconvert": ["nbconvert", "--to", "notebook", "--execute", "--inplace", "my story.ipynb"],
        "papermill": ["papermill", "my story.ipynb", "out.ipynb", "-k", "python3"],
    }
    command = [sys.executable, "-m", *words[program]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stderr
    (line,) = CassetteFile(tmp_path / "my story.farm.jsonl").read().lines
    assert line.ask["messages"][-1]["content"] == "Hello"


def _address(runtime: Path) -> str:
    """Where a server takes sessions, once it has written that down."""
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            told = json.loads(next(runtime.glob("jpserver-*.json")).read_text())
        except (StopIteration, ValueError):
            assert time.monotonic() < give_up_at
            time.sleep(0.1)
        else:
            return f"{told['url']}api/sessions?token={told['token']}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a Jupyter server in the folder, with its token; what it runs is in ``runtime``."""
    environment = {**os.environ, "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")}
    words = ["--no-browser", "--allow-root", "--ServerApp.port=0", f"--ServerApp.root_dir={tmp_path}"]
    command = [sys.executable, "-m", "jupyter", "server", *words]
    running = subprocess.Popen(
        command, cwd="/", env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield _address(tmp_path / "runtime")
    finally:
        running.terminate()
        running.wait()


@pytest.mark.slow
def test_a_jupyter_server_tells_each_kernel_its_notebook(tmp_path: Path, server: str) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("story.ipynb", "sub/story.ipynb"):
        notebook(tmp_path / name)
        asked = {
            "path": name,
            "name": Path(name).name,
            "type": "notebook",
            "kernel": {"name": "python3"},
        }
        request = Request(server, json.dumps(asked).encode(), {"Content-Type": "application/json"})
        with urlopen(request, timeout=PATIENCE_S) as response:
            kernel_id = json.load(response)["kernel"]["id"]
        client = BlockingKernelClient(connection_file=str(tmp_path / "runtime" / f"kernel-{kernel_id}.json"))
        client.load_connection_file()
        client.start_channels()
        client.wait_for_ready(timeout=PATIENCE_S)
        printed: list[str] = []
        client.execute_interactive(
            "from farm_notebook.farm.taping import notebook_file; print(notebook_file())",
            timeout=PATIENCE_S,
            output_hook=lambda message, into=printed: into.append(message["content"].get("text", "")),
        )
        client.stop_channels()
        assert "".join(printed).strip() == str(tmp_path / name)
