"""The history: what is kept of a call and found again, what it costs on disk, and what it survives."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from store_checks import assert_whole
from store_contract import Clock

from farm_notebook.stores.calls import Call, CallRecord, Turn, UsageRow
from farm_notebook.stores.history import GATHER_S, History
from farm_notebook.types import ChatMessage, ChatRequest, Image, ModelRef, Route, Timings, ToolCall, Usage

REF = ModelRef("openai", "gpt-4o")
OTHER = ModelRef("llamacpp", "smollm2:135m")
DAY_S = 86_400.0
NOON = 1_700_000_000.0 - 1_700_000_000.0 % DAY_S + DAY_S / 2  # in UTC, and so on one day in most of the world


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
async def history(tmp_path: Path, clock: Clock) -> AsyncIterator[History]:
    made = History(tmp_path / "deep" / "history.sqlite", keep_days=30, max_bytes=50_000_000, clock=clock)
    yield made
    await made.aclose()


def request(*said: str, ref: ModelRef = REF, **more: object) -> ChatRequest:
    """A conversation in which user and assistant take turns."""
    roles = ("user", "assistant")
    messages = tuple(ChatMessage(roles[number % 2], text) for number, text in enumerate(said))  # type: ignore[arg-type]
    return ChatRequest(ref, messages, **more)  # type: ignore[arg-type]


def record(*said: str, answer: str = "Paris", at: float = NOON, ref: ModelRef = REF) -> CallRecord:
    """A call that went well."""
    return CallRecord(
        at=at,
        kind="chat",
        request=request(*(said or ("What is the capital of France?",)), ref=ref),
        ref=ref,
        texts=tuple(answer.partition(" ")),
        usage=Usage(10, 5),
        cost=0.5,
        timings=Timings(first_token_s=0.25, total_s=1.25, tokens_per_s=40.0),
        finish_reason="stop",
        is_taken=True,
        environment="development",
    )


async def found(history: History, search: str) -> list[str | None]:
    """The answers of the calls that a search finds, oldest first."""
    return [call.text for call in reversed(await history.calls(search=search))]


def content(folder: Path) -> bytes:
    """Every byte that is on disk of a history, also in SQLite's other files."""
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


# What is kept


async def test_a_call_is_found_again_whole(history: History) -> None:
    tool_call = ToolCall("1", "weather", '{"town": "Oslo"}')
    asked = ChatRequest(
        REF,
        (
            ChatMessage("system", "Be brief."),
            ChatMessage("user", "Look", images=(Image(b"picture", "image/png"),)),
            ChatMessage("assistant", "", tool_calls=(tool_call,)),
            ChatMessage("tool", "rain", tool_call_id="1"),
        ),
        seed=7,
        route=Route("fast"),
    )
    told = replace(
        record(answer="It rains in Oslo"),
        request=asked,
        ref=OTHER,
        reasoning=("h", "m"),
        tool_calls=(tool_call,),
        usage=Usage(10, 5, 2, 1),
        timings=Timings(0.1, 0.2, 0.3, 1.5, 40.0),
        rerouted="openai:gpt-4o was down",
        notebook="study.ipynb",
    )
    history.record(told)
    call = await history.call(1)
    assert call == Call(
        id=1,
        at=NOON,
        kind="chat",
        name="fast",
        asked="openai:gpt-4o",
        model="llamacpp:smollm2:135m",
        question="rain",
        text="It rains in Oslo",
        reasoning="hm",
        tool_calls=(tool_call,),
        usage=Usage(10, 5, 2, 1),
        cost=0.5,
        timings=Timings(0.1, 0.2, 0.3, 1.5, 40.0),
        finish_reason="stop",
        error=None,
        problem=None,
        is_taken=True,
        is_cached=False,
        rerouted="openai:gpt-4o was down",
        notebook="study.ipynb",
        environment="development",
        fingerprint=asked.fingerprint(),
        parameters={"seed": 7},
        messages=(
            Turn("system", "Be brief."),
            Turn("user", "Look", images=(f"image/png {Image(b'picture', 'image/png').digest}",)),
            Turn("assistant", "", tool_calls=(tool_call,)),
            Turn("tool", "rain", tool_call_id="1"),
        ),
    )
    assert await history.calls() == [replace(call, messages=())]
    assert await history.call(2) is None


