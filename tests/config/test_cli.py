"""``farm config`` in processes of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.slow

KEYRING = '''
import json, pathlib
from keyring.backend import KeyringBackend

class Shelf(KeyringBackend):
    """A keyring in a file."""
    priority = 1
    name = "a shelf"
    path = pathlib.Path(__file__).with_name("shelf.json")
    def _all(self): return json.loads(self.path.read_text()) if self.path.exists() else {}
    def get_password(self, service, username): return self._all().get(f"{service}/{username}")
    def set_password(self, service, username, password):
        self.path.write_text(json.dumps(self._all() | {f"{service}/{username}": password}))
    def delete_password(self, service, username):
        kept = self._all()
        del kept[f"{service}/{username}"]
        self.path.write_text(json.dumps(kept))
'''


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


def farm(*arguments: str, stdin: str = "") -> Outcome:
    """Run ``farm config`` in the working folder."""
    command = [sys.executable, "-m", "farm_notebook.cli", "config", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file behind a keyring that every process here uses."""
    (tmp_path / "shelf_keyring.py").write_text(KEYRING)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", ""))))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "shelf_keyring.Shelf")
    return tmp_path / "shelf.json"


# show


def test_show_says_what_is_set_and_by_whom(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert farm("show").out == "Nothing is set: the defaults hold. `farm config show --all` lists them.\n"
    (project / "farm.toml").write_text("[cache]\nttl_s = 60\n[openai.headers]\nx-key = 'do-not-show'\n")
    monkeypatch.setenv("FARM_MODEL", "scripted:echo")
    outcome = farm("show")
    assert (outcome.code, outcome.err) == (0, "")
    lines = [line.split("  # ") for line in outcome.out.splitlines()]
    assert [(setting.strip(), place.strip()) for setting, place in lines] == [
        ('model = "scripted:echo"', "FARM_MODEL"),
        ("cache.ttl_s = 60.0", f"{project / 'farm.toml'}: cache.ttl_s"),
        ('openai.headers.x-key = "***"', f"{project / 'farm.toml'}: openai.headers.x-key"),
    ]
    assert "cache.enabled = true" in farm("show", "--all").out


def test_show_of_a_key_tells_it_in_any_case() -> None:
    assert farm("show", "cache.ttl_s").out.split() == ["cache.ttl_s", "=", "3600.0", "#", "default"]
    assert [line.split(" ")[0] for line in farm("show", "health").out.splitlines()] == [
        "health.deadline_s",
        "health.ttl_s",
    ]
    outcome = farm("show", "cach")
    assert outcome.code == 2
    assert "There is no setting 'cach'. Did you mean 'cache'?" in outcome.err


def test_show_as_json(project: Path) -> None:
    (project / ".env").write_text("FARM_CACHE_DIR=/elsewhere\n")
    outcome = farm("show", "--json")
    assert json.loads(outcome.out) == [
        {
            "key": "cache_dir",
            "value": "/elsewhere",
            "source": "dotenv",
            "place": f"{project / '.env'}: FARM_CACHE_DIR",
            "weaker": [],
        }
    ]
    assert len(json.loads(farm("show", "--json", "--all").out)) > 80


# check


def test_check_says_all_that_is_wrong_and_ends_with_2(project: Path, user_file: Path) -> None:
    assert farm("check") == (0, "The settings are valid.\n", "")
    (project / "farm.toml").write_text("[cache]\nttl_s = 0\nttl = 1\n")
    user_file.write_text("broken")
    (project / ".env").write_text("FARM_MODLE=x\n")
    outcome = farm("check")
    assert (outcome.code, outcome.err) == (2, "")
    problems = outcome.out.splitlines()
    assert len(problems) == 4
    assert sum(line.startswith(f"error: {project / 'farm.toml'}: cache.ttl") for line in problems) == 2
    assert any(line.startswith(f"error: {user_file} is not valid TOML") for line in problems)
    assert problems[-1] == f"warning: {project / '.env'}: FARM_MODLE sets nothing. Did you mean FARM_MODEL?"


def test_check_follows_the_names_that_stand_in_the_settings(project: Path) -> None:
    path = project / "farm.toml"
    path.write_text('[aliases]\na = "b"\nb = "a"\nfast = "olama:llama3.2"\n')
    outcome = farm("check")
    circle, mistyped = outcome.out.splitlines()
    assert outcome.code == 2
    assert circle.startswith(f"error: {path}: aliases.a.model: Aliases go round in a circle: b -> a -> b.")
    assert mistyped.startswith(f"warning: {path}: aliases.fast.model: 'olama:llama3.2'")


def test_every_command_refuses_settings_that_are_not_valid_in_one_line(project: Path) -> None:
    (project / "farm.toml").write_text("[cache]\nttl_s = 0\n")
    outcome = farm("show")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {project / 'farm.toml'}: cache.ttl_s=0 is not valid")
    assert outcome.err.count("\n") == 1


# init and path


def test_init_writes_a_file_once(user_file: Path) -> None:
    path = Path.cwd() / "farm.toml"
    outcome = farm("init")
    assert outcome.code == 0
    assert str(path) in outcome.out
    assert farm("check").code == 0
    written = path.read_text("utf-8")
    path.write_text("model = 'scripted:echo'\n")
    outcome = farm("init")
    assert (outcome.code, outcome.out) == (2, "")
    assert f"{path} is there already" in outcome.err
    assert path.read_text() == "model = 'scripted:echo'\n"
    assert farm("init", "--force").code == 0
    assert path.read_text("utf-8") == written
    assert farm("init", "--user").code == 0
    assert user_file.read_text("utf-8") == written


def test_path_names_every_file_that_counts(project: Path, user_file: Path) -> None:
    (project / ".env.staging").touch()
    (project / "farm.toml").write_text("environment = 'staging'\n")
    lines = farm("path").out.splitlines()
    assert [line[28:].strip() for line in lines] == [
        str(project / ".env.staging"),
        f"none from {Path.cwd()} upward",
        str(project / "farm.toml"),
        f"not there: {user_file}",
    ]
    user_file.touch()
    assert farm("path").out.splitlines()[-1].endswith(f" {user_file}")


# import


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
def test_import_says_that_it_runs_a_program_and_asks() -> None:
    Path("farm.config.mjs").write_text("export default {ai: {routing: {development: 'ollama'}, extra: 1}}")
    refused = farm("import", "farm.config.mjs")
    assert (refused.code, refused.out) == (2, "")
    assert "farm.config.mjs is a program: " in refused.err
    assert "say --yes" in refused.err
    outcome = farm("import", "farm.config.mjs", "--yes")
    assert (outcome.code, outcome.out) == (0, '[routing]\ndevelopment = "ollama"\n')
    assert "ai.extra has no counterpart." in outcome.err


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1)])
def test_import_on_a_terminal_does_what_is_answered(answer: str, code: int) -> None:
    pexpect = pytest.importorskip("pexpect")
    Path("farm.config.mjs").write_text("export default {ai: {routing: {development: 'ollama'}}}")
    child = pexpect.spawn(
        sys.executable,
        ["-m", "farm_notebook.cli", "config", "import", "farm.config.mjs", "--out", "farm.toml"],
        timeout=60,
    )
    child.expect("Run it")
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == code
    assert Path("farm.toml").exists() == (code == 0)


