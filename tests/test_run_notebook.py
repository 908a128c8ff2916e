"""``farm run`` executes a notebook, records and replays it, and tells which cells differ."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import pytest

from farm_notebook.cassettes import CassetteFile
from farm_notebook.cli import main
from farm_notebook.errors import ConfigError, InvalidRequestError
from farm_notebook.testing.executing import read_notebook, with_parameters
from farm_notebook.testing.outputs import comparable, differing_cells


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``farm run`` in an empty folder."""
    for name in list(os.environ):
        if name.upper().startswith("FARM_"):
            monkeypatch.delenv(name)
    for name in ("CACHE__ENABLED", "HISTORY__ENABLED"):
        monkeypatch.setenv(f"FARM_{name}", "false")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Outcome:
        with pytest.raises(SystemExit) as ended:
            main(("run", *arguments))
        return Outcome(int(ended.value.code or 0), *capsys.readouterr())

    return run


def notebook(*cells: str, tags: tuple[str, ...] = ()) -> Any:
    made: Any = nbformat.v4.new_notebook()
    made.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    if tags:
        made.cells[0].metadata["tags"] = list(tags)
    return made


def story(path: Path, model: str = "scripted:sample-5") -> None:
    cells = ["%load_ext farm_notebook", f"%farm_chat -m {model} Hello", "print('done')"]
    nbformat.write(notebook(*cells), path)


@pytest.mark.kernel
@pytest.mark.slow
def test_a_recorded_notebook_replays_byte_for_byte(farm: Run, tmp_path: Path) -> None:
    story(tmp_path / "story.ipynb")
    recorded = farm("story.ipynb", "--record")
    assert recorded.code == 0, recorded
    assert recorded.out.endswith("story.ipynb: 3 cells ran, 2 differ from what was saved\n")
    outcome = farm("story.ipynb", "--replay", "--strict", "-o", "again.ipynb")
    assert outcome == (0, "story.ipynb: 3 cells ran, 0 differ from what was saved\n", "")
    assert (tmp_path / "again.ipynb").read_bytes() == (tmp_path / "story.ipynb").read_bytes()

    saved = (tmp_path / "story.ipynb").read_text()
    (tmp_path / "story.ipynb").write_text(saved.replace("done", "gone"))
    changed = farm("story.ipynb", "--replay")
    assert changed.code == 0, "the code says so, and the cell shows it"
    (tmp_path / "story.ipynb").write_text(saved.replace('"done\\n"', '"gone\\n"'))
    changed = farm("story.ipynb", "--replay")
    assert changed.code == 1
    assert "cell 3 differs: print('done')" in changed.out
    assert "    -gone\n    +done" in changed.out


@pytest.mark.kernel
@pytest.mark.slow
def test_a_recording_asks_anew_where_an_answer_is_kept(
    farm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_CACHE__ENABLED", "true")
    monkeypatch.setenv("FARM_CACHE_DIR", str(tmp_path / "cache"))
    nbformat.write(
        notebook(
            "import farm_notebook", "farm_notebook.chat('Hi', model='scripted:echo', temperature=0).cached"
        ),
        tmp_path / "story.ipynb",
    )
    for options, cached in (((), "False"), ((), "True"), (("--record",), "False")):
        assert farm("story.ipynb", *options, "-o", "out.ipynb").code == 0
        assert read_notebook(tmp_path / "out.ipynb").cells[1].outputs[0].data["text/plain"] == cached


@pytest.mark.kernel
@pytest.mark.slow
def test_what_was_not_recorded_and_what_was_never_asked_fails(farm: Run, tmp_path: Path) -> None:
    story(tmp_path / "story.ipynb")
    assert farm("story.ipynb", "--replay").err.startswith("error: There is no cassette")
    assert farm("story.ipynb", "--record").code == 0
    story(tmp_path / "story.ipynb", "scripted:echo")
    missed = farm("story.ipynb", "--replay")
    assert missed.code == 1
    assert "error: cell 2 failed: NotRecordedError: Not in story.farm.jsonl" in missed.err
    assert "`farm run story.ipynb --record`" in missed.err
    assert farm("story.ipynb", "--auto").code == 0
    unasked = farm("story.ipynb", "--replay", "--strict")
    assert unasked.code == 1
    assert "never asked for: chat scripted:sample-5 'Hello'" in unasked.out
    assert len(CassetteFile(tmp_path / "story.farm.jsonl").read().lines) == 2
    pruned = farm("story.ipynb", "--replay", "--prune", "-p", "x", "1")
    assert pruned.code == 0
    assert "never asked for, taken out: chat scripted:sample-5 'Hello'" in pruned.out
    assert len(CassetteFile(tmp_path / "story.farm.jsonl").read().lines) == 1


@pytest.mark.kernel
@pytest.mark.slow
def test_variables_are_set_and_a_failing_cell_is_told(farm: Run, tmp_path: Path) -> None:
    made = notebook("name = 'nobody'\ncount = 1", "print(name * count)", "1 / 0", tags=("parameters",))
    made.cells.pop()
    nbformat.write(made, tmp_path / "a.ipynb")
    outcome = farm("a.ipynb", "-p", "name", "Ada", "--parameter", "count=2", "-o", "b.ipynb")
    assert outcome.code == 0, outcome
    (output,) = read_notebook(tmp_path / "b.ipynb").cells[2].outputs
    assert output.text == "AdaAda\n"
    nbformat.write(notebook("1 / 0"), tmp_path / "a.ipynb")
    failed = farm("a.ipynb")
    assert (failed.code, failed.err) == (1, "error: cell 1 failed: ZeroDivisionError: division by zero\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--record", "--replay"], "exclude each other"),
        (["--prune"], "goes with --replay"),
        (["-p", "name"], "-p name has no value"),
        (["-p", "a b", "1"], "'a b' is no name of a variable"),
    ],
)
def test_what_is_wrong_with_the_line_is_told(
    farm: Run, tmp_path: Path, arguments: list[str], told: str
) -> None:
    story(tmp_path / "story.ipynb")
    outcome = farm("story.ipynb", *arguments)
    assert outcome.code == 2
    assert told in outcome.err


