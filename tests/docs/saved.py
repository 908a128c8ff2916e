"""What a block is that the reader saves as a file: whether those who read such a file take it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from blocks import ROOT

from farm_notebook.cassettes.checking import find_problems
from farm_notebook.cassettes.file import CassetteFile
from farm_notebook.config import load_config
from farm_notebook.config.load import find_warnings
from farm_notebook.router import look_up

__all__ = ["check_saved", "commands_in"]


def check_saved(path: Path) -> None:
    """Fail where a file is not what its name says.

    Raises:
        AssertionError: Nobody here knows files of that name, or something in it is wrong.
    """
    known = [check for pattern, check in CHECKS.items() if fnmatch(path.as_posix(), pattern)]
    assert known, f"nobody here checks a file of the name {str(path)!r}; valid: {', '.join(CHECKS)}"
    known[0](path)


def commands_in(path: Path) -> Iterator[str]:
    """The commands for a shell in a file of settings for CI or for git's hooks."""
    held = yaml.safe_load(path.read_text("utf-8")) if path.suffix in (".yml", ".yaml") else {}
    for repository in held.get("repos", ()):
        yield from (hook["entry"] for hook in repository["hooks"] if repository["repo"] == "local")
    for job in held.get("jobs", {}).values():
        yield from (step["run"] for step in job["steps"] if "run" in step)


def _settings(path: Path) -> None:
    """Every name in it leads to a model, in each environment."""
    environments = ("development", "production")
    for environment in environments:
        config = load_config({"environment": environment})
        assert all(look_up(name, config).ref for name in (None, *config.aliases))
    assert find_warnings() == []


def _endpoints(path: Path) -> None:
    text = json.loads(path.read_text("utf-8"))
    assert load_config({"endpoints": text}).endpoints.keys() == text.keys()


def _pyproject(path: Path) -> None:
    """Classes that are entry points can be imported, the example's among them."""
    project = tomllib.loads(path.read_text("utf-8"))
    entry_points: dict[str, dict[str, str]] = project.get("project", {}).get("entry-points", {})
    with pytest.MonkeyPatch.context() as patch:
        for folder in (ROOT / "docs" / "examples").iterdir():
            patch.syspath_prepend(folder)
        for name, place in entry_points.get("farm_notebook.providers", {}).items():
            module, _, kind = place.partition(":")
            assert getattr(import_module(module), kind).name == name
    load_config()


def _cassette(path: Path) -> None:
    assert find_problems(CassetteFile(path)) == []


def _python(path: Path) -> None:
    compile(path.read_text("utf-8"), path, "exec")


def _hooks(path: Path) -> None:
    """As pre-commit wants it: https://pre-commit.com/#plugins."""
    (repository,) = yaml.safe_load(path.read_text("utf-8"))["repos"]
    needed = {"id", "name", "entry", "language"} if repository["repo"] == "local" else {"id"}
    assert all(needed <= hook.keys() for hook in repository["hooks"])
    assert repository["repo"] == "local" or repository["rev"]


def _workflow(path: Path) -> None:
    """As GitHub wants it: https://docs.github.com/actions/reference/workflow-syntax-for-github-actions."""
    workflow = yaml.safe_load(path.read_text("utf-8"))
    assert workflow.keys() <= {"name", True, "on", "permissions", "env", "jobs", "concurrency", "defaults"}
    assert True in workflow or "on" in workflow  # YAML takes the word "on" for a truth
    for job in workflow["jobs"].values():
        assert job["runs-on"]
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])


def _attributes(path: Path) -> None:
    """Each line is a pattern and what holds for it, as gitattributes(5) wants it."""
    lines = [line.split() for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    assert all(len(line) > 1 for line in lines)


CHECKS: dict[str, Callable[[Path], Any]] = {
    "farm.toml": _settings,
    ".env*": _settings,
    "pyproject.toml": _pyproject,
    "endpoints.json": _endpoints,
    "*.farm.jsonl": _cassette,
    "*.py": _python,
    ".gitattributes": _attributes,
    ".pre-commit-config.yaml": _hooks,
    ".github/workflows/*.y*ml": _workflow,
}
