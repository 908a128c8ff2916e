"""``%%farm_compare`` in a plain IPython shell: what is asked, what is kept, what is shown."""

from __future__ import annotations

import sys

import pytest
from IPython.core.completer import provisionalcompleter
from shells import Shell, loaded_shell, plain_shell, snapshot

from farm_notebook.errors import InvalidRequestError, MissingExtraError, NoTargetAnsweredError
from farm_notebook.reports import Comparison

pytestmark = pytest.mark.slow  # a shell each


plain = pytest.fixture(name="plain")(plain_shell)
shell = pytest.fixture(name="shell")(loaded_shell)

BOTH = "-m scripted:count-2 -m scripted:echo"


def compared(shell: Shell, cell: str) -> Comparison:
    result, _ = shell.run(cell)
    result.raise_error()
    assert isinstance(result.result, Comparison)
    return result.result


def offered(shell: Shell, line: str) -> list[str]:
    """What completion offers at the end of a line."""
    with provisionalcompleter():
        return [each.text for each in shell.ip.Completer.completions(line, len(line))]


def test_a_cell_asks_all_models_and_its_value_is_the_comparison(shell: Shell) -> None:
    result, out = shell.run(f"%%farm_compare {BOTH}\nHi there")
    found = result.result
    assert isinstance(found, Comparison)
    assert [(each.name, each.text) for each in found] == [
        ("scripted:count-2", "word0 word1"),
        ("scripted:echo", "Hi there"),
    ]
    assert str(found) in out
    assert "<Comparison of scripted:count-2, scripted:echo>" in out
    assert out.count("word0 word1") == 1
    assert shell.ip.user_ns["_"] is found
    _, again = shell.run("_")
    assert str(found) in again


def test_models_are_also_named_with_commas_between(shell: Shell) -> None:
    found = compared(shell, f"%farm_compare {BOTH} --model='scripted:count-3, scripted:count-4,' Hi?")
    assert found.names == ("scripted:count-2", "scripted:echo", "scripted:count-3", "scripted:count-4")
    assert found.prompt == "Hi?"


def test_models_may_stand_by_themselves_on_a_cells_line(shell: Shell) -> None:
    found = compared(shell, "%%farm_compare scripted:count-2,scripted:echo -t0 -m scripted:count-3\nHi")
    assert found.names == ("scripted:count-2", "scripted:echo", "scripted:count-3")


def test_all_are_told_of_the_notebook_what_one_would_be(shell: Shell) -> None:
    shell.run("topic = 'tea'")
    found = compared(shell, f"%%farm_compare {BOTH} -c topic\nWhat is it?")
    text = found["scripted:echo"].text
    assert "\ntea\n" in text
    assert text.endswith("What is it?")
    assert found.note.startswith("context: topic · ")
    _, out = shell.run(f"%%farm_compare --dry-run {BOTH} -c topic\nWhat is it?")
    assert out.count("\ntea\n") == 2


def test_a_picture_goes_to_all_models(shell: Shell) -> None:
    shell.run("import base64\npicture = base64.b64decode('R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw==')")
    _, out = shell.run(f"%farm_compare --dry-run {BOTH} --image picture What is it?")
    assert out.count("Image(") == 2


def test_the_defaults_of_the_notebook_hold_where_the_line_says_nothing(shell: Shell) -> None:
    shell.run("%config FarmMagics.max_tokens = 1")
    assert compared(shell, f"%farm_compare {BOTH} Hi there")[1].text == "Hi"
    assert compared(shell, f"%farm_compare {BOTH} --max-tokens 2 Hi there")[1].text == "Hi there"


def test_out_binds_a_frame_with_a_row_a_model(shell: Shell) -> None:
    compared(shell, f"%farm_compare {BOTH},scripted:error-auth --out table Hi")
    frame = shell.ip.user_ns["table"]
    assert list(frame["model"]) == ["scripted:count-2", "scripted:echo", "scripted:error-auth"]
    assert list(frame["text"].fillna("")) == ["word0 word1", "Hi", ""]


def test_where_all_models_fail_the_cell_does_after_it_has_shown_why(shell: Shell) -> None:
    error, out = shell.error("%farm_compare -m scripted:error-auth -m scripted:error-rate --out table Hi")
    assert isinstance(error, NoTargetAnsweredError)
    assert [type(each).__name__ for each in error.exceptions] == ["AuthenticationError", "RateLimitedError"]
    assert "AuthenticationError: scripted:error-auth failed on cue." in out
    assert out.strip().splitlines()[-1].endswith("None of the models answered; below each name stands why.")
    assert list(shell.ip.user_ns["table"]["outcome"]) == ["failed", "failed"]