async def test_a_failed_call_is_found_with_its_error(history: History) -> None:
    failed = replace(
        record(),
        texts=(),
        finish_reason=None,
        error="RateLimitedError",
        problem="too many",
        cost=None,
        usage=Usage(),
    )
    history.record(failed)
    (call,) = await history.calls()
    assert (call.error, call.problem, call.text, call.cost, call.usage) == (
        "RateLimitedError",
        "too many",
        None,
        None,
        Usage(),
    )


async def test_a_growing_conversation_costs_only_its_new_turns(history: History) -> None:
    said = [f"turn {number} " + "x" * 2_000 for number in range(41)]
    for length in range(1, len(said), 2):
        history.record(record(*said[:length], answer=said[length]))
    last = (await history.calls(limit=1))[0]
    whole = await history.call(last.id)
    assert whole is not None
    assert [turn.text for turn in whole.messages] == said[:39]
    with sqlite3.connect(history.path) as database:
        assert database.execute("SELECT count(*) FROM texts").fetchone() == (40,)
        assert database.execute("SELECT count(*) FROM turns").fetchone() == (39,)
    database.close()


async def test_many_embedded_texts_are_one_call_with_the_first_of_them(history: History) -> None:
    texts = tuple(ChatMessage("user", f"text {number}") for number in range(1_000))
    history.record(replace(record(), kind="embedding", request=ChatRequest(REF, texts), texts=()))
    (call,) = await history.calls()
    whole = await history.call(call.id)
    assert whole is not None
    assert (whole.kind, whole.parameters, whole.fingerprint) == ("embedding", {"texts": 1_000}, None)
    assert [turn.text for turn in whole.messages] == [f"text {number}" for number in range(20)]


