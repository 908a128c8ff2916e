"""Notebooks are skipped, and say why, where what they need is not installed; a replay needs little."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# None in sys.modules is how Python itself notes that a module is not to be found.
WITHOUT_PEFT = """\
import sys, pytest
sys.modules["peft"] = None
sys.exit(pytest.main(["--nbval", "-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def run_without_peft(notebook: str, **variables: str) -> str:
    """What pytest says of a notebook, or of a cell of it."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PEFT, f"notebooks/{notebook}"],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_notebook_that_trains_is_skipped_with_the_reason_where_peft_is_not_installed() -> None:
    told = run_without_peft("hot_reload.ipynb", FARM_CASSETTE="off")
    assert re.search(r"SKIPPED \[\d+\] .*the extra huggingface is not installed: no peft", told)
    assert re.search(r"^\d+ skipped in ", told, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.kernel
def test_a_replay_of_it_does_without_peft() -> None:
    pytest.importorskip("matplotlib")
    told = run_without_peft("hot_reload.ipynb::Cell 0", FARM_CASSETTE="replay", FARM_DISPLAY__LIVE="0")
    assert re.search(r"\d+ passed", told), told
    assert "skipped" not in told
