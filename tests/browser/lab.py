"""A JupyterLab server of its own, and a notebook in it as a person sees and handles it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import Request, urlopen

import nbformat
import psutil
from playwright.sync_api import Locator, Page

__all__ = ["READY_S", "LabServer", "NotebookPage", "farm_outputs", "wait_for"]

READY_S = 90.0  # for whatever a busy machine may be slow at
_POLL_S = 0.05
_SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    # A save that the test did not ask for would make "saved with Ctrl+S" a test that cannot fail.
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")

T = TypeVar("T")


def wait_for(what: str, probe: Callable[[], T | None], timeout_s: float = READY_S) -> T:
    """The first truthy value of ``probe``.

    Raises:
        AssertionError: Naming ``what``, which did not come within ``timeout_s``.
    """
    give_up_at = time.monotonic() + timeout_s
    while not (value := probe()):
        assert time.monotonic() < give_up_at, f"waited {timeout_s:.0f} s in vain for: {what}"
        time.sleep(_POLL_S)
    return value


class LabServer:
    """A running JupyterLab that knows nothing of the user's settings.

    Args:
        root: An empty folder; notebooks are served from ``root/notebooks``.
        environment: Variables the kernels see besides the few that every process needs.
    """

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.folder = root / "notebooks"
        self._root = root
        self._environment = environment
        self._token = secrets.token_hex(24)
        self._url = ""

    @contextmanager
    def running(self) -> Iterator[LabServer]:
        """Started on entry; on exit it is gone, with its kernels and what these have started."""
        config = self._root / "config" / "labconfig"
        for folder in (self.folder, self._root / "home", config):
            folder.mkdir(parents=True)
        (config / "default_setting_overrides.json").write_text(json.dumps(_SETTINGS))
        with (self._root / "server.log").open("wb") as log:
            server = subprocess.Popen(
                self._command(), env=self._variables(), cwd=self.folder, stdout=log, stderr=log
            )
            try:
                self._url = wait_for("JupyterLab to listen", lambda: self._address(server))
                yield self
            finally:
                _end(server)

    def notebook_url(self, name: str) -> str:
        """Where a browser opens a notebook, in a workspace that holds nothing else."""
        return f"{self._url}lab/workspaces/{Path(name).stem}/tree/{name}?token={self._token}"

    def shut_down_kernels(self) -> None:
        """End all kernels, as *Shut Down All Kernels* does."""
        for session in json.loads(self._call("GET", "api/sessions")):
            self._call("DELETE", f"api/sessions/{session['id']}")

    def _command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            *("--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", "--ServerApp.open_browser=False"),
            f"--ServerApp.root_dir={self.folder}",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.news_url=None",
            "--LabApp.expose_app_in_browser=True",
        ]

    def _variables(self) -> dict[str, str]:
        root = self._root
        return {
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            "HOME": str(root / "home"),
            "XDG_CACHE_HOME": str(root / "home" / ".cache"),
            "XDG_CONFIG_HOME": str(root / "home" / ".config"),
            "XDG_DATA_HOME": str(root / "home" / ".local" / "share"),
            "IPYTHONDIR": str(root / "ipython"),
            "JUPYTER_CONFIG_DIR": str(root / "config"),
            "JUPYTER_DATA_DIR": str(root / "data"),
            "JUPYTER_RUNTIME_DIR": str(root / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(root / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(root / "workspaces"),
            "JUPYTER_TOKEN": self._token,  # not an argument: those are seen by every user of the machine
            **self._environment,
        }

    def _address(self, server: subprocess.Popen[bytes]) -> str | None:
        """The server's own word on the port that it was given; it writes it down before it answers."""
        if server.poll() is not None:
            log = (self._root / "server.log").read_text(errors="replace")
            raise RuntimeError(f"JupyterLab ended with {server.returncode}:\n{log[-3000:]}")
        for note in (self._root / "runtime").glob("jpserver-*.json"):
            try:
                url = str(json.loads(note.read_text())["url"])
                with urlopen(f"{url}api?token={self._token}", timeout=5):
                    return url
            except (OSError, ValueError):
                continue
        return None

    def _call(self, method: str, path: str) -> bytes:
        headers = {"Authorization": f"token {self._token}"}
        with urlopen(Request(f"{self._url}{path}", method=method, headers=headers), timeout=30) as answer:
            return bytes(answer.read())


