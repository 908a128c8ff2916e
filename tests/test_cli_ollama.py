"""``farm ollama``, and other commands with a model of Ollama: what is written where, and the exit codes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

PROVIDERS = Path(__file__).parent / "providers"
RUN_S = 60.0
Farm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        number: int = sock.getsockname()[1]
        return number


@pytest.fixture
def farm(tmp_path: Path, port: int) -> Iterator[Farm]:
    """Runs a command in a process of its own, on a machine with Ollama (the double) and no models."""
    programs, disk = tmp_path / "programs", tmp_path / "disk"
    programs.mkdir()
    put = f"import sys; sys.path.insert(0, {str(PROVIDERS)!r}); from ollama_programs import put_ollama; "
    put += f"from pathlib import Path; put_ollama(Path({str(programs)!r}))"
    subprocess.run([sys.executable, "-c", put], check=True)
    foreign = ("FARM_", "OLLAMA_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment |= {"PATH": str(programs), "OLLAMA_MODELS": str(disk), "OLLAMA_HOST": f"0.0.0.0:{port}"}
    environment |= {"FARM_CACHE_DIR": str(tmp_path / "cache"), "FARM_OLLAMA__PULL": '["parrot"]'}

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "farm_notebook.cli", *arguments],
            env=environment | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_S,
        )

    yield run
    run("ollama", "stop")


def test_a_server_is_started_looked_at_used_and_stopped(farm: Farm, port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    nothing = farm("ollama", "status")
    assert nothing.returncode == 1
    assert nothing.stdout.startswith(f"not running: Nothing answers at {url}")

    started = farm("ollama", "start")
    assert (started.returncode, started.stderr) == (0, "")
    first, pulled = started.stdout.splitlines()
    assert first.startswith(f"Ollama 0.13.0 started at {url} (process ")
    assert pulled == "ollama:parrot fetched"

    again = farm("ollama", "start")
    assert again.stdout.splitlines() == [
        first.replace("started", "already runs"),
        "ollama:parrot is already here",
    ]
    status = farm("ollama", "status")
    assert (status.returncode, status.stdout.strip()) == (0, first.replace("started", "runs"))

    answer = farm("chat", "-m", "ollama:parrot", "hello there")
    assert (answer.returncode, answer.stdout) == (0, "hello there\n")

    stopped = farm("ollama", "stop")
    assert (stopped.returncode, stopped.stdout.split()[:2]) == (0, ["stopped", "process"])
    assert farm("ollama", "stop").stdout == f"nothing runs at {url}\n"


def test_models_are_pulled_and_listed(farm: Farm) -> None:
    farm("ollama", "start")
    pulled = farm("pull", "ollama:plain")
    assert (pulled.returncode, pulled.stdout) == (0, "ollama:plain fetched (4.0 MB)\n")
    infos = {info["ref"]: info for info in json.loads(farm("models", "--json").stdout)}
    assert infos["ollama:plain"]["available"]
    assert "4.0 MB" in next(line for line in farm("models").stdout.splitlines() if "ollama:plain" in line)
    missing = farm("pull", "ollama:nobody")
    assert missing.returncode == 2
    assert "'ollama:nobody' is not in Ollama's registry" in missing.stderr


def test_models_that_cannot_be_had_do_not_keep_the_others_away(farm: Farm) -> None:
    started = farm("ollama", "start", FARM_OLLAMA__PULL='["nobody", "parrot", "no-one"]')
    assert started.returncode == 2
    assert "ollama:parrot fetched" in started.stdout
    assert [line.split("'")[1] for line in started.stderr.splitlines()] == ["ollama:no-one", "ollama:nobody"]


def test_a_server_of_somebody_else_is_left_alone(farm: Farm, tmp_path: Path) -> None:
    farm("ollama", "start")
    (record,) = (tmp_path / "cache" / "ollama").glob("*.json")
    pid = json.loads(record.read_text())["pid"]
    moved = record.rename(record.with_suffix(".elsewhere"))
    stopped = farm("ollama", "stop")
    assert stopped.returncode == 1
    assert "started by somebody else and is left alone" in stopped.stderr
    assert "started by somebody else" in farm("ollama", "status").stdout
    assert psutil.pid_exists(pid)
    moved.rename(record)


def test_what_cannot_be_started_is_one_line(farm: Farm) -> None:
    elsewhere = farm("ollama", "start", OLLAMA_HOST="10.1.2.3")
    assert elsewhere.returncode == 2
    assert elsewhere.stderr.startswith("error: http://10.1.2.3:11434 is not this machine's own")
    dead = farm("ollama", "start", OLLAMA_DOUBLE_DIES="no room")
    assert (dead.returncode, len(dead.stderr.splitlines())) == (1, 1)
    assert "Its last words: " in dead.stderr
    assert "no room" in dead.stderr
