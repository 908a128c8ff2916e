"""The magics where there is no front end that repaints: a terminal, papermill, ``jupyter execute``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pexpect
import pytest

pytestmark = pytest.mark.kernel

PATIENCE_S = 30
PROMPT = r"In \[(\d+)\]: "
CLEAR = "\r\x1b[2K"
NOTE = f"{CLEAR}…"  # our own, on standard error, until the first word
ENVIRONMENT = {
    "FARM_MODEL": "scripted:echo",
    "NO_COLOR": "1",
    "TERM": "dumb",
    "PYTHONWARNINGS": "error::ResourceWarning",
}


class Terminal:
    """Terminal IPython with the extension loaded."""

    def __init__(self, folder: Path) -> None:
        self._process: Any = pexpect.spawn(
            sys.executable,
            ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=nocolor", "--no-confirm-exit"],
            env={**os.environ, **ENVIRONMENT, "IPYTHONDIR": str(folder), "FARM_CACHE_DIR": str(folder)},
            encoding="utf-8",
            timeout=PATIENCE_S,
            dimensions=(40, 500),
        )
        self._process.expect(PROMPT)
        self.run("%load_ext farm_notebook")

    def start(self, *lines: str) -> None:
        """Type a cell's lines and do not wait for its end."""
        for line in lines:
            self._process.sendline(line)

    def until(self, pattern: str) -> str:
        """What is printed up to a pattern, the pattern included."""
        self._process.expect(pattern)
        return str(self._process.before + self._process.after)

    def rest(self) -> str:
        """What is printed up to the next prompt."""
        self._process.expect(PROMPT)
        return str(self._process.before).replace("\r\n", "\n").replace(NOTE, "").replace(CLEAR, "")

    def run(self, line: str) -> str:
        """Type one line; what is printed after it."""
        self.start(line)
        return self.rest().removeprefix(line).lstrip("\n")

    def interrupt(self) -> None:
        self._process.sendintr()

    def close(self) -> None:
        self._process.sendline("exit")
        self._process.expect(pexpect.EOF)
        self._process.close()
        assert self._process.exitstatus == 0


@pytest.fixture(scope="module")
def shared_terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path_factory.mktemp("ipython"))
    yield terminal
    terminal.close()


@pytest.fixture
def terminal(shared_terminal: Terminal) -> Terminal:
    shared_terminal.run("%farm_chat --reset")
    return shared_terminal


def test_a_terminal_gets_the_answer_once_as_plain_text(terminal: Terminal) -> None:
    out = terminal.run("%farm_chat -m scripted:slow-12 Hi")
    words = " ".join(f"word{number}" for number in range(12))
    assert out.startswith(f"{words}\n\nscripted:slow-12 · 12 tokens")
    assert out.count("word0") == 1
    assert "<Reply of scripted:slow-12, 73 characters>" in out
    assert "\x1b" not in out
    assert "\r" not in out


def test_text_arrives_in_a_terminal_while_the_model_still_writes(terminal: Terminal) -> None:
    terminal.start("%farm_chat -m scripted:slow-60 Hi")
    assert "word59" not in terminal.until("word1 ")
    assert "word59" in terminal.rest()


def test_a_question_mark_in_a_terminal_is_asked(terminal: Terminal) -> None:
    assert terminal.run("%farm_chat What is up?").startswith("What is up?\n\nscripted:echo")
    assert terminal.run("%farm_chat What's up?").startswith("What's up?\n\nscripted:echo")


def test_a_cell_magic_works_in_a_terminal(terminal: Terminal) -> None:
    terminal.start("%%farm_chat --out reply", "first line", "second line", "", "")
    assert "first line\nsecond line\n\nscripted:echo" in terminal.rest()
    assert "'first line\\nsecond line'" in terminal.run("reply.text.strip()")


def test_the_model_cannot_steer_a_terminal(terminal: Terminal) -> None:
    terminal.run(r"hostile = 'a\x1b[31mred\x1b]0;title\x07b\rc\x08d\x9b2J'")
    for options in ("", "--no-stream", "-f text", "-f code", "-f html"):
        out = terminal.run(f"%farm_chat --no-history --out reply {options} {{hostile}}")
        assert "red" in out
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", out), repr(out)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", terminal.run("reply"))


def test_ctrl_c_in_a_terminal_keeps_what_arrived_and_the_prompt_returns(terminal: Terminal) -> None:
    terminal.start("%farm_chat -m scripted:slow-600 --out kept Hi")
    terminal.until("word3")
    terminal.interrupt()
    out = terminal.rest()
    assert "interrupted" in out
    assert "InterruptedReply" in out
    assert "You stopped the answer" in out
    assert "Traceback" not in out
    assert "'word0 word1 word2 word3" in terminal.run("kept.text")
    assert "'interrupted'" in terminal.run("kept.finish_reason")
    streams = (
        "__import__('farm_notebook.providers.scripted').providers.scripted.ScriptedProvider.open_streams"
    )
    assert terminal.run(streams).startswith(("Out", "0"))
    assert "\n\nscripted:echo" in terminal.run("%farm_chat next")


