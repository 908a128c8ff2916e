"""``%farm record``, ``replay``, ``cassette`` and ``seed`` in a plain IPython shell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from shells import Shell, loaded_shell, plain_shell

import farm_notebook.farm
from farm_notebook.cassettes import CassetteFile
from farm_notebook.errors import CassetteError, InvalidRequestError, NotRecordedError


@pytest.fixture
def shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Shell]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    for plain in plain_shell(monkeypatch, capsys):
        yield loaded_shell(plain)


def printed(shell: Shell, cell: str) -> str:
    result, out = shell.run(cell)
    result.raise_error()
    return out


def test_what_was_recorded_is_replayed(shell: Shell, tmp_path: Path) -> None:
    assert printed(shell, "%farm record story.farm.jsonl") == (
        "Calls are recorded in story.farm.jsonl. `%farm replay` replays them; first run all cells.\n"
    )
    live = [shell.reply("%farm_chat --reset -m scripted:sample-5 Hello") for _ in range(2)]
    assert printed(shell, "%farm replay") == (
        "Answers come from story.farm.jsonl from now on; no model is asked. `%farm cassette off` ends that.\n"
    )
    assert [shell.reply("%farm_chat --reset -m scripted:sample-5 Hello") for _ in range(2)] == live


def test_a_cell_that_was_not_recorded_says_what_differs(shell: Shell) -> None:
    shell.run("%farm record story.farm.jsonl")
    shell.reply("%farm_chat --reset -t 0 Hello")
    shell.run("%farm replay")
    error, out = shell.error("%farm_chat --reset -t 1 Hello")
    assert isinstance(error, NotRecordedError)
    assert "temperature: recorded 0.0, now 1.0" in out


def test_missing_calls_are_recorded_and_others_are_not_made(shell: Shell, tmp_path: Path) -> None:
    shell.run("%farm record story.farm.jsonl")
    first = shell.reply("%farm_chat --reset -m scripted:sample-5 Hello")
    out = printed(shell, "%farm record --missing")
    assert out == ("What story.farm.jsonl holds is replayed; other calls are made, and recorded there.\n")
    assert shell.reply("%farm_chat --reset -m scripted:sample-5 Hello") == first
    shell.reply("%farm_chat --reset -m scripted:sample-5 Another")
    assert len(CassetteFile(tmp_path / "story.farm.jsonl").read().lines) == 2


def test_the_status_tells_what_was_not_asked_for(shell: Shell) -> None:
    shell.run("%farm record story.farm.jsonl")
    for prompt in ("one", "two", "three"):
        shell.reply(f"%farm_chat --reset {prompt}")
    shell.run("%farm replay --strict --realtime")
    for _ in range(2):
        shell.reply("%farm_chat --reset two")
    result, out = shell.run("%farm cassette status")
    assert sorted(line.ask["messages"][0]["content"] for line in result.result) == ["one", "three"]
    for told in ("replays; no model is asked", "story.farm.jsonl", "given once more", "as it was recorded"):
        assert told in out
    error, _ = shell.error("%farm cassette check")
    assert isinstance(error, CassetteError)
    assert "2 recorded calls were never asked for, in story.farm.jsonl" in str(error)
    error, _ = shell.error("%farm cassette off")
    assert isinstance(error, CassetteError)
    assert printed(shell, "%farm cassette") == (
        "No cassette is in use. `%farm record` and `%farm replay` begin with one.\n"
    )


def test_what_was_not_asked_for_can_be_taken_out(shell: Shell, tmp_path: Path) -> None:
    shell.run("%farm record story.farm.jsonl")
    for prompt in ("one", "two"):
        shell.reply(f"%farm_chat --reset {prompt}")
    shell.run("%farm replay")
    shell.reply("%farm_chat --reset one")
    assert printed(shell, "%farm cassette prune") == "1 call taken out of story.farm.jsonl.\n"
    (line,) = CassetteFile(tmp_path / "story.farm.jsonl").read().lines
    assert line.ask["messages"][-1]["content"] == "one"
    assert printed(shell, "%farm cassette check") == "All that story.farm.jsonl holds was asked for.\n"
    assert printed(shell, "%farm cassette off") == "Calls are neither recorded nor replayed.\n"
    assert printed(shell, "%farm cassette off") == "No cassette is in use.\n"


@pytest.mark.parametrize("cell", ["%farm record", "%farm replay", "%farm record --missing"])
def test_where_the_notebook_is_not_known_the_file_is_asked_for(shell: Shell, cell: str) -> None:
    error, out = shell.error(cell)
    assert isinstance(error, CassetteError)
    assert "Which file?" in out
    assert shell.reply("%farm_chat goes on").text == "goes on"


def test_beside_a_notebook_the_file_has_its_name(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "story.ipynb").touch()
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "story.ipynb"))
    shell.run("%farm record")
    shell.reply("%farm_chat Hello")
    assert (tmp_path / "story.farm.jsonl").is_file()


def test_a_cassette_that_is_not_there_cannot_be_replayed(shell: Shell) -> None:
    error, _ = shell.error("%farm replay other.farm.jsonl")
    assert isinstance(error, CassetteError)
    assert "There is no cassette" in str(error)
    assert shell.reply("%farm_chat goes on").text == "goes on"


@pytest.mark.parametrize("cell", ["%farm record other.farm.jsonl", "%farm cassette off"])
def test_what_the_environment_says_holds_whatever_a_cell_says(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str
) -> None:
    shell.run("%farm record story.farm.jsonl")
    reply = shell.reply("%farm_chat --reset Hello")
    monkeypatch.setenv("FARM_CASSETTE", "replay")
    monkeypatch.setenv("FARM_CASSETTE_FILE", str(tmp_path / "story.farm.jsonl"))
    monkeypatch.setattr(farm_notebook.farm.blocking, "_default", None)
    assert printed(shell, cell) == (
        "FARM_CASSETTE=replay holds, whatever a cell says. Unset it, and this cell decides.\n"
    )
    assert shell.reply("%farm_chat --reset Hello") == reply
    error, _ = shell.error("%farm_chat --reset Another")
    assert isinstance(error, NotRecordedError)


# Seeds


def test_one_seed_is_that_of_all_requests_that_name_none(shell: Shell) -> None:
    assert printed(shell, "%farm seed") == "Requests that name no seed have none.\n"
    assert printed(shell, "%farm seed 7") == (
        "7 is the seed of every request that names none. The same request gets the same answer.\n"
    )
    one = shell.reply("%farm_chat --reset -m scripted:sample-5 Hello")
    other = shell.reply("%farm_chat -m scripted:sample-5 --thread other Hello")
    assert one.text == other.text
    assert one.parameters["seed"] == 7
    assert shell.reply("%farm_chat --seed 8 Hello").parameters["seed"] == 8
    assert printed(shell, "%farm seed off") == "Requests that name no seed have none.\n"
    assert "seed" not in shell.reply("%farm_chat Hello").parameters


def test_providers_that_take_no_seed_are_named(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_ENDPOINTS", '{"far": {"base_url": "http://x/v1", "lacks": ["seed"]}}')
    assert printed(shell, "%farm seed 0").endswith("\nAsked without it, as they take none: far.\n")


@pytest.mark.parametrize("word", ["x", "-1", "1.5", "²"])
def test_what_is_no_seed_is_told(shell: Shell, word: str) -> None:
    error, _ = shell.error(f"%farm seed {word}")
    assert isinstance(error, InvalidRequestError)