def test_import_tells_of_names_that_lead_nowhere() -> None:
    whole = {"ai": {"routing": {"development": "olama", "production": "ollama"}}}
    Path("farm.config.json").write_text(json.dumps(whole))
    outcome = farm("import", "farm.config.json")
    assert outcome.code == 0
    assert "warning: routing.development: " in outcome.err
    assert "Did you mean 'ollama'" in outcome.err
    assert "routing.production" not in outcome.err


def test_import_writes_a_file_and_overwrites_none(project: Path) -> None:
    whole = {"ai": {"providers": {"openai": {"apiKey": "sk-do-not-show-this", "defaultModel": "gpt-4o"}}}}
    Path("farm.config.json").write_text(json.dumps(whole))
    outcome = farm("import", "farm.config.json", "--out", "farm.toml")
    assert outcome.code == 0
    assert Path("farm.toml").read_text() == '[openai]\ndefault_model = "gpt-4o"\n'
    assert "warning: ai.providers.openai.apiKey holds a key itself" in outcome.err
    assert "do-not-show" not in outcome.out + outcome.err
    Path("farm.toml").write_text("offline = true\n")
    assert farm("import", "farm.config.json", "--out", "farm.toml").code == 2
    assert Path("farm.toml").read_text() == "offline = true\n"
    assert farm("import", "farm.config.json", "--out", "farm.toml", "--force").code == 0
    assert farm("show", "openai.default_model").out.startswith('openai.default_model = "gpt-4o"')


# set-key


def test_a_key_is_kept_in_the_keyring_and_found_by_another_process(shelf: Path) -> None:
    outcome = farm("set-key", "OPENAI_API_KEY", stdin="sk-do-not-show\n")
    assert outcome == (0, "OPENAI_API_KEY is kept in a shelf\n", "")
    assert json.loads(shelf.read_text()) == {"farm-notebook/OPENAI_API_KEY": "sk-do-not-show"}
    program = (
        "from farm_notebook.config import load_config; from farm_notebook.config.secrets import find_secret;"
        "print(find_secret('OPENAI_API_KEY', load_config()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "sk-do-not-show\n"
    assert farm("set-key", "OPENAI_API_KEY", "--forget").out == "OPENAI_API_KEY forgotten\n"
    assert farm("set-key", "OPENAI_API_KEY", "--forget").out == "OPENAI_API_KEY was not there\n"


def test_a_key_is_typed_at_a_prompt_that_does_not_show_it(shelf: Path) -> None:
    pexpect = pytest.importorskip("pexpect")
    child = pexpect.spawn(
        sys.executable, ["-m", "farm_notebook.cli", "config", "set-key", "OPENAI_API_KEY"], timeout=60
    )
    child.expect("OPENAI_API_KEY: ")
    child.sendline("sk-do-not-show")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert b"do-not-show" not in child.before
    assert "sk-do-not-show" in shelf.read_text()


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (["sk-do-not-show"], "x", "That is not the name of a variable"),
        (["OPENAI_API_KEY"], "\n", "The key is empty"),
        (["OPENAI_API_KEY"], "sk-do-not-show", "keyring cannot be used"),
    ],
)
def test_a_key_that_cannot_be_kept_is_one_line(arguments: list[str], stdin: str, said: str) -> None:
    outcome = farm("set-key", *arguments, stdin=stdin)
    assert (outcome.code, outcome.out) == (2, "")
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert "do-not-show" not in outcome.err