def test_the_subcommands_of_farm_are_text_in_a_terminal(terminal: Terminal) -> None:
    assert terminal.run("%farm cache?").startswith("usage: %farm cache")
    out = terminal.run("%farm cache stats")
    assert re.search(r"^answers +\d", out, re.MULTILINE)
    assert "|" not in out
    assert terminal.run("%farm load scripted:echo").startswith("scripted:echo is loaded (")
    assert "Did you mean cache?" in terminal.run("%farm cach")


def test_a_panel_in_a_terminal_is_what_it_shows_as_text(terminal: Terminal) -> None:
    terminal.run("%farm_chat -m scripted:echo What remains?")
    out = terminal.run("__import__('farm_notebook').ChatPanel()")
    assert "You: What remains?\n\nWhat remains?\n\n(scripted:echo" in out
    assert "<" not in out


def test_a_key_typed_into_a_terminal_is_warned_of(terminal: Terminal) -> None:
    assert "looks like an API key (gsk_…)" in terminal.run("key = 'gsk_" + "aB3dE5fG7hJ9kL2mN4pQ6rS8'")


def test_an_error_in_a_terminal_is_one_line(terminal: Terminal) -> None:
    out = terminal.run("%farm_chat --modle x Hi")
    assert len(out.strip().splitlines()) == 1
    assert "Did you mean --model?" in out


CELLS = (
    "%load_ext farm_notebook",
    "%%farm_chat\nThe **capital** is Paris.",
    "%farm_chat -m scripted:slow-12 Is it so?",
    "%farm_chat --no-history -m scripted:count-3000 Go on.",
    "for word in ['one']:\n    %farm_chat --no-history -m scripted:slow-8 Is it {word}?",
)

PANEL = "import farm_notebook as farm\nfarm.ChatPanel()"


def papermill(source: Path, target: Path) -> list[str]:
    return ["papermill", str(source), str(target), "--kernel", "python3", "--no-progress-bar"]


def jupyter_execute(source: Path, target: Path) -> list[str]:
    return ["jupyter", "execute", str(source), f"--output={target}", "--kernel_name=python3"]


def run_module(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        env={**os.environ, "FARM_MODEL": "scripted:echo"},
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module", params=[papermill, jupyter_execute], ids=["papermill", "jupyter-execute"])
def executed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook after one tool has executed it."""
    command: Callable[[Path, Path], list[str]] = request.param
    folder = tmp_path_factory.mktemp("executed")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in (*CELLS, PANEL)])
    nbformat.write(notebook, folder / "source.ipynb")
    run_module(command(folder / "source.ipynb", folder / "executed.ipynb"))
    return folder / "executed.ipynb"


def test_an_executed_notebook_has_one_static_answer_a_cell(executed: Path) -> None:
    notebook = nbformat.read(executed, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.source in CELLS]
    assert cells[0].outputs == []
    assert [[output.output_type for output in cell.outputs] for cell in cells[1:]] == [["display_data"]] * 4
    outputs = [cell.outputs[0] for cell in cells[1:]]
    texts = [output.data["text/markdown"] for output in outputs]
    assert texts[0].startswith("The **capital** is Paris.")
    assert texts[1].startswith("word0 word1")
    assert ("word0 " in texts[2], "word2999" in texts[2]) == (True, True)
    assert "word7" in texts[3]
    for output in outputs:
        farm = output.metadata["farm"]
        assert farm["model"].startswith("scripted:")
        assert farm["finish_reason"] == "stop"
        assert "<small>" in output.data["text/markdown"]
        assert "widget" not in str(output.data)


def test_an_executed_notebook_has_what_a_panel_shows_as_its_last_output(executed: Path) -> None:
    notebook = nbformat.read(executed, as_version=4)
    (cell,) = (cell for cell in notebook.cells if cell.source == PANEL)
    live, static = cell.outputs
    assert "application/vnd.jupyter.widget-view+json" in live.data
    assert "The <strong>capital</strong> is Paris." in static.data["text/html"]
    assert static.data["text/plain"].startswith("You: The **capital** is Paris.")


def test_an_executed_notebook_becomes_html_that_shows_the_answer(executed: Path) -> None:
    run_module(["nbconvert", "--to", "html", str(executed), "--output", "page.html"])
    page = (executed.parent / "page.html").read_text()
    assert "The <strong>capital</strong> is Paris." in page
    assert "word2999" in page
