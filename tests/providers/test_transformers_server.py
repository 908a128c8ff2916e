"""The server of transformers for tests: where it does not come, or goes, that is told, and nothing stays.

How a process is started, waited for and ended is tried with a small one in its place, which comes at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import transformers_server
from transformers_server import serving

pytestmark = pytest.mark.slow

PATIENT_S = 60.0
STAND_IN = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

port, model = int(sys.argv[sys.argv.index("--port") + 1]), sys.argv[-1]
if model.endswith("no-model"):
    sys.exit(f"there is no {model}")

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"data": [{"id": model}]}).encode())

HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
PARENT = """
import sys, time
from pathlib import Path
sys.path.append(sys.argv[1])
from transformers_server import serving
with serving(Path(sys.argv[2]), Path(sys.argv[3])):
    time.sleep(600)
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    program = tmp_path / "stand_in.py"
    program.write_text(STAND_IN)
    return program


def servers(program: Path, parent: int | None = None) -> list[psutil.Process]:
    """The servers that a process has started, this one where no other is named."""
    found = []
    for child in psutil.Process(parent).children():
        try:
            if str(program) in child.cmdline() and is_alive(child):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; one that has ended may wait long for an init that reaps it."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_one_that_ends_before_it_answers_says_why_and_is_gone(stand_in: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"(?s)ended with status 1: .*no-model"),
        serving(tmp_path / "no-model", tmp_path, program=stand_in),
    ):
        pytest.fail("it answers")
    assert servers(stand_in) == []


def test_one_that_is_late_is_told_and_is_gone(stand_in: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"no answer of http://\S+ within 0 s: "),
        serving(tmp_path, tmp_path, start_s=0, program=stand_in),
    ):
        pytest.fail("it answers")
    assert servers(stand_in) == []


def test_one_that_ends_under_its_tests_says_so_and_is_gone(stand_in: Path, tmp_path: Path) -> None:
    def kill() -> None:
        with serving(tmp_path, tmp_path, program=stand_in) as server:
            os.kill(server.pid, signal.SIGKILL)
            os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)  # leaves the status to who started it

    with pytest.raises(AssertionError, match=r"(?s)ended with status -9: .*GET /v1/models"):
        kill()
    assert servers(stand_in) == []


def test_none_outlives_the_tests_that_were_killed(tiny_model: Path, tmp_path: Path) -> None:
    program = Path(transformers_server.__file__)
    words = [str(program.parent), str(tiny_model), str(tmp_path)]
    with subprocess.Popen([sys.executable, "-c", PARENT, *words]) as parent:
        give_up_at = time.monotonic() + PATIENT_S
        while not (started := servers(program, parent.pid)):
            assert parent.poll() is None
            assert time.monotonic() < give_up_at, "it started none"
            time.sleep(0.01)
        parent.kill()
    while alive := [server for server in started if is_alive(server)]:
        if time.monotonic() > give_up_at:
            for orphan in alive:
                orphan.kill()
            pytest.fail(f"orphaned: {alive}")
        time.sleep(0.01)
