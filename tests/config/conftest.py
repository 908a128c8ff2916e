"""What the tests of settings may use: a home of their own, with a project and a folder of notebooks in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from farm_notebook.config import files, secrets

OURS = ("FARM_", "AI_", "OLLAMA_", "OPENAI_", "HF_", "HUGGINGFACE_")


@pytest.fixture(autouse=True)
def nothing_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith(OURS)]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    (home / "project" / "notebooks").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    monkeypatch.chdir(home / "project" / "notebooks")
    monkeypatch.setattr(files, "_last_folder", None)
    monkeypatch.setattr(secrets, "_asked", {})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The user's home folder."""
    return tmp_path / "home"


@pytest.fixture
def project(home: Path) -> Path:
    """A folder in it; the working folder is ``notebooks`` in that one."""
    return home / "project"


@pytest.fixture
def user_file() -> Path:
    """Where the user's own file would be, its folder made."""
    path = files.user_file()
    path.parent.mkdir(parents=True)
    return path
