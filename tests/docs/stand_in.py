"""Stands in a page's commands for programs that fetch, build or stay: says whether they would take the words.

``python stand_in.py PROGRAM ARGUMENT ...``. The real one is run where it is quick and stays on this machine.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
OURS = PROJECT["project"]["name"]
PIP_OPTIONS = {"-e", "-U", "--upgrade", "-q", "--quiet"}
JUPYTER = ("lab", "notebook", "execute", "nbconvert")
DOCKER = ("build", "run", "ps", "stop", "pull")


def pip(command: str, *arguments: str) -> None:
    """What is ours has the extras; what is not ours is a package that some extra of ours needs."""
    expect(command, ["install", "uninstall"])
    known = {Requirement(line).name for lines in _requirements() for line in lines}
    for argument in arguments:
        if argument.startswith("-"):
            expect(argument, PIP_OPTIONS)
        elif argument.startswith("./"):
            install(ROOT / argument)
        else:
            requirement = Requirement(re.sub(r"^\.(?=\[|$)", OURS, argument))
            expect(requirement.name, known | {OURS})
            for extra in requirement.extras if requirement.name == OURS else ():
                expect(extra, PROJECT["project"]["optional-dependencies"])


def install(folder: Path) -> None:
    """Install a package of this repository into the folder that is first on the page's path."""
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--target"]
    run(sys.executable, "-m", "pip", "install", *options, os.environ["PYTHONPATH"], str(folder))


def make(*goals: str) -> None:
    """The goals are in our Makefile."""
    run("make", "--dry-run", *goals, quiet=True)


def jupyter(program: str, *arguments: str) -> None:
    """Notebooks that are named are there, and the settings it would run with are valid."""
    expect(program, JUPYTER)
    for name in arguments:
        if name.endswith(".ipynb"):
            exists(Path(name))
    farm("config", "check")


def docker(command: str, *_: str) -> None:
    expect(command, DOCKER)


def pre_commit(command: str, *_: str) -> None:
    expect(command, ["install", "run"])
    exists(ROOT / ".pre-commit-config.yaml")


def python(*arguments: str) -> None:
    """The files that are named are in the repository."""
    for argument in arguments:
        if not argument.startswith("-"):
            exists(ROOT / argument)


def pytest(*arguments: str) -> None:
    """Tests of the page are run; else the real one takes the options, and what is named is there."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # nbval and nbmake take seconds
    command = (sys.executable, "-m", "pytest", "-p", "farm_notebook.testing.plugin", "-p", "xdist.plugin")
    helped = Path(os.environ["HELP_OF_PYTEST"])
    if not helped.exists():
        helped.write_text(run(*command, "--help", quiet=True))
    options = {"--nbval", "--nbmake", *re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", helped.read_text())}
    values = dict(pairwise(arguments))
    taken = {values.get(option) for option in ("-k", "-m", "-n", "--dist")}
    named = [word for word in arguments if word not in taken]
    for word in named:
        if word.startswith("-"):
            expect(word.partition("=")[0], options)
        elif Path(word).suffix == ".py" and Path(word).exists():
            run(*command, *arguments)
        elif not Path(word).exists():
            exists(ROOT / word.partition("::")[0])
    declared = {line.partition(":")[0] for line in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    for marker in re.findall(r"\w+", values.get("-m", "")):
        expect(marker, declared | {"and", "or", "not"})
    texts = [(ROOT / word).read_text("utf-8") for word in named if (ROOT / word).is_file()]
    if (part := values.get("-k")) and not any(re.search(rf"def test_\w*{part}", text) for text in texts):
        sys.exit(f"no test there has {part!r} in its name")


def farm(*arguments: str) -> None:
    """The real command; of ``farm run``, which takes seconds, it is seen that it would take the arguments."""
    from farm_notebook.cli import main

    if arguments[0] != "run":
        main(arguments)
    from typer.main import get_command

    from farm_notebook.cli.app import app

    parser: Any = get_command(app)
    parsed = parser.commands["run"].make_context("farm run", list(arguments[1:])).params
    exists(parsed["notebook"])


def pass_(_name: str) -> None:
    print("a secret")


def expect(word: str, valid: Collection[str]) -> None:
    if word not in valid:
        sys.exit(f"{word!r} is none of {', '.join(sorted(valid))}")


def exists(path: Path) -> None:
    if not path.exists():
        sys.exit(f"{path} is not there")


def run(*command: str, quiet: bool = False) -> str:
    """Run the real program, in the repository where it is about that."""
    done = subprocess.run(command, cwd=ROOT if quiet else None, capture_output=quiet, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout or ''}{done.stderr or ''}")
    return done.stdout or ""


def _requirements() -> Iterator[list[str]]:
    yield PROJECT["project"]["dependencies"]
    yield from PROJECT["project"]["optional-dependencies"].values()


if __name__ == "__main__":
    os.environ["PATH"] = os.environ["PATH"].partition(os.pathsep)[2]  # behind the stand-ins are the real ones
    program = {"pass": "pass_"}.get(sys.argv[1], sys.argv[1].replace("-", "_"))
    globals()[program](*sys.argv[2:])
