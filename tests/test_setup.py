"""What a fresh clone relies on: the commands of the Makefile, the package's build, the notebook's runner."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from pydantic import BaseModel

from farm_notebook.config import ENV_PREFIX, FarmConfig

ROOT = Path(__file__).parents[1]
RUNNER = ROOT / "scripts" / "run_notebook.py"

# A Python that makes environments which only write down what pip was asked for.
RECORDING_PYTHON = """#!/bin/sh
case "$*" in
    *"import venv, ensurepip"*) exit "${VENV_EXIT:-0}" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip "*) echo "$*" >>"$CALLS"; echo "pip's own words"; exit "${PIP_EXIT:-0}" ;;
esac
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The package as ``pip install .`` would install it, built without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        folder,
        ROOT,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


def test_the_wheel_holds_the_package_whole(wheel: zipfile.ZipFile) -> None:
    package = ROOT / "farm_notebook"
    ours = {path.relative_to(ROOT).as_posix() for path in package.rglob("*.py")}
    ours |= {"farm_notebook/py.typed", "farm_notebook/providers/ADDING_A_PROVIDER.md"}
    assert "farm_notebook/providers/llamacpp/child.py" in ours
    assert ours <= set(wheel.namelist())


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"farm_notebook"}


def test_the_wheel_brings_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    info = next(name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name)
    assert "farm = farm_notebook.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
    assert f"{info}/licenses/LICENSE" in wheel.namelist()


def test_the_wheel_brings_the_panels_built_and_not_their_sources(wheel: zipfile.ZipFile) -> None:
    entries = (ROOT / "farm_notebook" / "widgets" / "js" / "src" / "entries").glob("*.tsx")
    static = "farm_notebook/widgets/static"
    built = {
        f"{static}/{entry.stem}.{kind}"
        for entry in entries
        for kind in ("js", "css")
        if kind == "js" or ".css" in entry.read_text("utf-8")
    }
    assert f"{static}/health.js" in built
    assert built <= set(wheel.namelist())
    assert f"{static}/LICENSES.txt" in wheel.namelist()
    assert not [name for name in wheel.namelist() if name.startswith("farm_notebook/widgets/js/")]


