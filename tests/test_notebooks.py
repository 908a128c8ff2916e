"""Notebooks are skipped, and say why, where what they need is not installed."""

from __future__ import annotations

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
sys.exit(pytest.main(["--nbval", "-q", "-p", "no:cacheprovider", "notebooks/hot_reload.ipynb"]))
"""


@pytest.mark.slow
def test_the_notebook_that_trains_is_skipped_with_the_reason_where_peft_is_not_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PEFT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"SKIPPED \[\d+\] .*the extra huggingface is not installed: no peft", done.stdout)
    assert re.search(r"^\d+ skipped in ", done.stdout, re.MULTILINE)
