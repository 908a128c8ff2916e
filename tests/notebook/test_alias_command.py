"""``%farm alias``, ``%farm panel``, ``%farm help`` and ``%config FarmMagics`` in a plain IPython shell."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from shells import Shell, loaded_shell, plain_shell
from traitlets.config import Config

import farm_notebook
import farm_notebook.farm
from farm_notebook.errors import ConfigError, InvalidRequestError, MissingExtraError, RateLimitedError
from farm_notebook.farm import Farm, default_farm
from farm_notebook.notebook.cells import CELL_MAGICS
from farm_notebook.notebook.commands import COMMANDS
from farm_notebook.notebook.commands.panel import PANELS
from farm_notebook.notebook.jupyter_ai import FOREIGN_SUBCOMMANDS

pytestmark = pytest.mark.slow  # a shell each


@pytest.fixture
def plain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Shell]:
    monkeypatch.chdir(tmp_path)
    yield from plain_shell(monkeypatch, capsys)


@pytest.fixture
def shell(plain: Shell) -> Shell:
    return loaded_shell(plain)


def test_an_alias_holds_for_this_session_with_what_it_says_of_a_request(shell: Shell) -> None:
    _, out = shell.run("%farm alias fast scripted:count-2 -t 0.5 -s 'Be short.'")
    assert "fast stands for scripted:count-2, in this session." in out
    assert 'below [aliases]: fast = { model = "scripted:count-2", parameters = {' in out
    reply = shell.reply("%farm_chat -m fast Hi")
    assert str(reply.ref) == "scripted:count-2"
    assert reply.parameters["temperature"] == 0.5
    assert "Be short." in shell.sent("-m fast", "Hi")


def test_what_the_line_says_is_written_as_toml_that_means_the_same(shell: Shell, tmp_path: Path) -> None:
    _, out = shell.run("%farm alias fast scripted:count-2 --max-tokens 7")
    before = default_farm().config.aliases["fast"]
    (tmp_path / "farm.toml").write_text("[aliases]\n" + out.splitlines()[1].partition("[aliases]: ")[2])
    shell.run("%farm alias fast --remove")
    assert default_farm().config.aliases["fast"].parameters == before.parameters
    assert default_farm().config.aliases["fast"].model == before.model


def test_an_alias_is_saved_for_every_session(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "farm.toml").write_text('# mine\n[aliases]\nold = "scripted:echo"\n')
    _, out = shell.run("%farm alias fast scripted:count-2 -t 0.5 --save")
    assert f"in every session that starts below {tmp_path}" in out
    lines = (tmp_path / "farm.toml").read_text().splitlines()
    assert lines[::3] == ["# mine", 'old = "scripted:echo"']
    assert lines[2] == 'fast = { model = "scripted:count-2", parameters = { temperature = 0.5 } }'
    assert Farm().config.aliases["fast"].parameters.temperature == 0.5
    error, _ = shell.error("%farm alias 2x scripted:echo --save")
    assert "begins with a letter" in str(error)
    assert "2x" not in (tmp_path / "farm.toml").read_text(), "what is not valid is not written"


def test_an_alias_of_this_session_is_saved_as_it_stands(shell: Shell, tmp_path: Path) -> None:
    shell.run("%farm alias fast scripted:count-2 -t 0.5")
    shell.run("%farm alias fast --save")
    assert Farm().config.aliases["fast"].parameters.temperature == 0.5
    error, _ = shell.error("%farm alias nothing --save")
    assert "'nothing' is no alias" in str(error)
    several = 'deployments = [{ model = "scripted:echo" }, { model = "scripted:count-2" }]'
    (tmp_path / "farm.toml").write_text(f"[aliases.two]\n{several}\n")
    shell.run("%farm config reload")
    error, _ = shell.error("%farm alias two --save")
    assert "'two' stands for several models, and is set by " in str(error)


@pytest.mark.parametrize("option", ["--remove", "--save"])
def test_what_is_saved_or_removed_is_named(shell: Shell, option: str) -> None:
    error, _ = shell.error(f"%farm alias {option}")
    assert f"{option} needs a name: `%farm alias NAME {option}`." in str(error)


def test_aliases_are_listed_with_who_set_them(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "farm.toml").write_text(
        '[aliases]\nold = { model = "scripted:echo", parameters = {seed = 3}}\n'
    )
    shell.run("%farm config reload")
    shell.run("%farm alias new old")
    result, _ = shell.run("%farm alias")
    assert [name for name, _ in result.result] == ["old", "new"]
    assert result.result.rows[0][:3] == ("old", "scripted:echo", "seed 3")
    assert "farm.toml" in result.result.rows[0][3]
    assert result.result.rows[1] == ("new", "old", "", "this session")


def test_a_new_meaning_takes_the_whole_place_of_the_old_one(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "farm.toml").write_text(
        '[aliases]\nfast = { deployments = [{model = "scripted:echo"}], parameters = {seed = 3}}\n'
    )
    shell.run("%farm config reload")
    shell.run("%farm alias fast scripted:count-2 -t 1")
    parameters = default_farm().config.aliases["fast"].parameters
    assert parameters.model_dump(exclude_none=True) == {"temperature": 1.0}
    shell.run("%farm alias fast scripted:count-3")
    alias = default_farm().config.aliases["fast"]
    assert (alias.model, alias.deployments) == ("scripted:count-3", ())
    assert alias.parameters.model_dump(exclude_none=True) == {}
    _, out = shell.run("%farm alias fast --remove")
    assert "fast stands for scripted:echo again." in out
    assert default_farm().config.aliases["fast"].parameters.seed == 3
    error, _ = shell.error("%farm alias fast --remove")
    assert "is not of this session. It is set by" in str(error)
    assert "farm.toml" in str(error)


def test_an_alias_that_leads_nowhere_changes_nothing(shell: Shell) -> None:
    shell.run("%farm alias a scripted:echo")
    shell.run("%farm alias b a")
    error, _ = shell.error("%farm alias a b")
    assert isinstance(error, ConfigError)
    assert "a -> b -> a" in str(error)
    assert default_farm().config.aliases["a"].model == "scripted:echo"
    error, _ = shell.error("%farm alias 2x scripted:echo")
    assert "begins with a letter" in str(error)
    error, _ = shell.error("%farm alias c scripted:echo -t -3")
    assert "temperature" in str(error)
    assert set(default_farm().config.aliases) == {"a", "b"}


def test_one_alias_is_told_and_taken_away(shell: Shell) -> None:
    shell.run("%farm alias fast scripted:echo")
    result, _ = shell.run("%farm alias fast")
    assert str(result.result.ref) == "scripted:echo"
    assert "fast is gone." in shell.run("%farm alias fast --remove")[1]
    assert "There is no alias." in shell.run("%farm alias")[1]
    for line in ("alias fast", "alias fast --remove"):
        error, _ = shell.error(f"%farm {line}")
        assert "'fast' is no alias. There is none yet." in str(error)
    error, _ = shell.error("%farm alias fast -t 1")
    assert "What does 'fast' stand for?" in str(error)


@pytest.mark.parametrize("name", FOREIGN_SUBCOMMANDS)
def test_another_tools_subcommand_is_answered_by_ours(shell: Shell, name: str) -> None:
    error, _ = shell.error(f"%farm {name}")
    assert isinstance(error, InvalidRequestError)
    assert FOREIGN_SUBCOMMANDS[name] in str(error)
    assert name not in COMMANDS


@pytest.mark.parametrize("name", PANELS)
def test_in_a_terminal_a_panel_is_told_as_text(shell: Shell, name: str) -> None:
    result, out = shell.run(f"%farm panel {name}")
    assert result.result is None
    assert "A terminal shows no panels. `" in out


class FakePanel:
    """What a panel is to the magic: something that is made without arguments."""


@pytest.mark.parametrize(("name", "public"), PANELS.items())
def test_in_a_notebook_a_panel_is_the_cells_value(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, name: str, public: str
) -> None:
    monkeypatch.setattr(type(shell.magics.session), "is_notebook", True)
    monkeypatch.setattr(farm_notebook, public, FakePanel, raising=False)
    result, _ = shell.run(f"%farm panel {name}")
    assert isinstance(result.result, FakePanel)


def test_a_panel_whose_packages_are_missing_names_the_extra(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise ImportError("No module named 'anywidget'")

    monkeypatch.setattr(type(shell.magics.session), "is_notebook", True)
    monkeypatch.setattr(farm_notebook, "ChatPanel", missing, raising=False)
    error, _ = shell.error("%farm panel chat")
    assert isinstance(error, MissingExtraError)
    assert 'pip install "farm-notebook[widgets]"' in str(error)


def test_an_unknown_panel_is_told_the_closest(shell: Shell) -> None:
    error, _ = shell.error("%farm panel chats")
    assert "Did you mean chat?" in str(error)


@pytest.mark.parametrize("name", CELL_MAGICS)
def test_the_help_of_a_cell_magic_lists_its_options(shell: Shell, name: str) -> None:
    for line in (f"%{name} --help", f"%{name} -h", f"%%{name} --help\nHi"):
        assert f"usage: %%{name} [options]" in shell.run(line)[1]
    _, out = shell.run(f"%farm help {name}")
    assert f"{name} [options]" in out
    assert "--model" in out
    assert name in shell.run("%farm")[1]


def test_the_help_of_an_error_says_what_it_means_and_where_more_is_told(shell: Shell) -> None:
    _, out = shell.run("%farm help RateLimitedError")
    assert "Too many requests" in out
    assert out.strip().endswith(RateLimitedError.docs_url)


def test_a_default_holds_where_the_line_says_nothing(shell: Shell) -> None:
    for line in ("temperature = 0.5", "max_tokens = 9", "system = 'Be short.'", "format = 'text'"):
        shell.run(f"%config FarmMagics.{line}")
    assert shell.reply("%farm_chat Hi").parameters == {"temperature": 0.5, "max_tokens": 9}
    assert shell.reply("%%farm_chat -t 0\nHi").parameters["temperature"] == 0
    assert "Be short." in shell.sent("", "Hi")
    assert "Be short." not in shell.sent("-s 'Be long.'", "Hi")
    shell.run("%config FarmMagics.temperature = None")
    assert "temperature" not in shell.reply("%farm_chat Hi").parameters


def test_the_thread_and_how_much_of_it_is_sent_are_defaults_too(shell: Shell) -> None:
    shell.run("%config FarmMagics.thread = 'side'")
    for number in range(3):
        shell.reply(f"%farm_chat question {number}")
    assert len(shell.thread("side")) == 6
    shell.run("%config FarmMagics.max_history = 1")
    sent = shell.sent("", "Now?")
    assert "question 2" in sent
    assert "question 1" not in sent
    shell.run("%config FarmMagics.max_history = 0")
    assert "question" not in shell.sent("", "Now?")
    assert len(shell.thread("side")) == 6, "nothing is forgotten"


def test_the_model_is_one_truth_with_farm_model(shell: Shell) -> None:
    shell.run("%config FarmMagics.model = 'scripted:count-2'")
    assert str(shell.reply("%farm_chat Hi").ref) == "scripted:count-2"
    assert default_farm().config.model == "scripted:count-2"
    shell.run("%farm model scripted:echo")
    assert shell.run("%config FarmMagics.model")[0].result == "scripted:echo"
    assert "Current: 'scripted:echo'" in shell.run("%config FarmMagics")[1]
    shell.run("%config FarmMagics.model = 'scripted:count-2'")
    assert default_farm().config.model == "scripted:count-2", "also when it is the same as once before"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("format = 'yaml'", ["'yaml'", "'markdown', 'text', 'code'"]),
        ("temperature = -1", ["-1.0", "not be less than 0"]),
        ("max_tokens = 0", ["'max_tokens'", "1"]),
        ("modle = 'x'", ["FarmMagics has no 'modle'", "embedding_model, format"]),
        ("model = 3", ["name of a model", "int 3"]),
        ("model = 'openai:'", ["'openai' is a provider"]),
        ("model = ' '", ["name of a model"]),
    ],
)
def test_a_wrong_default_is_quoted_and_changes_nothing(
    shell: Shell, caplog: pytest.LogCaptureFixture, line: str, words: list[str]
) -> None:
    before = {name: getattr(shell.magics, name) for name in shell.magics.class_traits(config=True)}
    shell.run(f"%config FarmMagics.{line}")
    assert all(word in caplog.text for word in words), caplog.text
    assert before == {name: getattr(shell.magics, name) for name in before}


def test_every_default_has_a_help_text(shell: Shell) -> None:
    traits = type(shell.magics).class_traits(config=True)
    assert all(trait.help for trait in traits.values())
    _, out = shell.run("%config FarmMagics")
    assert all(f"FarmMagics.{name}=" in out for name in traits)


def test_defaults_may_stand_in_ipythons_configuration(plain: Shell) -> None:
    config = Config()
    config.FarmMagics.temperature = 0.25
    config.FarmMagics.model = "scripted:count-2"
    plain.ip.update_config(config)
    shell = loaded_shell(plain)
    reply = shell.reply("%farm_chat Hi")
    assert (str(reply.ref), reply.parameters["temperature"]) == ("scripted:count-2", 0.25)


def test_wrong_settings_do_not_keep_the_defaults_from_being_shown(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_RETRY__ATTEMPTS", "none")
    monkeypatch.setattr(farm_notebook.farm.blocking, "_default", None)
    assert shell.run("%config FarmMagics.model")[0].result == ""


def test_what_the_magics_say_of_a_default_costs_no_pydantic(tmp_path: Path) -> None:
    import subprocess

    program = (
        "import sys; from farm_notebook.notebook.magics import FarmMagics; "
        "FarmMagics.class_get_help(); assert 'pydantic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
