"""The notebooks of the gallery show the same where there is no extra, no network and no model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib.font_manager  # noqa: F401 - makes that list
import pytest
from bare import TRIED_ENV, Bare, make_bare
from matplotlib import get_cachedir

from farm_notebook.cassettes import default_path
from farm_notebook.testing.executing import read_notebook
from farm_notebook.testing.outputs import IGNORED

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
GALLERY = sorted(path for path in NOTEBOOKS.glob("*.ipynb") if default_path(path).exists())
BASE = ("farm-notebook", "ipykernel")
OWN = {  # what a notebook is about
    "panels.ipynb": ("anywidget",),
    "structured_output_and_tools.ipynb": ("jsonschema",),
}
PLOTTED = ("matplotlib", "pandas")
EXTRAS = ["torch", "transformers", "openai", "ipywidgets", "keyring", "redis", "jsonschema", "nbclient"]
PANEL = "farm-static"  # how a panel is drawn where there is no kernel
PATIENCE_S = 300

each_notebook = pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Bare]:
    """A function: the names of packages to an environment with nothing else."""
    return cache(lambda *names: make_bare(tmp_path_factory.mktemp("bare") / "environment", names))


def replay(path: Path, folder: Path, environment: Bare) -> subprocess.Popen[str]:
    """Begin to execute a copy of a notebook, in a folder with nothing else of this machine's."""
    (folder / "home").mkdir(parents=True)
    copy = folder / path.name
    shutil.copy(path, copy)
    shutil.copy(default_path(path), default_path(copy))
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "JUPYTER_PATH": str(environment.jupyter_path),
        "MPLCONFIGDIR": get_cachedir(),  # the list of fonts takes matplotlib long to make
        TRIED_ENV: str(folder / "tried"),
    }
    command = [sys.executable, "-m", "farm_notebook.cli", "run", str(copy), "--replay", "--strict"]
    return subprocess.Popen(
        [*command, "-o", str(folder / "out.ipynb")],
        env=variables,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def shown(notebook: Any) -> list[tuple[str, list[Any]]]:
    """What each cell shows, but for panels, which tell of the moment and of the machine, and the bytes of
    pictures, which the next version of matplotlib changes."""
    cells = json.loads(json.dumps(notebook.cells))
    for data in (output.get("data", {}) for cell in cells for output in cell.get("outputs", ())):
        data.update(dict.fromkeys({"image/png"} & {*data}, ""))
    return [(cell["source"], [] if is_left_out(cell) else cell.get("outputs", [])) for cell in cells]


def is_left_out(cell: Any) -> bool:
    return IGNORED in cell["metadata"].get("tags", ())


def ended(process: subprocess.Popen[str], folder: Path) -> Path:
    """The notebook as it is when all has been replayed, and nobody tried anything else."""
    told, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, told
    assert " 0 differ from what was saved" in told
    tried = folder / "tried"
    assert not tried.exists(), tried.read_text()
    return folder / "out.ipynb"


@each_notebook
def test_replayed_with_nothing_around_it_shows_byte_for_byte_what_is_saved(
    path: Path, bare: Callable[..., Bare], tmp_path: Path
) -> None:
    folder = tmp_path / "alone"
    environment = bare(*BASE, *PLOTTED, *OWN.get(path.name, ()))
    again = read_notebook(ended(replay(path, folder, environment), folder))
    for (source, now), (_, saved) in zip(shown(again), shown(read_notebook(path)), strict=True):
        assert now == saved, source
    assert default_path(folder / path.name).read_bytes() == default_path(path).read_bytes()


def test_replayed_twice_it_is_the_same_file(bare: Callable[..., Bare], tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "other")]
    running = [replay(NOTEBOOKS / "quickstart.ipynb", folder, bare(*BASE, *PLOTTED)) for folder in folders]
    one, other = (ended(process, folder) for process, folder in zip(running, folders, strict=True))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("code", "event"),
    [
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "socket.getaddrinfo"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
    ],
)
def test_what_reaches_out_of_there_is_refused_and_written_down(
    code: str, event: str, bare: Callable[..., Bare], tmp_path: Path
) -> None:
    """Or the tests above would see nothing."""
    tried = tmp_path / "tried"
    command = [str(bare(*BASE, *PLOTTED).python), "-c", code]
    done = subprocess.run(command, env={TRIED_ENV: str(tried)}, capture_output=True, text=True, check=False)
    assert f"RuntimeError: this environment is closed: {event}" in done.stderr
    assert tried.read_text().startswith(event)


def test_extras_are_not_there(bare: Callable[..., Bare]) -> None:
    code = f"import farm_notebook, matplotlib, importlib.util as u; print([*map(u.find_spec, {EXTRAS})])"
    command = [str(bare(*BASE, *PLOTTED).python), "-c", code]
    assert subprocess.check_output(command, text=True) == f"{[None] * len(EXTRAS)}\n"


@each_notebook
def test_only_panels_are_left_out_of_its_comparison(path: Path) -> None:
    for cell in filter(is_left_out, read_notebook(path).cells):
        assert all(PANEL in output.data["text/html"] for output in cell.outputs), cell.source