def everything_of(extra: str) -> Iterator[str]:
    """What an extra asks for, those it holds included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for line in [*project["dependencies"], *project["optional-dependencies"][extra]]:
        if inner := re.fullmatch(r"farm-notebook\[(\w+)\]", line):
            yield from everything_of(inner[1])
        else:
            yield line


@pytest.mark.parametrize(
    "extra", ["docs", "kernel", "keyring", "lab", "openai", "redis", "schema", "telemetry"]
)
def test_what_is_small_does_not_install_torch(extra: str) -> None:
    assert not [line for line in everything_of(extra) if re.match(r"torch|transformers|accelerate", line)]
    assert any(line.startswith("torch") for line in everything_of("huggingface"))


def settings(
    model: type[BaseModel] = FarmConfig, prefix: str = ENV_PREFIX
) -> Iterator[tuple[str, str | None]]:
    """Every variable that sets something, with its default as one would write it.

    ``None`` stands where each machine decides.
    """
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            yield from settings(type(default), f"{prefix}{name.upper()}__")
        elif isinstance(default, Mapping | tuple | frozenset):
            empty = "{}" if isinstance(default, Mapping) else "[]"  # as JSON
            yield prefix + name.upper(), None if default else empty
        elif field.default_factory:
            yield prefix + name.upper(), None
        else:
            yield (
                prefix + name.upper(),
                str(default).lower() if default in (None, True, False) else str(default),
            )


def test_every_setting_stands_in_the_table_with_its_default() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    table = dict(re.findall(r"^\| `(FARM_\w+)` \| (.*?) \|", page, re.M))
    known = dict(settings())
    assert table.keys() == known.keys()
    assert {name: table[name].strip("`") for name in table if known[name]} == {
        name: default for name, default in known.items() if default
    }


def make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``make`` in a folder, as a person with nothing set would call it."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env=inherited | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_alone_lists_the_commands() -> None:
    said = make(ROOT).stdout
    for command in ("demo", "lab", "test", "check", "bench", "clean", "help"):
        assert re.search(rf"make {command} +\w", said)


def test_a_commit_runs_the_pieces_of_make_check() -> None:
    hooks = re.findall(r"entry: make ([\w-]+)", (ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    found = re.search(r"^check: (.*?) ##", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert found
    assert found[1].split() == hooks


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the installing needs of a clone, and a Python that only records."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    python = tmp_path / "recording-python"
    python.write_text(RECORDING_PYTHON)
    python.chmod(0o755)
    return tmp_path


def install(clone: Path, extra: str, **environment: str) -> subprocess.CompletedProcess[str]:
    calls = {"PYTHON": str(clone / "recording-python"), "CALLS": str(clone / "calls")}
    return make(clone, f"install-{extra}", **(calls | environment))


def pip_calls(clone: Path) -> list[str]:
    return (clone / "calls").read_text().splitlines() if (clone / "calls").exists() else []


def test_a_machine_without_python_is_told_what_to_install(clone: Path) -> None:
    done = install(clone, "kernel", PYTHON="false")
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stderr
    assert not (clone / ".venv").exists()


def test_a_python_that_makes_no_environments_is_named(clone: Path) -> None:
    done = install(clone, "kernel", VENV_EXIT="1")
    assert done.returncode != 0
    assert "recording-python cannot make virtual environments" in done.stderr
    assert "python3-venv" in done.stderr


def test_a_second_install_asks_nothing_of_pip(clone: Path) -> None:
    for _ in range(2):
        assert install(clone, "kernel").returncode == 0
    assert len(pip_calls(clone)) == 1
    assert ".[kernel]" in pip_calls(clone)[0]


def test_an_extra_that_a_larger_one_brought_is_not_installed_again(clone: Path) -> None:
    assert install(clone, "dev").returncode == install(clone, "lab").returncode == 0
    assert len(pip_calls(clone)) == 1


def test_a_larger_extra_is_installed_after_a_smaller_one(clone: Path) -> None:
    assert install(clone, "kernel").returncode == install(clone, "test").returncode == 0
    assert ".[test]" in pip_calls(clone)[1]


def test_a_changed_pyproject_is_installed_again(clone: Path) -> None:
    install(clone, "kernel")
    with (clone / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    install(clone, "kernel")
    assert len(pip_calls(clone)) == 2


def test_a_clone_that_was_moved_gets_a_new_environment(clone: Path) -> None:
    install(clone, "kernel")
    moved = clone.rename(clone.with_name(f"{clone.name}-moved"))
    said = install(moved, "kernel")
    assert said.returncode == 0
    assert "made anew" in said.stdout
    assert len(pip_calls(moved)) == 2


def test_a_failed_install_says_what_pip_said_and_is_tried_again(clone: Path) -> None:
    done = install(clone, "kernel", PIP_EXIT="1")
    assert done.returncode != 0
    assert "pip's own words" in done.stderr
    assert "PIP_INDEX_URL" in done.stderr
    assert install(clone, "kernel").returncode == 0
    assert len(pip_calls(clone)) == 2


def test_lab_and_the_tests_build_the_panels_and_the_demo_does_not() -> None:
    planned = {goal: make(ROOT, "--dry-run", goal).stdout for goal in ("lab", "test", "demo")}
    assert {goal for goal, plan in planned.items() if "build_widgets.py" in plan} == {"lab", "test"}
    assert planned["lab"].index("build_widgets.py") < planned["lab"].index("-m jupyterlab")
    assert "build_widgets.py check" in planned["test"]
    assert "build_widgets.py test" in planned["test"]


def test_no_packages_address_is_written_down() -> None:
    lock = json.loads((ROOT / "farm_notebook" / "widgets" / "js" / "package-lock.json").read_text("utf-8"))
    packages = [each for path, each in lock["packages"].items() if path]
    assert all(each["integrity"] for each in packages)
    assert not [each for each in packages if "resolved" in each]


# A Node that only writes down what it was asked for, with an npm that builds nothing.
RECORDING_NPM = """#!/bin/sh
echo "$*" >>"$CALLS"
case "$1" in
    ci) echo "npm's own words"; mkdir -p node_modules; exit "${CI_EXIT:-0}" ;;
    run) mkdir -p ../static; exit "${RUN_EXIT:-0}" ;;
