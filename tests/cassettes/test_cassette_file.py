"""The file of a cassette outlives crashes, other kernels and git."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from streams import REF, heard, nobody, request, saying, tape

from farm_notebook.cassettes import CassetteFile, Line
from farm_notebook.cassettes.events import read_events
from farm_notebook.cassettes.lines import in_order, read_text, write_text
from farm_notebook.errors import CassetteError
from farm_notebook.types import Event, Finished, Started, TextDelta

HERE = Path(__file__).parent
RECORDER = """
import asyncio, sys
from pathlib import Path
sys.path += [sys.argv[3], str(Path(sys.argv[3]).parent)]
from streams import REF, heard, request, saying, tape
from farm_notebook.types import Event, Finished, Started, TextDelta

async def main(path, name):
    deck = tape(path, "record")
    count = int(sys.argv[4])
    print("begun", flush=True)
    for number in range(count):
        events = [Started(REF), TextDelta(f"{name} {number} " + "x" * 500), Finished("stop")]
        _, error = await heard(deck.handler(saying(events)), request(f"{name} {number}"))
        assert error is None, error
        _, error = await heard(deck.handler(saying(events)), request("the same"))
        assert error is None, error
        print(number, flush=True)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


def recorder(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RECORDER, str(path), name, str(HERE), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def line(prompt: str, text: str = "", **fields: object) -> Line:
    asked = {"call": "chat", "model": str(REF), "messages": [{"role": "user", "content": prompt}]}
    return Line(asked, events=[["text", text or prompt.upper(), f"0/{len(text or prompt)}"]], **fields)  # type: ignore[arg-type]


def written(lines: Iterable[Line]) -> bytes:
    return write_text(in_order(lines))


def prompts(path: Path) -> list[str]:
    return sorted(each.ask["messages"][0]["content"] for each in CassetteFile(path).read().lines)


# Reading


def test_a_line_reads_from_what_was_asked_to_what_came_of_it() -> None:
    text = line("Hi", took_ms=5, digest="abc", is_local=True).text
    assert list(json.loads(text)) == ["farm", "id", "take", "ask", "digest", "local", "events", "ms"]


def test_the_line_that_the_page_shows_is_one() -> None:
    page = (HERE.parents[1] / "docs" / "cassettes.md").read_text("utf-8")
    shown = page.partition("```json\n")[2].partition("```")[0]
    (found,), problems = (contents := read_text(shown.encode())).lines, contents.problems
    assert problems == ()
    assert read_events(found.events or [])[-1].event.__class__ is Finished


def test_a_torn_last_line_is_passed_over_and_told() -> None:
    whole = written([line("one"), line("two")])
    found = read_text(whole[:-20])
    assert len(found.lines) == 1
    assert found.problems == ("The last line, 2, is torn off and was passed over.",)


def test_a_line_that_is_none_is_told_by_its_number() -> None:
    with pytest.raises(ValueError, match="line 1 is no recorded call"):
        read_text(b"Hello\n" + written([line("one")]))


def test_a_mark_of_a_conflict_is_told_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    one, two = written([line("one")]), written([line("two")])
    path.write_bytes(b"<<<<<<< HEAD\n" + one + b"=======\n" + two + b">>>>>>> other\n")
    with pytest.raises(CassetteError, match="line 1 is a mark of a conflict") as caught:
        CassetteFile(path).read()
    assert "'*.farm.jsonl merge=union' in a file .gitattributes" in str(caught.value)


def test_a_file_of_a_newer_format_is_refused() -> None:
    text = line("one").text.replace('"farm": 1', '"farm": 2')
    with pytest.raises(ValueError, match="of the format 2, and this version of farm-notebook reads 1"):
        read_text(text.encode() + b"\n")


def test_a_line_that_was_changed_by_hand_counts_as_what_it_says() -> None:
    text = written([line("one")]).replace(b'"content": "one"', b'"content": "two"')
    found = read_text(text)
    assert found.lines == (line("two", "ONE"),)
    assert found.problems == ("Line 1 was changed by hand: its id is that of another call.",)


def test_line_breaks_of_other_systems_do_not_harm() -> None:
    text = written([line("one"), line("two")])
    assert read_text(text.replace(b"\n", b"\r\n")).lines == read_text(text).lines


def test_a_damaged_file_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    path.write_bytes(b"<<<<<<< HEAD\n")
    with pytest.raises(CassetteError, match="mark of a conflict"):
        CassetteFile(path).change(lambda lines: [*lines, line("new")])
    assert path.read_bytes() == b"<<<<<<< HEAD\n"


# Writing


def test_the_same_lines_are_the_same_file(tmp_path: Path) -> None:
    many = [line(f"prompt {number}") for number in range(20)]
    assert written(many) == written(reversed(many))
    assert written(many) == b"".join(sorted(written(many).splitlines(keepends=True)))


def test_a_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    path.write_bytes(b"")
    path.chmod(0o640)
    CassetteFile(path).change(lambda lines: [line("new")])
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["a.farm.jsonl"]


@pytest.mark.slow
def test_two_processes_that_record_into_one_file_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    count = 25
    running = [recorder(path, name, count) for name in ("a", "b")]
    for process in running:
        process.communicate(timeout=120)
        assert process.returncode == 0
    found = prompts(path)
    assert found[: 2 * count] == sorted(f"{name} {n}" for name in ("a", "b") for n in range(count))
    assert len(found[2 * count :]) >= count  # each that began after the other had replaces what it found


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_records_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    for attempt in range(3):
        process = recorder(path, f"run {attempt}", 10_000)
        assert process.stdout is not None
        done = [process.stdout.readline() for _ in range(4 + attempt * 3)]
        time.sleep(0.003 * attempt)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        found = CassetteFile(path).read()
        assert found.problems == ()
        last = int(done[-1])
        known = [each for each in prompts(path) if each.startswith(f"run {attempt}")]
        assert {f"run {attempt} {n}" for n in range(last + 1)} <= set(known)
    CassetteFile(path).change(lambda lines: lines)  # nobody has it locked


# git


def git(folder: Path, *words: str, check: bool = True) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, env=environment, check=check, capture_output=True, text=True
    )
    return done.stdout


