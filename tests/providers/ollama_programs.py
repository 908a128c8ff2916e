"""Programs for a PATH of a test's own: ``ollama``, which is the double, and a ``docker`` that runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
LAUNCH = HERE.parent.parent / "farm_notebook" / "providers" / "ollama" / "launch.py"
_OLLAMA = f"""#!{sys.executable} -P
import runpy, sys
sys.path.insert(0, {str(HERE)!r})
runpy.run_path({str(HERE / "ollama_double.py")!r}, run_name="__main__")
"""
_DOCKER = f"""#!{sys.executable} -P
import runpy, sys
sys.path.insert(0, {str(HERE)!r})
runpy.run_path({str(HERE / "ollama_programs.py")!r}, run_name="__main__")
"""


def put_ollama(folder: Path) -> None:
    """A program ``ollama`` in a folder."""
    _put(folder / "ollama", _OLLAMA)


def put_docker(folder: Path) -> None:
    """A program ``docker`` in a folder; what it knows is in ``FARM_TEST_DOCKER``."""
    _put(folder / "docker", _DOCKER)


def docker_calls(state: Path) -> list[list[str]]:
    """What docker was asked for, in order; without the questions that change nothing."""
    lines = (state / "calls").read_text().splitlines()
    return [call for line in lines if (call := json.loads(line))[0] not in ("container", "info", "logs")]


def _put(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def docker() -> None:
    """Enough of Docker for one container that runs the double."""
    state = Path(os.environ["FARM_TEST_DOCKER"])
    with (state / "calls").open("a") as calls:
        calls.write(json.dumps(sys.argv[1:]) + "\n")
    container: dict[str, Any] = {}
    if (file := state / "container").exists():
        container = json.loads(file.read_text())
    is_running = bool(container.get("pid")) and _runs(container["pid"])
    command, *rest = sys.argv[1:]
    if words := os.environ.get("FARM_TEST_DOCKER_FAILS"):
        sys.exit(f"docker: {words}")
    if command == "info":
        print(os.environ.get("FARM_TEST_DOCKER_RUNTIMES", '{"runc": {}}'))
        return
    if command == "run":
        host, port, _ = rest[rest.index("-p") + 1].rsplit(":", 2)
        container = {"id": os.urandom(8).hex(), "host": host, "port": port}
    elif not container or rest[-1] not in (container["id"], "farm-ollama"):
        sys.exit(f"Error response from daemon: No such container: {rest[-1]}")
    match command:
        case "run" | "start":
            os.environ["OLLAMA_HOST"] = f"{container['host']}:{container['port']}"
            server = state / "image" / "ollama"
            command_line = [sys.executable, str(LAUNCH), str(state / "log"), str(server), "serve"]
            container["pid"] = int(subprocess.check_output(command_line))
            print(container["id"] if command == "run" else rest[-1])
        case "stop":
            os.kill(container["pid"], signal.SIGKILL)
            container["pid"] = 0
        case "rm":
            if is_running:
                sys.exit("Error response from daemon: cannot remove a running container")
            file.unlink()
            return
        case "logs":
            print((state / "log").read_text())
        case "container":
            bindings = {"11434/tcp": [{"HostIp": container["host"], "HostPort": container["port"]}]}
            facts = {"Id": container["id"], "State.Running": json.dumps(is_running)}
            facts["json .HostConfig.PortBindings"] = json.dumps(bindings)
            print(facts[rest[2].strip("{}.")])
    file.write_text(json.dumps(container))


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


if __name__ == "__main__":
    docker()