esac
"""


@pytest.fixture
def panels(tmp_path: Path) -> Path:
    """A clone with little more than a panel's source, and programs that only record."""
    sources = tmp_path / "farm_notebook" / "widgets" / "js"
    (sources / "src").mkdir(parents=True)
    for name in ("package.json", "package-lock.json", "tsconfig.json", "build.mjs", "src/panel.ts"):
        (sources / name).write_text("1")
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "build_widgets.py", tmp_path / "scripts")
    (tmp_path / "bin").mkdir()
    for name, script in {"npm": RECORDING_NPM, "node": "#!/bin/sh\necho v22.1.0\n"}.items():
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def build_panels(
    clone: Path, job: str = "build", **environment: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """What the script says, and what it has asked of npm so far."""
    calls = clone / "calls"
    path = os.pathsep.join([str(clone / "bin"), os.defpath])
    done = subprocess.run(
        [sys.executable, clone / "scripts" / "build_widgets.py", job],
        env={"PATH": path, "CALLS": str(calls)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done, [line.split()[0] for line in calls.read_text().splitlines()] if calls.exists() else []


def test_panels_are_built_anew_only_when_their_sources_change(panels: Path) -> None:
    assert build_panels(panels)[1] == ["ci", "run"]
    done, calls = build_panels(panels)
    assert calls == ["ci", "run"]
    assert "built already" in done.stdout
    (panels / "farm_notebook/widgets/js/src/panel.ts").write_text("2")
    assert build_panels(panels)[1] == ["ci", "run", "run"]
    (panels / "farm_notebook/widgets/js/package-lock.json").write_text("2")
    assert build_panels(panels)[1] == ["ci", "run", "run", "ci", "run"]


def test_a_failed_installation_says_what_npm_said_and_is_tried_again(panels: Path) -> None:
    done, _ = build_panels(panels, CI_EXIT="1")
    assert done.returncode == 1
    assert "npm's own words" in done.stderr
    assert "npm config get registry" in done.stderr
    assert build_panels(panels)[1] == ["ci", "ci", "run"]


@pytest.mark.parametrize("job", ["build", "check", "test"])
def test_a_failed_job_fails_and_is_tried_again(panels: Path, job: str) -> None:
    done, calls = build_panels(panels, job, RUN_EXIT="1")
    assert done.returncode == 1
    assert f"run --silent {job}` failed" in done.stderr
    assert calls == ["ci", "run"]
    assert build_panels(panels, job)[1] == ["ci", "run", "run"]


def test_an_unknown_job_is_quoted(panels: Path) -> None:
    done, _ = build_panels(panels, "biuld")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no job 'biuld'; valid: build, check, test" in done.stderr


# A shell in which nothing is installed but what `programs` names, and an apt-get that only records.
RECORDING_APT = """#!/bin/sh
echo "$*" >>"$CALLS"
echo "apt-get's own words"
case "$*" in *"$APT_BRINGS") ;; *) exit "${APT_EXIT:-0}" ;; esac
for package in $APT_BRINGS; do echo "#!/bin/sh" >"$BIN/$package"; /bin/chmod +x "$BIN/$package"; done
"""


def install_apt(
    folder: Path, *programs: str, apt: bool = True, brings: str = "none", user_id: int = 0, **environment: str
) -> tuple[str, list[str]]:
    """What the script says on a machine with these programs, and what it asked of apt-get."""
    folder.mkdir()
    for name in ("mktemp", "rm", "tail"):
        (folder / name).symlink_to(shutil.which(name) or name)
    for name, script in {"id": f"echo {user_id}", **dict.fromkeys(programs, "exit 0")}.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    if apt:
        (folder / "apt-get").write_text(RECORDING_APT)
    for path in folder.iterdir():
        if not path.is_symlink():
            path.chmod(0o755)
    calls = folder / "calls"
    variables = {"PATH": str(folder), "BIN": str(folder), "CALLS": str(calls), "APT_BRINGS": brings}
    done = subprocess.run(
        ["/bin/sh", str(ROOT / "scripts" / "install_apt.sh")],
        env=variables | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, "it never fails"
    return done.stdout + done.stderr, calls.read_text().splitlines() if calls.exists() else []


def test_what_is_installed_already_is_not_asked_of_apt(tmp_path: Path) -> None:
    said, calls = install_apt(tmp_path / "bin", "chromium-browser", "redis-server")
    assert calls == []
    assert re.search(r"the browser tests will use \S+/chromium-browser", said)
    assert re.search(r"the tests of Redis will use \S+/redis-server", said)
    assert "skipped" not in said


def test_a_browser_that_is_named_is_used(tmp_path: Path) -> None:
    said, _ = install_apt(tmp_path / "bin", "mine", "redis-server", FARM_TEST_CHROMIUM="mine")
    assert re.search(r"the browser tests will use \S+/mine", said)


def test_only_what_is_missing_is_asked_of_apt(tmp_path: Path) -> None:
    said, calls = install_apt(tmp_path / "bin", "redis-check-rdb", brings="chromium")
    assert [call.split()[0] for call in calls] == ["update", "install"]
    assert calls[1].endswith(" chromium")
    assert "skipped" not in said


def test_the_server_is_installed_without_its_service(tmp_path: Path) -> None:
    _, calls = install_apt(tmp_path / "bin", "chromium")
    assert calls[1].endswith(" redis-tools")


def test_without_apt_the_reason_is_told(tmp_path: Path) -> None:
    said, _ = install_apt(tmp_path / "bin", apt=False)
    assert "no apt-get" in said
    assert "the browser tests and the tests of Redis will be skipped" in said
    said, _ = install_apt(tmp_path / "bin2", "chromium", apt=False)
    assert "; the tests of Redis will be skipped" in said


def test_without_root_the_reason_is_told(tmp_path: Path) -> None:
    said, calls = install_apt(tmp_path / "bin", "chromium", user_id=1000)
    assert "needs root; the tests of Redis will be skipped" in said
    assert calls == []


def test_what_apt_cannot_install_is_skipped_and_its_words_are_shown(tmp_path: Path) -> None:
    said, calls = install_apt(tmp_path / "bin", brings="chromium", APT_EXIT="100")
    assert len(calls) == 3, "one that fails does not keep the other from being tried"
    assert "apt-get's own words" in said
    assert "the browser tests will use" in said
    assert "could not install redis-tools, see above; the tests of Redis will be skipped" in said


def notebook(folder: Path, *sources: str) -> Path:
    """A notebook of these cells that has not been run."""
    path = folder / "tiny.ipynb"
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def run_notebook(path: Path, copy: Path) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [sys.executable, RUNNER, path, copy]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def outputs(path: Path) -> list[dict[str, Any]]:
    return [output for cell in json.loads(path.read_text())["cells"] for output in cell["outputs"]]


@pytest.mark.kernel
def test_the_runner_tells_an_answer_while_it_streams(tmp_path: Path) -> None:
    source = notebook(tmp_path, "%load_ext farm_notebook", "%farm_chat -m scripted:slow-60 go")
    with subprocess.Popen(
        [sys.executable, RUNNER, source, tmp_path / "run.ipynb"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        pieces = [os.read(process.stdout.fileno(), 4096).decode()]
        while pieces[-1]:
            pieces.append(os.read(process.stdout.fileno(), 4096).decode())
    assert process.returncode == 0
    assert sum("word" in piece for piece in pieces) > 3
    told = "".join(pieces)
    assert " ".join(f"word{number}" for number in range(60)) + "\n\nscripted:slow-60" in told
    assert told.count("word7 ") == 1


@pytest.mark.kernel
def test_the_runner_writes_a_copy_and_leaves_the_notebook_alone(tmp_path: Path) -> None:
    source = notebook(
        tmp_path, "%load_ext farm_notebook", "%farm_chat -m scripted:count-5 go", "print('a'); 6 * 7"
    )
    before, copy = source.read_bytes(), tmp_path / "build" / "run.ipynb"
    done = run_notebook(source, copy)
    assert (done.returncode, source.read_bytes()) == (0, before)
    assert str(os.path.relpath(copy)) in done.stdout
    assert "\na\n42\n" in done.stdout
    answer, printed, value = outputs(copy)
    assert "word0 word1 word2 word3 word4" in "".join(answer["data"]["text/markdown"])
    assert answer["metadata"]["farm"]["model"] == "scripted:count-5"
    assert (printed["text"], value["data"]["text/plain"]) == (["a\n"], ["42"])


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%farm_chat -m scripted:fail-3 go", "word0 word1 word2\n\nscripted:fail-3"),
        ("%farm_chat -m scripted:fail-3 go", "ProviderConnectionError: scripted:fail-3 broke on cue"),
        ("{}['key']", "KeyError: 'key'"),
        ("import os; os._exit(1)", "the kernel died in code cell 2"),
    ],
)
def test_the_runner_says_which_cell_failed_and_how(tmp_path: Path, cell: str, said: str) -> None:
    source = notebook(tmp_path, "%load_ext farm_notebook", cell, "print('not reached')")
    done = run_notebook(source, tmp_path / "run.ipynb")
    assert done.returncode == 1
    assert said in done.stdout
    assert "code cell 2" in done.stdout
    assert "Traceback" not in done.stderr
    assert len(json.loads((tmp_path / "run.ipynb").read_text())["cells"]) == 3


@pytest.mark.kernel
def test_the_runner_puts_an_answer_with_many_parts_together(tmp_path: Path) -> None:
    source = notebook(tmp_path, "%load_ext farm_notebook", "%farm_chat -m scripted:count-2000 go")
    done = run_notebook(source, tmp_path / "run.ipynb")
    assert [int(number) for number in re.findall(r"\bword(\d+)\b", done.stdout)] == list(range(2000))


@pytest.mark.slow
def test_the_runner_names_a_file_that_is_no_notebook(tmp_path: Path) -> None:
    (tmp_path / "tiny.ipynb").write_text("{")
    done = run_notebook(tmp_path / "tiny.ipynb", tmp_path / "run.ipynb")
    assert done.returncode == 1
    assert "tiny.ipynb cannot be read as a notebook" in done.stdout
    assert not (tmp_path / "run.ipynb").exists()