async def test_without_texts_only_figures_are_kept(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite", keep_days=100_000, max_bytes=50_000_000, texts=False)
    asked = request("PLANTED question", seed=7, stop=("PLANTED stop",), extra={"note": "PLANTED extra"})
    history.record(replace(record(answer="PLANTED answer"), request=asked, reasoning=("PLANTED",)))
    (call,) = await history.calls()
    await history.aclose()
    assert (call.question, call.text, call.usage, call.parameters) == (None, None, Usage(10, 5), {"seed": 7})
    assert b"PLANTED" not in content(tmp_path)


async def test_a_key_never_reaches_the_file_wherever_it_stood(tmp_path: Path) -> None:
    key = "sk-PLANTED-key-0123456789"
    history = History(
        tmp_path / "history.sqlite",
        keep_days=100_000,
        max_bytes=50_000_000,
        redact=lambda text: text.replace(key, "***"),
    )
    tool_call = ToolCall("1", "login", f'{{"key": "{key}"}}')
    asked = ChatRequest(
        REF,
        (ChatMessage("user", f"Is {key} valid?"), ChatMessage("assistant", "", tool_calls=(tool_call,))),
        extra={"token": key},
        route=Route(key),
    )
    history.record(
        replace(
            record(),
            request=asked,
            texts=("It is sk-PLANTED-", "key-0123456789."),  # in two pieces
            reasoning=(key,),
            tool_calls=(tool_call,),
            finish_reason=None,
            error="AuthenticationError",
            problem=f"the key {key} is wrong",
            rerouted=f"{key} was refused",
            notebook=f"{key}.ipynb",
        )
    )
    (call,) = await history.calls()
    await history.aclose()
    assert (call.text, call.problem) == ("It is ***.", "the key *** is wrong")
    assert b"PLANTED" not in content(tmp_path)


async def test_text_that_is_no_text_is_kept_as_far_as_it_is(history: History) -> None:
    history.record(record("half a pair: \ud83d", answer="and \x00 and \ud83d"))
    (call,) = await history.calls()
    assert (call.question, call.text) == ("half a pair: ?", "and \x00 and ?")


async def test_one_call_that_cannot_be_written_does_not_take_others_with_it(
    history: History, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(dict[str, object]):
        def items(self) -> object:  # type: ignore[override]
            raise ValueError("odd")

    odd = ChatRequest(REF, (ChatMessage("user", "odd"),), schema={"a": Odd(b=1)})
    history.record(record(answer="first"))
    history.record(replace(record(), request=odd))
    history.record(record(answer="last"))
    assert [call.text for call in await history.calls()] == ["last", "first"]
    assert "could not take a call" in caplog.text


# Finding


@pytest.fixture
async def library(history: History) -> History:
    """Some calls about different things, of several models and days."""
    conversation = ("What is the capital of France?", "Paris", "And of Norway?")
    for one in (
        record(conversation[0], answer="Paris", at=NOON - 3 * DAY_S),
        record(*conversation, answer="Oslo", at=NOON - 2 * DAY_S, ref=OTHER),
        record("日本の首都はどこですか", answer="東京です", at=NOON - DAY_S),
        record("Is 100% of foo_bar() covered?", answer="C:\\temp: no", at=NOON),
    ):
        history.record(one)
    return history


@pytest.mark.parametrize(
    ("search", "answers"),
    [
        ("capital", ["Paris"]),  # asked once, though it stands in two conversations
        ("CAPITAL fran", ["Paris"]),
        ("norway", ["Oslo"]),
        ("oslo", ["Oslo"]),
        ("paris", ["Paris"]),
        ("首都", ["東京です"]),
        ("東京", ["東京です"]),
        ("100% of", ["C:\\temp: no"]),
        ("foo_bar", ["C:\\temp: no"]),
        ('"unbalanced', []),
        ("capital OR oslo", []),
        ("%", ["C:\\temp: no"]),
        ("\\", ["C:\\temp: no"]),
        ("()", ["C:\\temp: no"]),
        ("nowhere", []),
        ("  ", ["Paris", "Oslo", "東京です", "C:\\temp: no"]),
    ],
)
async def test_a_search_finds_what_was_asked_and_answered(
    library: History, search: str, answers: list[str]
) -> None:
    assert await found(library, search) == answers


async def test_without_an_index_of_words_texts_are_looked_through(library: History) -> None:
    await library.calls()
    with sqlite3.connect(library.path) as database:
        database.executescript("DROP TRIGGER text_added; DROP TRIGGER text_dropped; DROP TABLE words;")
    database.close()
    assert await found(library, "capital") == ["Paris"]
    assert await found(library, "norway") == ["Oslo"]
    library.record(record(answer="Lima"))
    assert await found(library, "lima") == ["Lima"]


@pytest.mark.parametrize("model", ["llamacpp:smollm2:135m", "llamacpp", "smollm2:135m"])
async def test_calls_of_a_model_are_found_by_each_of_its_names(library: History, model: str) -> None:
    assert [call.text for call in await library.calls(model=model)] == ["Oslo"]


async def test_calls_are_found_by_the_alias_that_was_written(history: History) -> None:
    history.record(replace(record(), request=request("x", route=Route("fast"))))
    history.record(record())
    assert len(await history.calls(model="fast")) == 1


async def test_the_newest_come_first_and_not_too_many(library: History) -> None:
    answers = [call.text for call in await library.calls(limit=2, since=NOON - 2 * DAY_S)]
    assert answers == ["C:\\temp: no", "東京です"]
    assert len(await library.calls(since=NOON - 2 * DAY_S, limit=None)) == 3


# Summing up


async def test_usage_counts_each_kind_of_call_apart(history: History) -> None:
    unknown = replace(
        record(), usage=Usage(7), cost=None, timings=Timings(first_token_s=0.5, tokens_per_s=20.0)
    )
    unused = replace(record(), finish_reason=None, cost=None, usage=Usage(), timings=Timings())
    for one in (
        record(),
        replace(record(), timings=Timings(first_token_s=1.5, tokens_per_s=30.0)),
        unknown,
        replace(record(), is_cached=True, cost=0.0, timings=Timings(first_token_s=0.0)),
        replace(unused, error="LimitReachedError", is_taken=False),
        replace(unused, error="cancelled", is_taken=False),
        replace(unused, error="RateLimitedError"),
        replace(record(), error="cancelled", finish_reason=None, cost=None, usage=Usage(), timings=Timings()),
    ):
        history.record(one)
    (row,) = await history.usage()
    assert row == UsageRow(
        key="openai:gpt-4o",
        requests=5,
        cached=1,
        refused=2,
        failed=1,
        cancelled=1,
        input_tokens=27,
        output_tokens=10,
        uncounted=2,
        cost=1.0,
        unpriced=2,
        first_token_mean_s=0.75,
        first_token_median_s=0.5,
        tokens_per_s_mean=30.0,
        tokens_per_s_median=30.0,
    )


async def test_an_answer_that_broke_off_used_tokens_that_nobody_told(history: History) -> None:
    broken = replace(record(), error="IncompleteStreamError", finish_reason=None, cost=None, usage=Usage())
    history.record(broken)
    (row,) = await history.usage()
    assert (row.requests, row.failed, row.uncounted, row.unpriced) == (1, 1, 1, 1)
    history.record(replace(broken, timings=Timings(total_s=1.0)))  # before its first word
    (row,) = await history.usage()
    assert (row.requests, row.failed, row.uncounted, row.unpriced) == (2, 2, 1, 1)


async def test_usage_is_told_by_model_provider_day_or_notebook(history: History) -> None:
    for one in (
        replace(record(), notebook="a.ipynb"),
        replace(record(at=NOON - DAY_S), notebook="b.ipynb"),
        record(ref=ModelRef("openai", "o3")),
        record(ref=OTHER),
    ):
        history.record(one)

    async def counted(by: str) -> dict[str, int]:
        return {row.key: row.requests for row in await history.usage(by)}  # type: ignore[arg-type]

    assert await counted("model") == {"llamacpp:smollm2:135m": 1, "openai:gpt-4o": 2, "openai:o3": 1}
    assert await counted("provider") == {"llamacpp": 1, "openai": 3}
    assert await counted("notebook") == {"": 2, "a.ipynb": 1, "b.ipynb": 1}
    assert [*(await counted("day")).values()] == [1, 3]
    days = await history.usage("provider", since=NOON - DAY_S, per_day=True)
    assert [(row.key, row.requests) for row in days] == [("llamacpp", 1), ("openai", 1), ("openai", 2)]
    assert days[1].day < days[2].day
    assert len(await history.usage("provider", since=NOON, per_day=True)) == 2


async def test_an_embedding_needs_no_output_tokens_to_be_counted(history: History) -> None:
    history.record(replace(record(), kind="embedding", usage=Usage(10)))
    (row,) = await history.usage()
    assert (row.input_tokens, row.output_tokens, row.uncounted) == (10, 0, 0)


# Bounds, and forgetting


async def test_old_calls_are_dropped_with_what_only_they_said(history: History, clock: Clock) -> None:
    history.record(record("old question", "shared answer", "old more", at=NOON))
    await history.calls()
    clock.now += 31 * DAY_S
    history.record(record("new question", answer="shared answer", at=clock.now))
    assert [call.question for call in await history.calls()] == ["new question"]
    with sqlite3.connect(history.path) as database:
        texts = {text for (text,) in database.execute("SELECT text FROM texts")}
    database.close()
    assert texts == {"new question", "shared answer"}
    assert await found(history, "old") == []


async def test_the_oldest_calls_make_room(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite", keep_days=100_000, max_bytes=1_000_000)
    for number in range(40):
        text = f"{number} " + os.urandom(30_000).hex()
        history.record(record(text, answer=text[::-1], at=NOON + number))
        if number % 5 == 4:
            await history.calls(limit=1)
    left = [call.at - NOON for call in await history.calls(limit=None)]
    await history.aclose()
    assert left[0] == 39
    assert left == sorted(left, reverse=True)
    assert 1 < len(left) < 15
    assert history.path.stat().st_size < 3_000_000


async def test_clearing_leaves_nothing_in_the_file(history: History) -> None:
    for number in range(50):
        history.record(record(f"PLANTED question {number}", answer=f"PLANTED answer {number}"))
    assert await history.clear() == 50
    assert await history.calls() == []
    assert await history.usage() == []
    assert b"PLANTED" not in content(history.path.parent)
    history.record(record(answer="afterwards"))
    assert await found(history, "afterwards") == ["afterwards"]


# Never in the way


async def test_telling_opens_nothing_and_starts_no_thread(history: History) -> None:
    threads = threading.active_count()
    for _ in range(100):
        history.record(record())
    assert threading.active_count() == threads
    assert not history.path.exists()


async def test_what_was_told_is_written_a_moment_later_by_itself(history: History) -> None:
    history.record(record())
    give_up_at = time.monotonic() + 100 * GATHER_S
    while not history.path.exists() or not _count(history.path):
        assert time.monotonic() < give_up_at
        await asyncio.sleep(GATHER_S / 5)


def test_without_an_event_loop_it_is_written_too(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite", keep_days=100_000, max_bytes=50_000_000)
    history.record(record())
    asyncio.run(history.aclose())
    assert _count(history.path) == 1


def test_a_loop_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite", keep_days=100_000, max_bytes=50_000_000)

    async def tell(*, is_last: bool) -> None:
        history.record(record())
        if is_last:
            await history.aclose()

    asyncio.run(tell(is_last=False))
    asyncio.run(tell(is_last=True))
    assert _count(history.path) == 2


def _count(path: Path) -> int:
    database = sqlite3.connect(path)
    try:
        return int(database.execute("SELECT count(*) FROM calls").fetchone()[0])
    except sqlite3.OperationalError:  # its tables are being made
        return 0
    finally:
        database.close()


async def test_the_file_is_for_this_user_alone(history: History) -> None:
    history.record(record())
    await history.calls()
    for file in history.path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_cannot_be_written_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    history = History(folder / "history.sqlite", keep_days=100_000, max_bytes=50_000_000)
    await _told_once(history, caplog)


async def test_a_path_that_is_no_file_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    history = History(tmp_path / "taken" / "history.sqlite", keep_days=100_000, max_bytes=50_000_000)
    await _told_once(history, caplog)


async def _told_once(history: History, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        history.record(record())
        history._write_pending()
    assert caplog.text.count("cannot be used") == 1
    assert "Calls are not remembered" in caplog.text
    with pytest.raises(OSError, match=r"history|taken"):
        await history.calls()
    await history.aclose()


async def test_a_full_disk_costs_entries_and_nothing_else(
    history: History, caplog: pytest.LogCaptureFixture
) -> None:
    history.record(record(answer="before"))
    await history.calls()
    assert history._keeper.file is not None
    (pages,) = history._keeper.file._writer.execute("PRAGMA page_count").fetchone()
    history._keeper.file._writer.execute(f"PRAGMA max_page_count = {pages}")
    history.record(record(answer="y" * 1_000_000))
    history._write_pending()
    assert "full" in caplog.text
    history.record(record(answer="while it is left alone"))
    assert await found(history, "before") == ["before"]
    await history.aclose()
    history.record(record(answer="after"))
    assert [call.text for call in await history.calls()] == ["after", "before"]


@pytest.mark.parametrize(
    "junk", [b"this is no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 8_000]
)
async def test_a_damaged_file_is_set_aside_and_told_of(
    history: History, caplog: pytest.LogCaptureFixture, junk: bytes
) -> None:
    history.path.parent.mkdir(parents=True)
    history.path.write_bytes(junk)
    history.record(record())
    assert len(await history.calls()) == 1
    assert history.path.with_name("history.sqlite.corrupt-1").read_bytes() == junk
    assert "was renamed to 'history.sqlite.corrupt-1'" in caplog.text


async def test_a_file_that_is_damaged_under_way_is_replaced(
    history: History, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(200):
        history.record(record(f"question {number} {'x' * 500}", answer=f"answer {number}"))
    await history.calls()
    assert history._keeper.file is not None
    history._keeper.file._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = history.path.stat().st_size
    with history.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    for number in range(3):
        history.record(record(f"later {number}"))
        history._write_pending()
    with contextlib.suppress(
        OSError
    ):  # whether a write or this read is the first to notice, depends on SQLite
        await history.calls()
    history.record(record(answer="afterwards"))
    assert "afterwards" in [call.text for call in await history.calls()]
    assert "renamed" in caplog.text


async def test_another_kind_of_database_is_set_aside(history: History) -> None:
    history.path.parent.mkdir(parents=True)
    database = sqlite3.connect(history.path)
    database.execute("CREATE TABLE other (x)")
    database.close()
    history.record(record())
    assert len(await history.calls()) == 1
    assert history.path.with_name("history.sqlite.corrupt-1").exists()


async def test_a_closed_history_opens_again(history: History) -> None:
    history.record(record(answer="first"))
    await history.aclose()
    history.record(record(answer="second"))
    assert [call.text for call in await history.calls()] == ["second", "first"]


# Several processes


WRITER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from test_history import record
from farm_notebook.stores.history import History

async def main() -> None:
    history = History(Path({path!r}), keep_days=1e6, max_bytes=50_000_000)
    for number in range({count}):
        history.record(record("shared question", answer=f"{{sys.argv[1]}} {{number}}"))
        if number % 20 == 0:
            await history.calls(limit=1)
        if number == 40:
            print("under way", flush=True)
    await history.aclose()

asyncio.run(main())
"""


def writer(path: Path, name: str, *, count: int) -> subprocess.Popen[str]:
    program = WRITER.format(folder=str(Path(__file__).parent), path=str(path), count=count)
    return subprocess.Popen([sys.executable, "-c", program, name], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_several_processes_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    writers = [writer(path, name, count=200) for name in "abc"]
    for process in writers:
        process.communicate(timeout=100)
        assert process.returncode == 0
    assert _count(path) == 600


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_writes_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    process = writer(path, "a", count=1_000_000)
    assert process.stdout
    assert process.stdout.readline() == "under way\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=100)
    assert_whole(path)
    database = sqlite3.connect(path)
    loose = (
        "SELECT count(*) FROM calls "
        "WHERE answer NOT IN (SELECT id FROM texts) OR turn NOT IN (SELECT id FROM turns)"
    )
    assert database.execute(loose).fetchone() == (0,)
    assert database.execute("SELECT count(*) FROM calls").fetchone()[0] >= 20
    database.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
async def test_a_forked_child_writes_what_it_was_told_and_not_what_its_parent_was(history: History) -> None:
    history.record(record(answer="before"))
    await history.calls()
    history.record(record(answer="of the parent"))
    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(history,))
    child.start()
    await asyncio.to_thread(child.join, 60)
    assert child.exitcode == 0
    assert sorted(call.text or "" for call in await history.calls()) == [
        "before",
        "of the child",
        "of the parent",
    ]


def _in_child(history: History) -> None:
    history.record(record(answer="of the child"))
    asyncio.run(history.aclose())
