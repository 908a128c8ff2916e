"""Every code block of the documentation does what it says; ``blocks.py`` tells what a page may say of one."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

sys.path += [str(Path(__file__).parents[1] / room) for room in ("providers", "notebook")]

from blocks import ROOT, Block, blocks_of, pages
from checkpoints import one_thread, tiny_model
from pytest_httpserver import HTTPServer
from running import Runner
from shells import loaded_shell, plain_shell
from stage import Stage, hosts, set_up

from farm_notebook.errors import ConfigError
from farm_notebook.farm import default_farm

__all__ = ["tiny_model"]


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with hosts(tmp_path_factory.mktemp("ollama")) as found, one_thread():
        yield found
    gc.unfreeze()


@pytest.fixture
def stage(
    variables: dict[str, str],
    embedded_file: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    httpserver: HTTPServer,
    no_leaks: None,
) -> Iterator[Stage]:
    """A home, and a shell with the extension, for one page."""
    set_up(tmp_path, embedded_file.parent, variables, monkeypatch)
    gc.freeze()  # a shell that ends collects garbage: not from all modules each time
    with patch.dict(os.environ):  # what a page's %env sets goes with it
        for shell in plain_shell(monkeypatch, capsys):
            yield Stage(loaded_shell(shell), embedded_file, tiny_model, httpserver)
            default_farm().close()


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.timeout(600)  # a page of many commands, on a busy machine
@pytest.mark.parametrize(
    "page",
    [page for page in pages() if any(blocks_of(page))],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_every_block_of_a_page_does_what_it_says(page: Path, stage: Stage, subtests: pytest.Subtests) -> None:
    runner = Runner(stage)
    for block in blocks_of(page):
        with subtests.test(block.place):
            runner.run(block)


# In place of a place: what is said of it.
WRONG = (
    Block("InvalidRequestError.*'--temprature'", 1, "ipython", "%farm_chat --temprature 0 Hello"),
    Block("InvalidRequestError.*'modles'", 1, "ipython", "%farm modles"),
    Block("UsageError.*%%farm_chta", 1, "ipython", "%farm models\n\n%%farm_chta\nHello"),
    Block("AttributeError.*'chta'", 1, "python", "import farm_notebook as farm\nfarm.chta('Hello')"),
    Block("temprature", 1, "python", "import farm_notebook as farm\nfarm.chat('Hello', temprature=0)"),
    Block("AttributeError.*'txt'", 1, "python", "import farm_notebook as farm\nfarm.chat('Hello').txt"),
    Block("ZeroDivisionError.*not.*KeyError", 1, "python", "1 / 0", {"raises": "KeyError"}),
    Block("raised.*not.*KeyError", 1, "python", "1 / 1", {"raises": "KeyError"}),
    Block("not shown by the block before it", 1, "text", "0.5"),
    Block("--modle.*line 1", 1, "sh", "farm chat --modle scripted:echo Hello"),
    Block("--rcord.*line 2", 1, "sh", "true\nfarm run story.ipynb --rcord"),
    Block("'widget' is none of .*widgets", 1, "sh", "pip install 'farm-notebook[widget]'"),
    Block("demoo", 1, "sh", "make demoo"),
    Block("FARM_OLLAMA__ADRESS", 1, "sh", "export FARM_OLLAMA__ADRESS=localhost"),
    Block("which file it is", 1, "toml", "model = 'scripted:echo'"),
    Block("cache.ttl", 1, "toml", "[cache]\nttl = 3", {"file": "farm.toml"}),
    Block("'farn.toml'; valid: farm.toml", 1, "toml", "[cache]\nttl_s = 3", {"file": "farn.toml"}),
    Block("no language ''", 1, "", "%farm models"),
    Block("no note", 1, "python", "1", problem="no note"),
)


@pytest.mark.model
@pytest.mark.slow
def test_a_block_that_is_wrong_fails_and_it_is_said_why(stage: Stage, subtests: pytest.Subtests) -> None:
    runner = Runner(stage)
    for block in WRONG:
        with (
            subtests.test(block.place),
            pytest.raises((AssertionError, ConfigError), match=f"(?s){block.place}"),
        ):
            runner.run(block)


def test_a_note_that_nobody_knows_or_that_says_nothing_is_a_problem(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- skip -->\n```sh\nls\n```\n\n<!-- spik: why -->\n\n```sh\nls\n```\n")
    assert [bool(block.problem) for block in blocks_of(page, root=tmp_path)] == [True, True]


def test_a_page_has_few_blocks_that_are_not_run_and_says_why() -> None:
    found = [block for page in pages() for block in blocks_of(page)]
    skipped = [f"{block.place}: {block.notes['skip']}" for block in found if "skip" in block.notes]
    print("\n".join(skipped))
    assert len(skipped) < len(found) / 10