def test_that_out_needs_pandas_is_said_before_anybody_is_asked(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm_notebook.notebook.cells.compare.find_spec", lambda name: None)
    error, out = shell.error(f"%farm_compare {BOTH} --out table Hi")
    assert isinstance(error, MissingExtraError)
    assert "--out binds a DataFrame, which needs pandas: pip install pandas" in out
    assert len(out.strip().splitlines()) == 1


def test_the_prompt_and_the_options_are_filled(shell: Shell) -> None:
    shell.ip.user_ns.update(topic="tea", models="scripted:count-2,scripted:echo")
    assert compared(shell, "%%farm_compare -m {models}\nOn {topic}, {{x}}")[1].text == "On tea, {{x}}"
    raw = compared(shell, f"%%farm_compare --no-interpolate {BOTH}\nOn {{topic}}")
    assert raw["scripted:echo"].text == "On {topic}"


def test_options_go_to_all_models(shell: Shell) -> None:
    found = compared(shell, f"%farm_compare {BOTH} -t0.5 --seed 3 --max-tokens 1 Hi there")
    assert [each.status for each in found] == ["cut at the token limit"] * 2
    parameters = {"temperature": 0.5, "max_tokens": 1, "seed": 3}
    assert [reply.parameters for reply in found.replies.values()] == [parameters] * 2
    found = compared(shell, f'%farm_compare {BOTH} --model-parameters {{"top_p": 0.9, "seed": 3}} Hi')
    assert found.replies["scripted:echo"].parameters == {"top_p": 0.9, "seed": 3}


def test_no_conversation_is_sent_or_remembered(shell: Shell) -> None:
    shell.run("%farm_chat earlier")
    before = shell.thread()
    found = compared(shell, f"%farm_compare {BOTH} later")
    assert shell.thread() == before
    reply = found["scripted:echo"].reply
    assert reply is not None
    assert reply.usage.input_tokens == 1


def test_one_by_one_no_speed_is_doubted(shell: Shell) -> None:
    assert "ask them in turn" in compared(shell, f"%farm_compare {BOTH} Hi").note
    assert compared(shell, f"%farm_compare --one-by-one {BOTH} Hi").note == ""


def test_a_dry_run_shows_what_each_would_be_sent_and_sends_nothing(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_OPENAI__ENABLED", "false")
    result, out = shell.run(f"%%farm_compare --dry-run -t 0 -s 'Be brief.' {BOTH},openai:gpt-4o\nHi")
    assert result.result is None
    assert out.count("nothing was sent") == 2
    for model in ("scripted:count-2", "scripted:echo"):
        assert f"Would go to {model}; nothing was sent." in out
    assert out.count("parameters: temperature=0.0") == 2
    assert out.count("--- system\nBe brief.\n--- user\nHi") == 2
    assert "openai:gpt-4o would not be asked: ConfigError: The provider 'openai' is switched off" in out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Hi", "To compare takes at least two models, and none is named"),
        (
            "-m scripted:count-2 Hi",
            "only 'scripted:count-2' is named: %%farm_compare -m NAME -m NAME.",
        ),
        ("-m scripted:count-2 Hi", "scripted:echo"),
        ("-m scripted:echo -m scripted:echo Hi", "'scripted:echo' is named twice"),
        (BOTH, "The prompt is empty"),
        (f'{BOTH} -m {{"top_p": 0.9}} Hi', "Parameters stand behind --model-parameters."),
        (f"{BOTH} --thread x Hi", "'--thread' is not an option"),
        (f"{BOTH} --out a-b Hi", "--out 'a-b' is not a name"),
        (f"{BOTH} -t -1 Hi", "temperature=-1.0 is out of range"),
    ],
)
def test_what_is_wrong_is_one_line(shell: Shell, line: str, words: str) -> None:
    error, out = shell.error(f"%farm_compare {line}")
    assert isinstance(error, InvalidRequestError)
    assert words in out
    assert len(out.strip().splitlines()) == 1


def test_a_prompt_behind_the_cell_magic_is_not_lost_silently(shell: Shell) -> None:
    error, _ = shell.error(f"%%farm_compare {BOTH} What is\nHi")
    assert "'What is' stands behind %%farm_compare" in str(error)


def test_models_that_answered_are_offered_for_completion(shell: Shell) -> None:
    compared(shell, f"%farm_compare {BOTH} Hi")
    assert "scripted:count-2" in offered(shell, "%%farm_compare -m scripted:co")
    assert offered(shell, "%%farm_compare --one") == ["--one-by-one"]


def test_its_help_lists_the_options(shell: Shell) -> None:
    doc = shell.ip.magics_manager.magics["cell"]["farm_compare"].getdoc()
    for option in ("--one-by-one", "--out", "--max-tokens", "--dry-run"):
        assert option in doc


def test_nothing_of_it_is_left_behind(plain: Shell) -> None:
    plain.run("%unload_ext farm_notebook")  # IPython makes these magics of its own at first use
    plain.run("1")
    before = snapshot(plain.ip)
    plain.run("%load_ext farm_notebook")
    compared(plain, f"%farm_compare {BOTH} Hi")
    plain.run("%unload_ext farm_notebook")
    assert snapshot(plain.ip) == before


def test_loading_the_extension_does_not_load_it(plain: Shell) -> None:
    for name in [name for name in sys.modules if name.startswith("farm_notebook.notebook.compare")]:
        del sys.modules[name]
    plain.run("%load_ext farm_notebook")
    assert not [name for name in sys.modules if name.startswith("farm_notebook.notebook.compare")]
