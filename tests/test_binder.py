"""What Binder makes of the repository: its environment, built in a clean one as repo2docker builds it.

There is no container and no conda here. A virtual environment stands for conda's, and a copy of what git has,
which is the home folder as well, for the image. The order of things is that of repo2docker 2026.4:
``environment.yml``, the repository, then ``postBuild`` in its folder; and as each session starts, ``start``
with the command of its server.
"""

from __future__ import annotations

import ast
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml  # type: ignore[import-untyped]
from IPython.core.inputtransformer2 import TransformerManager
from uv import find_uv_bin

ROOT = Path(__file__).parents[1]
BINDER = ROOT / "binder"
SOON_S = 180.0  # far beyond what a server takes to start
LONG_S = 600  # and what a build takes on a machine that fetches everything
NODE_MODULES = Path("farm_notebook/widgets/js/node_modules")
# What a session of ours would tell another program, and the image must not hear.
OURS = re.compile(r"FARM_|JUPYTER|JPY_|IPYTHON|PYTHON|VIRTUAL_ENV|CONDA|UV_|XDG_|PYTEST")
TOO_BIG = {
    "peft",
    "torch",
}  # for an image that is fetched while somebody waits; hot_reload says what it needs

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(LONG_S)]


@dataclass(frozen=True)
class Image:
    """What stands for the image.

    Args:
        home: The repository's folder, which is the user's home as well.
        variables: All that a process in it sees.
        python: The interpreter of its environment.
    """

    home: Path
    variables: Mapping[str, str]
    python: Path

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """A command in the folder, as a session runs it."""
        return subprocess.run(
            ["binder/start", *command],
            cwd=self.home,
            env={**self.variables, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONG_S,
            check=False,
        )


def environment() -> dict[str, Any]:
    """What conda is asked for."""
    found: dict[str, Any] = yaml.safe_load((BINDER / "environment.yml").read_text("utf-8"))
    return found


def python_version() -> str:
    """The interpreter's, as repo2docker reads it."""
    (found,) = (
        match[1] for each in environment()["dependencies"] if (match := re.match(r"python=(.*)", each))
    )
    return str(found)


def answer(*command: str | Path) -> str:
    """What a command prints; nothing where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def copy_repository(to: Path) -> None:
    """What git has or would take of this folder: nothing that was built or installed here."""
    if not (listed := answer("git", "-C", ROOT, "ls-files", "-coz", "--exclude-standard")):
        pytest.skip("no git, or not a clone: which files Binder would get is not known")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)


def caches(home: Path) -> dict[str, str]:
    """Where this machine keeps what it has fetched, and where it fetches from; another home hides both."""
    found = {"UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(home / ".cache" / "uv"))}
    if index := os.environ.get("PIP_INDEX_URL") or answer(
        sys.executable, "-m", "pip", "config", "get", "global.index-url"
    ):
        found["UV_DEFAULT_INDEX"] = index
    return found | {"npm_config_cache": str(home / ".npm"), "npm_config_userconfig": str(home / ".npmrc")}


@pytest.fixture(scope="module")
def image(embedded_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The repository, built as ``binder/`` says; of this machine it shares what was fetched already."""
    root = tmp_path_factory.mktemp("binder")
    home, conda = root / "jovyan", root / "conda"
    copy_repository(home)
    if (fetched := ROOT / NODE_MODULES).is_dir():
        (home / NODE_MODULES).symlink_to(fetched)
    models = home / ".cache" / "farm-notebook" / "models"
    models.parent.mkdir(parents=True)
    models.symlink_to(embedded_file.parent)

    variables = {name: value for name, value in os.environ.items() if not OURS.match(name)}
    variables |= caches(Path.home()) | {
        "HOME": str(home),
        "PATH": os.pathsep.join([str(conda / "bin"), os.environ.get("PATH", os.defpath)]),
        "UV_COMPILE_BYTECODE": "0",  # not all of it is needed here
        "UV_HTTP_TIMEOUT": "180",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    uv = find_uv_bin()

    def make(*command: str, may_fail: bool = False) -> bool:
        done = subprocess.run(
            command,
            cwd=home,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert may_fail or done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
        return done.returncode == 0

    if not make(uv, "venv", "--python", python_version(), str(conda), may_fail=True):
        make(uv, "venv", "--python", sys.executable, str(conda))
    others = [each for each in environment()["dependencies"] if not each.startswith("python=")]
    make(uv, "pip", "install", "--python", str(conda / "bin" / "python"), *others)
    make("binder/postBuild")
    return Image(home, variables, conda / "bin" / "python")


def test_the_environment_is_one_that_conda_reads() -> None:
    found = environment()
    assert found.keys() <= {"name", "channels", "dependencies", "variables"}
    assert found["channels"] == ["conda-forge"]
    assert all(re.fullmatch(r"[a-z][a-z0-9_.-]*(=[0-9.]+)?", each) for each in found["dependencies"])


def test_its_python_is_one_that_we_support_and_the_rest_only_installs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"Programming Language :: Python :: {python_version()}" in project["classifiers"]
    assert [each for each in environment()["dependencies"] if not each.startswith("python=")] == ["pip", "uv"]


def test_nothing_else_decides_what_is_built() -> None:
    """A Dockerfile would win over the environment, and two folders would be an error."""
    assert {path.name for path in BINDER.iterdir()} == {"environment.yml", "postBuild", "start"}
    assert not (ROOT / ".binder").exists()
    for name in ("postBuild", "start"):
        assert (BINDER / name).read_text("utf-8").startswith("#!/bin/bash\n")
        assert os.access(BINDER / name, os.X_OK)
    assert (BINDER / "start").read_text("utf-8").endswith('\nexec "$@"\n')


def test_the_image_holds_the_panels_built_and_not_what_built_them(image: Image) -> None:
    asked = "import farm_notebook, pathlib; print(pathlib.Path(farm_notebook.__file__).parent)"
    package = Path(answer(image.python, "-I", "-c", asked))
    assert package.is_relative_to(image.python.parents[1])
    assert (package / "widgets" / "static" / "chat.js").stat().st_size > 10_000
    assert not (image.home / NODE_MODULES).exists()


def test_whatever_a_notebook_imports_is_there(image: Image) -> None:
    imported: set[str] = set()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        imported |= set(imports(json.loads(path.read_text("utf-8"))))
    missing = imported - TOO_BIG - {"farm_notebook"}
    asked = f"from importlib.util import find_spec as f; print(*(n for n in {sorted(missing)} if not f(n)))"
    assert subprocess.check_output([image.python, "-I", "-c", asked], text=True).split() == []


def imports(notebook: Mapping[str, Any]) -> Iterator[str]:
    """The packages that its cells import."""
    cells = TransformerManager()  # type: ignore[no-untyped-call]
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        for node in ast.walk(ast.parse(cells.transform_cell("".join(cell["source"])))):
            match node:
                case ast.Import():
                    yield from (each.name.partition(".")[0] for each in node.names)
                case ast.ImportFrom(module=str(module)):
                    yield module.partition(".")[0]


def test_a_notebook_shows_what_it_holds_with_no_network_and_no_model(image: Image, tmp_path: Path) -> None:
    done = image.run(
        "farm", "run", "notebooks/quickstart.ipynb", FARM_CACHE_DIR=str(tmp_path), FARM_OFFLINE="1"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"quickstart\.ipynb: \d+ cells ran, 0 differ", done.stdout), done.stdout


def test_the_embedded_model_answers_what_was_not_recorded(image: Image) -> None:
    asked = ("farm", "chat", "-t", "0", "--max-tokens", "8", "What is the capital of Japan?")
    done = image.run(*asked, FARM_OFFLINE="1")
    assert (done.returncode, "Tokyo" in done.stdout) == (0, True), done.stdout + done.stderr


def test_jupyterlab_opens_the_notebook_and_shows_its_panels(image: Image) -> None:
    with jupyterlab(image) as fetch:
        assert b"jupyter-config-data" in fetch("lab/tree/notebooks/quickstart.ipynb")
        assert json.loads(fetch("api/contents/notebooks/quickstart.ipynb?content=0"))["type"] == "notebook"
        config = re.search(rb'id="jupyter-config-data"[^>]*>(.*?)</script>', fetch("lab"), re.DOTALL)
        assert config
        loaded = {each["name"]: each["load"] for each in json.loads(config[1])["federated_extensions"]}
        assert loaded.keys() >= {"anywidget", "@jupyter-widgets/jupyterlab-manager"}
        assert fetch(f"lab/extensions/anywidget/{loaded['anywidget']}")


def test_the_three_files_of_the_guide_do_the_same(image: Image, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how_to" / "binder.md").read_text("utf-8")
    asked, post_build, start = re.findall(r"^```(?:yaml|sh)\n((?:channels:|#!).*?)^```", page, re.M | re.S)
    assert yaml.safe_load(asked)["dependencies"] == environment()["dependencies"]
    for name, text in {"postBuild": post_build, "start": start}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def run(*command: str) -> str:
        return subprocess.check_output(command, cwd=tmp_path, env=image.variables, text=True)

    (tmp_path / "notebooks").mkdir()
    assert "is already here" in run("./postBuild"), "of what it installs, nothing is missing in the image"
    settings = Path("notebooks", "farm.toml")
    assert (tmp_path / settings).read_text() == (image.home / settings).read_text()
    assert run("./start", "printenv", "FARM_LLAMACPP__THREADS") == "1\n"


@contextmanager
def jupyterlab(image: Image) -> Iterator[Callable[[str], bytes]]:
    """A session's server, started as BinderHub starts it, and a function that fetches a path of it.

    The program that ``start`` was given has to have taken its place: only then does ending it end the server.
    """
    token, notes = secrets.token_hex(24), image.home / "runtime"
    command = ("binder/start", "jupyter-lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0")
    log = image.home / "server.log"
    with log.open("wb") as file:
        server = subprocess.Popen(
            command,
            cwd=image.home,
            env={**image.variables, "JUPYTER_TOKEN": token, "JUPYTER_RUNTIME_DIR": str(notes)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )

    def fetch(path: str) -> bytes:
        headers = {"Authorization": f"token {token}"}
        with urlopen(Request(f"{address}{path}", headers=headers), timeout=SOON_S) as found:
            return bytes(found.read())

    try:
        address = wait_for_address(server, notes, log)
        yield fetch
    finally:
        server.terminate()
        server.wait(SOON_S)


def wait_for_address(server: subprocess.Popen[bytes], notes: Path, log: Path) -> str:
    """Where the server listens; it writes that down a moment before it does."""
    give_up_at = time.monotonic() + SOON_S
    while time.monotonic() < give_up_at and server.poll() is None:
        for note in notes.glob("jpserver-*.json"):
            with suppress(OSError, ValueError):
                address = str(json.loads(note.read_text())["url"])
                with urlopen(f"{address}login", timeout=SOON_S):
                    return address
        time.sleep(0.05)
    pytest.fail(f"it does not listen (exit code {server.poll()}):\n{log.read_text(errors='replace')[-3000:]}")