class NotebookPage:
    """One notebook open in Lab, in a browser's page.

    Args:
        lab: The server.
        page: The browser's page; everything else in it is replaced.
        path: Where the notebook is written to.
    """

    def __init__(self, lab: LabServer, page: Page, path: Path) -> None:
        self.page = page
        self.path = path
        self._lab = lab

    @classmethod
    def create(cls, lab: LabServer, page: Page, name: str, sources: Sequence[str]) -> NotebookPage:
        """Write a notebook with these cells and open it."""
        cells: list[dict[str, Any]] = [
            {
                "cell_type": "code",
                "id": f"cell-{n}",
                "source": source,
                "metadata": {},
                "outputs": [],
                "execution_count": None,
            }
            for n, source in enumerate(sources)
        ]
        spec = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
        document = {"cells": cells, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}
        path = lab.folder / f"{name}.ipynb"
        path.write_text(json.dumps(document))
        notebook = cls(lab, page, path)
        notebook.open()
        return notebook

    def open(self) -> None:
        """Load the page afresh and wait until the kernel listens and has nothing to do."""
        self.page.goto(self._lab.notebook_url(self.path.name), timeout=READY_S * 1e3)
        self.cells.first.wait_for(timeout=READY_S * 1e3)
        self.page.wait_for_function(
            """() => {
                const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
                return kernel?.connectionStatus === "connected" && kernel.status === "idle";
            }""",
            timeout=READY_S * 1e3,
        )

    @property
    def cells(self) -> Locator:
        return self.page.locator(".jp-NotebookPanel .jp-Notebook .jp-Cell")

    def outputs(self, index: int) -> Locator:
        """What stands below cell ``index``: one element an output."""
        return self.cells.nth(index).locator(".jp-OutputArea-child")

    def rendered(self, index: int) -> Locator:
        """The same without the prompts beside it."""
        return self.cells.nth(index).locator(".jp-OutputArea-output")

    def text(self, index: int) -> str:
        """What a reader sees below cell ``index``, read in one instant; empty where nothing is."""
        texts = self.cells.nth(index).evaluate(
            "cell => [...cell.querySelectorAll('.jp-OutputArea-output')].map(each => each.innerText)"
        )
        return "\n".join(texts).strip()

    def prompt(self, index: int) -> str:
        """``[ ]:``, ``[*]:`` while it runs, then ``[1]:``."""
        return self.cells.nth(index).locator(".jp-InputPrompt").inner_text().strip()

    def select(self, index: int) -> None:
        """Click into a cell's editor."""
        self.cells.nth(index).locator(".cm-content").click()

    def press(self, keys: str) -> None:
        self.page.keyboard.press(keys)

    def start(self, index: int) -> None:
        """Click into a cell and run it; the cell below is selected after that."""
        self.select(index)
        self.press("Shift+Enter")

    def wait_until_done(self, index: int, timeout_s: float = READY_S) -> None:
        """Until a started cell has its number."""
        wait_for(f"cell {index} to end", lambda: self.prompt(index).strip("[]:").isdigit(), timeout_s)

    def run(self, index: int) -> None:
        """Click into a cell, run it and wait for its end."""
        self.start(index)
        self.wait_until_done(index)

    def run_from(self, first: int, count: int) -> None:
        """Click into a cell and press Shift+Enter ``count`` times; wait for the end of the last cell."""
        self.select(first)
        for _ in range(count):
            self.press("Shift+Enter")
        self.wait_until_done(first + count - 1)

    def wait_for_text(self, index: int, text: str, timeout_s: float = READY_S) -> str:
        """What stands below a cell as soon as ``text`` is in it."""

        def seen() -> str | None:
            now = self.text(index)
            return now if text in now else None

        return wait_for(f"{text!r} below cell {index}", seen, timeout_s)

    def save(self) -> Any:
        """Press Ctrl+S and read the notebook that this has written."""
        before = self.path.stat().st_mtime_ns
        self.press("Control+s")
        wait_for("the notebook to be saved", lambda: self.path.stat().st_mtime_ns != before)
        return wait_for("the saved notebook to be whole", self._read)

    def _read(self) -> Any:
        try:
            return nbformat.read(self.path, as_version=4)
        except ValueError:  # half written
            return None


def farm_outputs(cell: Any) -> list[Any]:
    """A saved cell's outputs that say where an answer came from."""
    return [output for output in cell.outputs if "farm" in output.get("metadata", {})]


def _end(server: subprocess.Popen[bytes]) -> None:
    """Let the server shut its kernels down, then end whatever is left of all that it has started."""
    started = _descendants(server.pid)
    server.terminate()
    try:
        server.wait(timeout=20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    _, left = psutil.wait_procs(started, timeout=5)
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=5)


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