async def branches(folder: Path, at_first: list[str], ours: list[str], theirs: list[str]) -> Path:
    """A repository in which two branches recorded further calls, the one checked out."""
    path = folder / "story.farm.jsonl"

    async def commit(prompts: list[str], take: str) -> None:
        deck = tape(path, "auto")
        for prompt in prompts:
            events: list[Event] = [Started(REF), TextDelta(f"{prompt} {take}"), Finished("stop")]
            await heard(deck.handler(saying(events)), request(prompt))
        git(folder, "add", ".")
        git(folder, "commit", "-m", take)

    git(folder, "init", "-b", "main")
    (folder / ".gitattributes").write_text("*.farm.jsonl merge=union\n")
    await commit(at_first, "first")
    git(folder, "checkout", "-b", "theirs")
    await commit(theirs, "theirs")
    git(folder, "checkout", "main")
    await commit(ours, "ours")
    return path


async def replayed(path: Path, *prompts: str) -> list[str]:
    deck = tape(path, "replay")
    found = [await heard(deck.handler(nobody), request(prompt)) for prompt in prompts]
    return ["".join(event.text for event in got if isinstance(event, TextDelta)) for got, _ in found]


@pytest.mark.parametrize("at_first", [[], ["a"], [f"cell {n}" for n in range(12)]], ids=len)
async def test_two_branches_that_each_added_cells_are_merged_by_git(
    tmp_path: Path, at_first: list[str]
) -> None:
    ours, theirs = [f"ours {n}" for n in range(5)], [f"theirs {n}" for n in range(5)]
    path = await branches(tmp_path, at_first, ours, theirs)
    git(tmp_path, "merge", "theirs", "-m", "both")
    assert await replayed(path, *at_first) == [f"{prompt} first" for prompt in at_first]
    assert await replayed(path, *ours) == [f"{prompt} ours" for prompt in ours]
    assert await replayed(path, *theirs) == [f"{prompt} theirs" for prompt in theirs]
    assert CassetteFile(path).read().problems == ()


async def test_two_branches_that_asked_the_same_keep_both_answers(tmp_path: Path) -> None:
    path = await branches(tmp_path, ["a"], ["the same"], ["the same"])
    git(tmp_path, "merge", "theirs", "-m", "both")
    assert sorted(await replayed(path, "the same", "the same")) == ["the same ours", "the same theirs"]
    assert await replayed(path, "a") == ["a first"]


@pytest.mark.slow
async def test_without_the_attribute_most_additions_do_not_touch(tmp_path: Path) -> None:
    at_first = [f"cell {n}" for n in range(100)]
    path = await branches(tmp_path, at_first, ["ours"], ["theirs"])
    (tmp_path / ".gitattributes").unlink()
    git(tmp_path, "merge", "theirs", "-m", "both")
    assert await replayed(path, "ours", "theirs") == ["ours ours", "theirs theirs"]


async def test_what_git_adds_to_a_file_is_only_the_new_lines(tmp_path: Path) -> None:
    await branches(tmp_path, [f"cell {n}" for n in range(9)], ["one more"], ["x"])
    assert git(tmp_path, "diff", "--numstat", "HEAD~1").split() == ["1", "0", "story.farm.jsonl"]
