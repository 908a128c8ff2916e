"""``%farm`` in a plain IPython shell: what each subcommand shows, does and gives."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from shells import Shell, loaded_shell, plain_shell

import farm_notebook.farm
from farm_notebook.errors import ConfigError, FarmError
from farm_notebook.farm import Farm
from farm_notebook.notebook.commands import COMMANDS
from farm_notebook.types import ModelInfo, ModelRef, ProviderStatus

pytestmark = pytest.mark.slow  # a shell each

plain = pytest.fixture(name="plain")(plain_shell)
shell = pytest.fixture(name="shell")(loaded_shell)

Calls = list[tuple[str, tuple[Any, ...], dict[str, Any]]]


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Kept answers of this test's own, and no files of settings but its own."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.setenv("FARM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(folder)
    return folder


class Report:
    """Stands in for a report of the farm."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"a report of {self.text}"

    def plot(self) -> object:
        raise AssertionError("a terminal shows no plot")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What the default farm is asked for. Stand-ins answer: what they report is tested where it is made."""
    made: Calls = []

    def stand_in(name: str, value: Callable[..., object]) -> None:
        def method(_: Farm, *arguments: Any, **options: Any) -> object:
            made.append((name, arguments, options))
            return value(*arguments)

        monkeypatch.setattr(Farm, name, method)

    stand_in("route", lambda name=None: Report(f"the way to {name}"))
    stand_in("history", lambda search=None: Report(f"calls with {search}"))
    stand_in("usage", lambda: Report("usage"))
    stand_in(
        "health", lambda: [ProviderStatus("one", True, "well"), ProviderStatus("two", False, "ill", "rest")]
    )
    return made


# What the shell has to do with it


@pytest.mark.parametrize("cell", ["%farm?", "%%farm?"])
def test_ipythons_help_lists_the_subcommands(shell: Shell, cell: str) -> None:
    pages: list[str] = []

    def page(_: object, data: dict[str, str], start: int = 0, screen_lines: int = 0) -> None:
        pages.append(data["text/plain"])

    shell.ip.set_hook("show_in_pager", page)
    _, out = shell.run(cell)
    assert all(f"  {name}" in "".join(pages) + out for name in COMMANDS) == (cell == "%farm?")


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("%farm cach", "Did you mean cache?"),
        ("%farm cache stat", "Did you mean stats?"),
        ("%farm load scripted:nothing", "'nothing'"),
    ],
)
def test_an_error_is_one_clear_line(shell: Shell, cell: str, text: str) -> None:
    error, out = shell.error(cell)
    assert isinstance(error, FarmError)
    assert text in out
    assert len(out.strip().splitlines()) == 1


def test_a_question_mark_asks_for_help_or_belongs_to_the_search(shell: Shell, calls: Calls) -> None:
    for cell in ("%farm cache?", "x = 1\n%farm cache stats?"):
        _, out = shell.run(cell)
        assert out.startswith("usage: %farm cache")
    shell.run("%farm history what is love?")
    assert [arguments for _, arguments, _ in calls] == [("what is love?",)]


def test_a_file_that_cannot_be_read_is_one_line_too(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Farm) -> None:
        raise PermissionError(13, "Permission denied", "/somewhere/answers.sqlite")

    monkeypatch.setattr(Farm, "cache_stats", fail)
    _, out = shell.error("%farm cache stats")
    assert len(out.strip().splitlines()) == 1
    assert "/somewhere/answers.sqlite" in out


# Subcommands


def test_the_models_are_a_table_and_a_sequence(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    infos = [
        ModelInfo(ModelRef("one", "small"), 98_400_000, 8192, license="MIT", available=True, loaded=True),
        ModelInfo(ModelRef("one", "large"), available=True),
        ModelInfo(ModelRef("two", "far_<b>away</b>\x1b[2J")),
    ]
    monkeypatch.setattr(Farm, "list_models", lambda _: infos)
    result, out = shell.run("found = %farm models")
    result.raise_error()
    assert out == ""
    _, out = shell.run("found")
    lines = [line.split() for line in out.splitlines()[1:]]
    assert lines == [
        ["model", "size", "context", "state", "licence"],
        ["one:small", "98.4", "MB", "8,192", "loaded", "MIT"],
        ["one:large", "-", "-", "available", "-"],
        ["two:far_<b>away</b>[2J", "-", "-", "not", "fetched", "-"],
    ]
    found = shell.ip.user_ns["found"]
    assert list(found) == infos
    assert (found[0], len(found)) == (infos[0], 3)
    markdown = found._repr_mimebundle_()["text/markdown"]
    assert markdown.splitlines()[:3] == [
        "| model | size | context | state | licence |",
        "|---|---|---|---|---|",
        "| one:small | 98.4 MB | 8,192 | loaded | MIT |",
    ]
    assert "<b>" not in markdown


def test_the_models_of_one_provider_can_be_listed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    infos = [ModelInfo(ModelRef("one", "small")), ModelInfo(ModelRef("two", "far"))]
    monkeypatch.setattr(Farm, "list_models", lambda _: infos)
    shell.run("found = %farm models two\nnone = %farm models three")
    assert list(shell.ip.user_ns["found"]) == infos[1:]
    assert "`%farm health` tells why" in str(shell.ip.user_ns["none"])


def test_another_model_answers_from_now_on(shell: Shell) -> None:
    assert str(shell.reply("%farm_chat Hi").ref) == "scripted:echo"
    _, out = shell.run("%farm model scripted:count-2")
    assert out == "scripted:count-2 answers from now on, where a cell names no model.\n"
    assert shell.reply("%farm_chat Hi").text == "word0 word1"
    shell.run("%farm model count-1")  # of the default provider
    assert shell.reply("%farm_chat Hi").text == "word0"
    shell.run("name = 'scripted:echo'")
    shell.run("%farm model {name}")
    assert shell.reply("%farm_chat Hi").text == "Hi"
    _, out = shell.run("%farm model auto")
    assert out.startswith("auto answers from now on")
    _, out = shell.run("%farm config show")
    assert ["model", "auto", "this", "session"] in [line.split() for line in out.splitlines()]


@pytest.mark.parametrize("command", ["model", "route"])
def test_a_name_that_is_probably_no_models_is_taken_with_a_word_of_warning(
    shell: Shell, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_ALIASES", '{"two": "scripted:count-2"}')
    monkeypatch.setattr(farm_notebook.farm.blocking, "_default", None)
    result, out = shell.run(f"%farm {command} twoo")
    result.raise_error()
    assert (
        "Careful: 'twoo' is taken for a model of the default provider. Did you mean the alias 'two'?" in out
    )
    _, out = shell.run(f"%farm {command} two")
    assert "Careful" not in out


def test_a_model_that_was_chosen_is_stronger_than_the_routing_of_the_environment(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_ROUTING", '{"development": "scripted:count-3"}')
    monkeypatch.setattr(farm_notebook.farm.blocking, "_default", None)
    assert shell.reply("%farm_chat Hi").text == "word0 word1 word2"
    shell.run("%farm model scripted:count-1")
    assert shell.reply("%farm_chat Hi").text == "word0"


def test_an_alias_that_was_chosen_stays_an_alias(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_ALIASES", '{"fast": {"model": "scripted:count-2", "parameters": {"seed": 3}}}')
    monkeypatch.setattr(farm_notebook.farm.blocking, "_default", None)
    _, out = shell.run("%farm model fast")
    assert out.startswith("fast answers")
    assert "seed=3" in shell.sent("", "Hi")


def test_settings_of_the_session_outlast_a_reload(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.run("%farm model scripted:count-1")
    monkeypatch.setenv("FARM_RETRY__ATTEMPTS", "7")
    _, out = shell.run("%farm config reload")
    assert out == "Changed: retry.attempts.\n"
    assert shell.reply("%farm_chat Hi").text == "word0"
    _, out = shell.run("%farm config reload")
    assert out == "Nothing has changed.\n"
    monkeypatch.setenv("FARM_RETRY__ATTEMPTS", "none")
    error, out = shell.error("%farm config reload")
    assert isinstance(error, ConfigError)
    assert shell.reply("%farm_chat Hi").text == "word0"


def test_a_key_that_appears_among_the_settings_is_not_shown(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.run("%farm config reload")
    monkeypatch.setenv("FARM_OPENAI__HEADERS", '{"x-team-key": "very-secret-1"}')
    _, out = shell.run("%farm config reload")
    assert "openai.headers" in out
    _, shown = shell.run("%farm config show")
    assert "openai.headers" in shown
    assert "very-secret" not in out + shown


def test_the_settings_are_shown_with_where_they_come_from(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out = shell.run("%farm config show")
    lines = [line.split() for line in out.splitlines()]
    assert ["model", "scripted:echo", "FARM_MODEL"] in lines
    assert "retry.attempts" not in out
    assert type(shell.run("%farm config show")[0].result[0]).__name__ == "SettingOrigin"
    assert "retry.attempts" not in out
    _, out = shell.run("%farm config show --all")
    assert any(line.split()[:3] == ["retry.attempts", "3", "default"] for line in out.splitlines())


def test_where_nothing_is_set_that_is_one_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("FARM_", "AI_", "OLLAMA_", "OPENAI_", "H"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(farm_notebook.farm.blocking, "_default", None)
    result, out = shell.run("%farm config show")
    assert result.result is None
    assert out == "Nothing is set: the defaults hold. `%farm config show --all` lists them.\n"


def test_the_files_that_settings_are_read_from_are_named(shell: Shell, own_folder: Path) -> None:
    _, out = shell.run("%farm config path")
    assert "farm.toml" not in out
    (own_folder / "farm.toml").write_text("[retry]\nattempts = 4\n")
    _, out = shell.run("%farm config path")
    assert str(own_folder / "farm.toml") in out
    shell.run("%farm config reload")
    _, out = shell.run("%farm config show")
    assert "retry.attempts" in out


def test_answers_are_kept_or_not_as_the_session_says(shell: Shell) -> None:
    def asked() -> list[bool]:
        return [shell.reply("%farm_chat --no-history -t 0 one two").cached for _ in range(2)]

    assert asked() == [False, False]
    _, out = shell.run("%farm cache on")
    assert out == "Answers are kept, and given again.\n"
    assert asked() == [False, True]
    _, out = shell.run("stats = %farm cache stats\nstats")
    assert ["answers", "1,"] in [line.split()[:2] for line in out.splitlines()]
    assert shell.ip.user_ns["stats"][0].entries == 1
    _, out = shell.run("%farm cache clear")
    assert out == "1 answer forgotten.\n"
    _, out = shell.run("%farm cache off")
    assert out == "Answers are neither kept nor given.\n"
    assert asked() == [False, False]


def test_a_model_is_loaded_and_unloaded(shell: Shell) -> None:
    _, out = shell.run("%farm load scripted:echo")
    assert out.startswith("scripted:echo is loaded (")
    _, out = shell.run("%farm unload scripted:echo")
    assert out in ("scripted:echo is unloaded.\n", "scripted:echo was not loaded.\n")


def test_the_health_is_a_table_and_a_sequence(shell: Shell, calls: Calls) -> None:
    _, out = shell.run("health = %farm health --refresh\nhealth")
    assert calls == [("health", (), {"refresh": True})]
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["provider", "state", "fix"],
        ["one", "✓", "well"],
        ["two", "✗", "ill", "rest"],
    ]
    assert [each.name for each in shell.ip.user_ns["health"]] == ["one", "two"]


def test_reports_are_the_cells_value(shell: Shell, calls: Calls) -> None:
    result, out = shell.run("%farm usage")
    assert isinstance(result.result, Report)
    assert "a report of usage" in out
    shell.run("u = %farm usage --by day --since 7d")
    assert isinstance(shell.ip.user_ns["u"], Report)
    shell.run("%farm history --limit 5 what is love?")
    shell.run("%farm history -m one:small what's --since 1d up")
    shell.run("%farm route")
    shell.run("r = %farm route fast")
    shell.run("%farm model")
    assert calls == [
        ("usage", (), {"by": "model", "since": None}),
        ("usage", (), {"by": "day", "since": "7d"}),
        ("history", ("what is love?",), {"model": None, "since": None, "limit": 5}),
        ("history", ("what's up",), {"model": "one:small", "since": "1d", "limit": 20}),
        ("route", (None,), {}),
        ("route", ("fast",), {}),
        ("route", (), {}),
    ]


def test_one_call_is_shown_in_full_and_all_are_forgotten_only_if_that_is_meant(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_HISTORY__ENABLED", "true")
    shell.reply("%farm_chat --no-history one two")
    found, out = shell.run("%farm history show 1")  # at once, so that it may not be written yet
    assert found.result.call.id == 1
    assert "[user]\none two\n\n[assistant]\n" in out
    shell.run("%farm_chat --no-history how to show and clear 1")
    for search in ("find show and clear", "how to show", "find"):
        found, _ = shell.run(f"%farm history {search}")
        assert found.result[0].question == "how to show and clear 1"
    error, out = shell.error("%farm history clear")
    assert isinstance(error, FarmError)
    assert "If it is meant: `%farm history clear --yes`" in out
    _, out = shell.run("%farm history clear --yes")
    assert out == "2 calls forgotten.\n"
    found, _ = shell.run("%farm history")
    assert len(found.result) == 0


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("show", "`show` takes the id of one call, as in `%farm history show 42`, and not ''"),
        ("show me more", "not 'me more'. To search for the word, say `%farm history find show`"),
        ("show 7", "There is no call 7. `farm history` lists those there are."),
        ("clear it --yes", "takes no 'it'"),
    ],
)
def test_what_cannot_be_shown_or_forgotten_is_quoted(shell: Shell, line: str, text: str) -> None:
    error, out = shell.error(f"%farm history {line}")
    assert isinstance(error, FarmError)
    assert text in out


def test_a_terminal_is_told_how_to_see_the_plot(shell: Shell, calls: Calls) -> None:
    result, out = shell.run("%farm usage --plot")
    result.raise_error()
    assert "savefig" in out
    assert isinstance(result.result, Report)


@pytest.mark.parametrize(
    "cell",
    [
        "import asyncio\nawait asyncio.sleep(0)\nfound = %farm cache stats",
        "if True:\n    found = %farm cache stats",
        "found = get_ipython().run_line_magic('farm', 'cache stats')",
        "def f():\n    return get_ipython().run_line_magic('farm', 'cache stats')\nfound = f()",
    ],
)
def test_it_works_in_awaited_cells_and_in_code(shell: Shell, cell: str) -> None:
    result, _ = shell.run(cell)
    result.raise_error()
    assert type(shell.ip.user_ns["found"]).__name__ == "Table"


def test_a_key_in_a_cell_is_warned_of_before_it_runs(shell: Shell) -> None:
    key = "hf_" + "aB3dE5fG7hJ9kL2mN4pQ6rS8tU1v"
    _, out = shell.run(f"print('ran', len('{key}'))")
    assert "looks like an API key (hf_…)" in out
    assert "ran 31" in out
    assert key not in out
    _, out = shell.run(f"x = '{key}'")
    assert out == ""


def completed(shell: Shell, cell: str) -> list[str]:
    """What IPython offers with the cursor at the end."""
    with provisionalcompleter():
        return [each.text for each in shell.ip.Completer.completions(cell, len(cell))]


def test_lines_are_completed_in_the_shell_and_the_others_stay_silent(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    infos = [ModelInfo(ModelRef("ollama", "llama3.2:1b")), ModelInfo(ModelRef("ollama", "qwen3"))]
    monkeypatch.setattr(Farm, "list_models", lambda _: infos)
    shell.run("%farm models")
    shell.run("%farm_chat -m scripted:count-5 Hi")

    def asked(_: Farm) -> None:
        raise AssertionError("nobody is asked while completing")

    monkeypatch.setattr(Farm, "list_models", asked)
    assert completed(shell, "%farm cac") == ["cache"]
    assert completed(shell, "%farm load ") == [
        *("scripted:echo", "llamacpp:smollm2:135m", "ollama:llama3.2:1b", "ollama:qwen3", "scripted:count-5")
    ]
    assert completed(shell, "%%farm_chat -m ollama:llama3.2:") == ["ollama:llama3.2:1b"]
    assert "cache_key" not in completed(shell, "cache_key = 1\n%farm ca")


def test_loading_the_extension_loads_no_subcommand(plain: Shell) -> None:
    ours = [name for name in sys.modules if name.startswith("farm_notebook.notebook.commands.")]
    for name in ours:
        del sys.modules[name]
    plain.run("%load_ext farm_notebook")
    plain.run("x = 1")
    loaded = {name for name in sys.modules if name.startswith("farm_notebook.notebook.commands.")}
    assert loaded <= {"farm_notebook.notebook.session"}
