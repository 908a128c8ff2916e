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

from blocks import ROOT, blocks_of, pages
from checkpoints import one_thread, tiny_model
from pytest_httpserver import HTTPServer
from running import Runner
from shells import loaded_shell, plain_shell
from stage import Stage, hosts, set_up

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
@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_of_a_page_does_what_it_says(page: Path, stage: Stage, subtests: pytest.Subtests) -> None:
    runner = Runner(stage)
    for block in blocks_of(page):
        with subtests.test(block.place):
            runner.run(block)


def test_a_page_has_few_blocks_that_are_not_run_and_says_why() -> None:
    found = [block for page in pages() for block in blocks_of(page)]
    skipped = [f"{block.place}: {block.notes['skip']}" for block in found if "skip" in block.notes]
    print("\n".join(skipped))
    assert len(skipped) < len(found) / 10
