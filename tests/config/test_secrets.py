"""Keys are found in the environment, in dotenv files and in the keyring, in this order."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend

from farm_notebook.config import files, load_config, secrets
from farm_notebook.config.secrets import find_hub_token, find_secret, forget_in_keyring, keep_in_keyring
from farm_notebook.errors import ConfigError, MissingExtraError

NAME = "OPENAI_API_KEY"


class Shelf(KeyringBackend):
    """A keyring that counts how often it is asked."""

    priority = 1
    name = "a shelf"

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.asked = 0
        self.problem: Exception | None = None
        self.typed: threading.Event | None = None

    def get_password(self, service: str, username: str) -> str | None:
        self.asked += 1
        if self.typed:
            self.typed.wait(60)
        if self.problem:
            raise self.problem
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.problem:
            raise self.problem
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    before = keyring.get_keyring()
    keyring.set_keyring(shelf := Shelf())
    yield shelf
    keyring.set_keyring(before)


def found(name: str | None = NAME) -> str:
    return find_secret(name, load_config())


def test_no_variable_is_no_secret() -> None:
    assert found(None) == found("") == found() == ""


def test_the_environment_is_stronger_than_files_and_those_than_the_keyring(
    project: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.kept[secrets.SERVICE, NAME] = " of-the-keyring "
    assert found() == "of-the-keyring"
    (project / ".env").write_text(f"{NAME}=of-the-file\n")
    assert found() == "of-the-file"
    (project / ".env.development").write_text(f"{NAME}='of-the-environment-s-file'\n")
    assert found() == "of-the-environment-s-file"
    monkeypatch.setenv(NAME, "  of-the-variable\n")
    assert found() == "of-the-variable"
    monkeypatch.setenv(NAME, " ")
    assert found() == "of-the-environment-s-file"


def test_a_file_of_another_environment_is_left_alone(project: Path) -> None:
    (project / ".env.production").write_text(f"{NAME}=of-production\n")
    assert found() == ""
    assert find_secret(NAME, load_config({"environment": "production"})) == "of-production"


def test_a_changed_file_is_seen_at_once(project: Path) -> None:
    config = load_config()
    for key in ("key-a", "key-b", "key-c"):
        (project / ".env").write_text(f"{NAME}={key}\n")
        assert find_secret(NAME, config) == key
    (project / ".env").unlink()
    assert find_secret(NAME, config) == ""


def test_a_kernel_that_went_elsewhere_still_finds_its_keys(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".env").write_text(f"{NAME}=of-the-project\n")
    config = load_config()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert find_secret(NAME, config) == "of-the-project"
    Path(".env").write_text(f"{NAME}=of-elsewhere\n")
    assert find_secret(NAME, config) == "of-elsewhere"


def test_a_broken_file_hides_no_key_of_another(project: Path) -> None:
    config = load_config()
    (project / ".env.development").write_bytes(b"\xff")
    (project / ".env").write_text(f"{NAME}=of-the-project\n")
    assert find_secret(NAME, config) == "of-the-project"


def test_nothing_that_was_found_is_left_in_the_environment(project: Path) -> None:
    path = project / ".env"
    path.write_text(f"{NAME}=of-the-file\nbroken of-the-file\n")
    assert found() == "of-the-file"
    assert NAME not in os.environ
    assert "of-the-file" not in repr(files.read_dotenv(path)) + repr(load_config())


@pytest.mark.parametrize("name", ["HF_TOKEN", "HUGGINGFACE_TOKEN"])
def test_the_hub_s_key_has_two_names(name: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".env").write_text(f"{name}=of-the-file\n")
    assert find_hub_token(load_config()) == "of-the-file"
    monkeypatch.setenv("HUGGINGFACE_TOKEN", "of-the-variable")
    assert find_hub_token(load_config()) == "of-the-variable"


# The keyring


def test_a_keyring_is_asked_once_in_a_while_and_only_where_nothing_else_helps(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("farm_notebook.config.secrets.monotonic", lambda: now[0])
    assert found() == found() == ""
    assert shelf.asked == 1
    shelf.kept[secrets.SERVICE, NAME] = "new"
    now[0] += secrets.KEYRING_TTL_S
    assert found() == "new"
    assert shelf.asked == 2
    monkeypatch.setenv(NAME, "x")
    monkeypatch.setattr(secrets, "_asked", {})
    assert found() == "x"
    assert shelf.asked == 2


@pytest.mark.parametrize(
    "problem", [RuntimeError("locked"), OSError("no bus"), keyring.errors.KeyringError("x")]
)
def test_a_failing_keyring_breaks_no_call(problem: Exception, shelf: Shelf) -> None:
    shelf.problem = problem
    assert found() == ""


def test_a_keyring_that_waits_for_its_password_is_not_waited_for(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "KEYRING_TIMEOUT_S", 0.05)
    shelf.typed = threading.Event()
    assert found() == ""
    shelf.typed.set()


def test_a_key_is_kept_and_forgotten(shelf: Shelf) -> None:
    assert found() == ""
    assert keep_in_keyring(NAME, "sk-new") == "a shelf"
    assert found() == "sk-new"
    assert forget_in_keyring(NAME)
    assert found() == ""
    assert not forget_in_keyring(NAME)


def test_a_keyring_that_refuses_is_a_config_error_without_the_key(shelf: Shelf) -> None:
    shelf.problem = RuntimeError("cannot keep sk-do-not-show")
    with pytest.raises(ConfigError, match="keyring cannot be used: RuntimeError") as caught:
        keep_in_keyring(NAME, "sk-do-not-show")
    assert "do-not-show" not in str(caught.value)


def test_without_the_package_a_key_cannot_be_kept_and_none_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert found() == ""
    with pytest.raises(MissingExtraError, match=r'pip install "farm-notebook\[keyring\]"'):
        keep_in_keyring(NAME, "x")


# What is shown of the settings themselves


def test_headers_and_parameters_are_not_shown_in_a_configurations_own_words() -> None:
    section = {"headers": {"X-Team": "of-a-header"}, "query": {"sig": "of-an-address"}}
    config = load_config(
        {"openai": section, "endpoints": {"mine": {"base_url": "http://mine/v1", **section}}}
    )
    assert config.openai.headers["X-Team"] == "of-a-header"
    for shown in (repr(config), str(config), repr(config.endpoints["mine"])):
        assert "of-a" not in shown
        assert "headers={'X-Team': '***'}" in shown
        assert "http://mine/v1" in shown