def test_what_is_no_notebook_is_told(farm: Run, tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text("{}")
    with pytest.raises(ConfigError, match="cannot be read as a notebook"):
        read_notebook(tmp_path / "a.ipynb")


def test_parameters_are_values_as_python_writes_them_or_texts() -> None:
    made = with_parameters(notebook("x = 0"), {"a": "1", "b": "[1, 2]", "c": "plain text", "d": "'q'"})
    assert made.cells[0].source == "a = 1\nb = [1, 2]\nc = 'plain text'\nd = 'q'"
    assert made.cells[1].source == "x = 0"
    with pytest.raises(InvalidRequestError):
        with_parameters(notebook("x = 0"), {"1a": "1"})


# What cells show


def cell(*outputs: dict[str, Any], tags: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "cells": [
            {
                "cell_type": "code",
                "source": "x",
                "outputs": list(outputs),
                "metadata": {"tags": list(tags)},
            }
        ]
    }


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def display(**data: str) -> dict[str, Any]:
    named = {name.replace("_", "/"): value for name, value in data.items()}
    return {"output_type": "display_data", "data": named, "metadata": {}}


SAME = [
    (cell(stream("ab")), cell(stream("a"), stream("b"))),
    (
        cell({**display(text_plain="x"), "output_type": "execute_result", "execution_count": 1}),
        cell({**display(text_plain="x"), "output_type": "execute_result", "execution_count": 2}),
    ),
    (
        cell({"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["here"]}),
        cell({"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["there"]}),
    ),
    (cell(stream("a"), tags=("nbval-ignore-output",)), cell(stream("b"))),
    (
        cell(display(image_png="aaaa", text_plain="<Figure>")),
        cell(display(image_png="bbbb", text_plain="<Figure>")),
    ),
    (cell(stream("ab")), json.loads(json.dumps(cell(stream(["a", "b"]))))),  # type: ignore[arg-type]
]
OTHERS = [
    (cell(stream("a")), cell(stream("b")), ["-a", "+b"]),
    (cell(stream("a")), cell(), ["-a"]),
    (cell(stream("a")), cell(stream("a", "stderr")), ['-  "name": "stdout",', '+  "name": "stderr",']),
    (cell(display(text_plain="x")), cell(display(text_plain="y")), ["-x", "+y"]),
    (cell(display(text_plain="x")), cell(display(text_plain="x", image_png="a")), ['+   "image/png": "",']),
]


@pytest.mark.parametrize(("before", "after"), SAME)
def test_what_no_two_runs_have_in_common_does_not_count(before: Any, after: Any) -> None:
    assert differing_cells(before, after) == []


@pytest.mark.parametrize(("before", "after", "lines"), OTHERS)
def test_all_else_does_and_is_shown_as_a_diff(before: Any, after: Any, lines: list[str]) -> None:
    (found,) = differing_cells(before, after)
    assert found.number == 1
    assert set(lines) <= set(found.lines)


def test_outputs_are_compared_with_their_metadata() -> None:
    output = {**display(text_plain="x"), "metadata": {"farm": {"model": "a"}}}
    assert comparable([output])[0]["metadata"] == {"farm": {"model": "a"}}


def interrupt_handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_a_kernel_that_does_not_start_is_told_as_that(
    farm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tmp_path / "kernels/broken/kernel.json"
    spec.parent.mkdir(parents=True)
    argv = [sys.executable, "-c", "raise SystemExit(3)", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "Broken", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    story(tmp_path / "a.ipynb")
    made = nbformat.read(tmp_path / "a.ipynb", as_version=4)
    made.metadata["kernelspec"] = {"name": "broken", "display_name": "Broken", "language": "python"}
    nbformat.write(made, tmp_path / "a.ipynb")
    handlers = interrupt_handlers()
    outcome = farm("a.ipynb")
    assert outcome.code == 2
    assert "The kernel 'broken' of a.ipynb does not start" in outcome.err
    assert "Traceback" not in outcome.err
    assert interrupt_handlers() == handlers
