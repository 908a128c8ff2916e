"""A tape gives again what it recorded, one for one, and asks nobody for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streams import (
    REF,
    Models,
    cancelled,
    failures,
    heard,
    nobody,
    request,
    same_failure,
    saying,
    streams,
    tape,
)

from farm_notebook.cassettes import CassetteFile, ask
from farm_notebook.cassettes.events import read_events
from farm_notebook.errors import (
    CassetteError,
    FarmError,
    InterruptedReply,
    NotRecordedError,
    RateLimitedError,
)
from farm_notebook.types import (
    ChatRequest,
    Embeddings,
    Event,
    Finished,
    Image,
    LoadProgress,
    ModelInfo,
    ModelRef,
    Started,
    TextDelta,
    Timings,
    Tool,
)

ANSWER: list[Event] = [
    Started(REF),
    TextDelta("Par"),
    TextDelta("is"),
    Finished("stop", timings=Timings(total_s=1.25)),
]
quickly = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def answer(text: str) -> list[Event]:
    return [Started(REF), TextDelta(text), Finished("stop")]


async def recorded(path: Path, *prompts: str, **settings: Any) -> None:
    """Record an answer to each prompt; the prompt in capitals."""
    deck = tape(path, "record", **settings)
    for prompt in prompts:
        await heard(deck.handler(saying(answer(prompt.upper()))), request(prompt))


async def texts(path: Path, mode: str, *prompts: str, **settings: Any) -> list[str]:
    deck = tape(path, mode, **settings)
    handler = deck.handler(nobody)
    found = [await heard(handler, request(prompt)) for prompt in prompts]
    assert all(error is None for _, error in found)
    return ["".join(event.text for event in got if isinstance(event, TextDelta)) for got, _ in found]


# Record, then replay, is the identity


@quickly
@given(streams, st.none() | failures(), st.none() | st.integers(0, 5))
async def test_a_replayed_stream_is_the_recorded_one_however_it_ended(
    tmp_path: Path, stream: list[Event], error: FarmError | None, leave_after: int | None
) -> None:
    path = tmp_path / f"{uuid4()}.farm.jsonl"
    made = tape(path, "record")
    live = await heard(made.handler(saying(stream, error)), request(), leave_after)
    await asyncio.sleep(0)  # what the caller left is written in the background
    if made.cassette is not None:
        await made.cassette.save()
    if leave_after == 0:
        return
    replayed = await heard(tape(path, "replay").handler(nobody), request(), leave_after)
    assert replayed[0] == live[0]
    assert same_failure(replayed[1], live[1])


@quickly
@given(streams, st.booleans())
async def test_a_caller_that_stays_where_the_recorded_one_left_or_was_cancelled_is_told(
    tmp_path: Path, stream: list[Event], was_cancelled: bool
) -> None:
    path = tmp_path / f"{uuid4()}.farm.jsonl"
    made = tape(path, "record")
    if not (cut := len(stream) // 2):
        return
    if was_cancelled:
        got = await cancelled(made.handler(saying(stream)), request(), cut)
    else:
        got, _ = await heard(made.handler(saying(stream)), request(), cut)
    assert got == stream[:cut]
    if isinstance(got[-1], Finished):
        return
    await asyncio.sleep(0)
    assert made.cassette is not None
    await made.cassette.save()
    replayed, error = await heard(tape(path, "replay").handler(nobody), request())
    assert replayed == stream[:cut]
    assert isinstance(error, InterruptedReply)


async def test_a_cancelled_call_is_recorded_as_far_as_it_came(tmp_path: Path) -> None:
    said = asyncio.Event()

    async def endless(request: ChatRequest) -> AsyncGenerator[Event, None]:
        yield Started(REF)
        yield TextDelta("so far")
        said.set()
        await asyncio.Event().wait()

    made = tape(tmp_path / "a.farm.jsonl", "record")
    task = asyncio.create_task(heard(made.handler(endless), request()))
    await said.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert made.cassette is not None
    await made.cassette.save()
    got, error = await heard(tape(tmp_path / "a.farm.jsonl", "replay").handler(nobody), request())
    assert got == [Started(REF), TextDelta("so far")]
    assert isinstance(error, InterruptedReply)


async def test_who_waits_for_the_whole_gets_a_text_in_one_piece(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    await heard(tape(path, "record").handler(saying(ANSWER)), request())
    got, _ = await heard(tape(path, "replay").handler(nobody, in_pieces=False), request())
    assert got == [Started(REF), TextDelta("Paris"), ANSWER[-1]]


VALUES: Sequence[tuple[Any, Any]] = [
    ([ModelInfo(REF, available=True, capabilities=frozenset({"chat", "tools"}))], list[ModelInfo]),
    (Embeddings(((0.5, 0.25), (0.1, 0.9)), REF), Embeddings),
    (None, int | None),
    (True, bool),
]


@pytest.mark.parametrize(("value", "kind"), VALUES)
async def test_a_replayed_outcome_is_the_recorded_one(tmp_path: Path, value: Any, kind: Any) -> None:
    async def make() -> Any:
        return value

    path = tmp_path / "a.farm.jsonl"
    asked = ask("something", model=REF)
    assert await tape(path, "record").value(asked, make, kind) == value
    assert await tape(path, "replay").value(asked, nobody_makes, kind) == value


async def nobody_makes() -> Any:
    raise AssertionError("somebody was asked")


async def test_a_call_that_fails_fails_again(tmp_path: Path) -> None:
    async def make() -> bool:
        raise RateLimitedError("Later.", provider="near", retry_after_s=3.5)

    path = tmp_path / "a.farm.jsonl"
    for mode, maker in (("record", make), ("replay", nobody_makes)):
        with pytest.raises(RateLimitedError, match=r"Later\.") as caught:
            await tape(path, mode).value(ask("unload", model=REF), maker, bool)
        assert (caught.value.provider, caught.value.retry_after_s) == ("near", 3.5)


async def test_progress_is_replayed(tmp_path: Path) -> None:
    async def make() -> AsyncGenerator[LoadProgress, None]:
        for size in (1, 2, 3):
            yield LoadProgress("load", size, 3)

    path = tmp_path / "a.farm.jsonl"
    for mode in ("record", "replay"):
        got = [step async for step in tape(path, mode).stream(ask("load", model=REF), make)]
        assert got == [LoadProgress("load", size, 3) for size in (1, 2, 3)]


# What is the same call


SAME = [request(), request(cache="off"), request(cache="refresh")]
OTHERS = [
    request("Ho"),
    request(temperature=0.0),
    request(seed=7),
    request(max_tokens=5),
    request(sample=1),
    request(kind="completion"),
    request(schema={"type": "object"}),
    request(tools=(Tool("f", "", {}),)),
    request(extra={"a": 1}),
]


@pytest.mark.parametrize("again", SAME)
async def test_how_a_kept_answer_may_be_used_does_not_tell_calls_apart(tmp_path: Path, again: Any) -> None:
    path = tmp_path / "a.farm.jsonl"
    await heard(tape(path, "record").handler(saying(ANSWER)), request())
    assert await heard(tape(path, "replay").handler(nobody), again) == (ANSWER, None)


@pytest.mark.parametrize("other", OTHERS)
async def test_all_else_of_a_request_does(tmp_path: Path, other: ChatRequest) -> None:
    path = tmp_path / "a.farm.jsonl"
    await heard(tape(path, "record").handler(saying(ANSWER)), request())
    _, error = await heard(tape(path, "replay").handler(nobody), other)
    assert isinstance(error, NotRecordedError)


async def test_a_call_that_is_not_there_is_told_from_the_most_similar_one(tmp_path: Path) -> None:
    path = tmp_path / "story.farm.jsonl"
    await recorded(path, "What is the capital of France?", "Tell me a story of a fox and a hen.")
    asked = request("What is the capital of Spain?", temperature=0.5)
    _, error = await heard(tape(path, "replay").handler(nobody), asked)
    assert str(error).splitlines() == [
        "Not in story.farm.jsonl, from which answers are replayed: "
        "chat near:m:1 'What is the capital of Spain?'.",
        "The most similar recorded call differs in this:",
        '  messages[0].content: recorded "What is the capital of France?", '
        'now "What is the capital of Spain?"',
        "  temperature: not recorded, now 0.5",
        "To record it, run `%farm record story.farm.jsonl` and the cells again; `FARM_CASSETTE=auto` records "
        "what is missing. Nobody was asked.",
    ]


async def test_where_no_call_of_its_kind_is_there_that_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    await recorded(path, "Hi")
    with pytest.raises(NotRecordedError, match="No call of the kind 'health' is recorded there"):
        await tape(path, "replay").value(ask("health"), nobody_makes, bool)


async def test_without_a_cassette_nothing_is_replayed(tmp_path: Path) -> None:
    with pytest.raises(CassetteError, match=r"There is no cassette '.*a\.farm\.jsonl' to replay"):
        await tape(tmp_path / "a.farm.jsonl", "replay").value(ask("health"), nobody_makes, bool)


async def test_where_the_notebook_is_not_known_the_cassette_is_asked_for() -> None:
    from farm_notebook.cassettes import Tape
    from farm_notebook.cassettes.scrub import Scrub
    from farm_notebook.config import CassetteConfig

    deck = Tape(CassetteConfig(mode="replay"), Models(), scrub=Scrub())
    with pytest.raises(CassetteError, match=r"record NAME\.farm\.jsonl`, or the variable FARM_CASSETTE_FILE"):
        await deck.value(ask("health"), nobody_makes, bool)
    beside = Tape(
        CassetteConfig(mode="off"), Models(), scrub=Scrub(), notebook=lambda: Path("/x/story.ipynb")
    )
    assert beside.path == Path("/x/story.farm.jsonl")


# Takes


async def test_the_same_call_is_given_its_answers_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    made = tape(path, "record")
    for text in ("one", "two", "three"):
        await heard(made.handler(saying(answer(text))), request())
    assert await texts(path, "replay", *["Hi"] * 3) == ["one", "two", "three"]
    assert await texts(path, "replay", *["Hi"] * 5) == ["one", "two", "three", "three", "three"]


async def test_answers_are_in_the_order_of_their_questions_not_of_their_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    goes_on = asyncio.Event()

    async def slow(request: ChatRequest) -> AsyncGenerator[Event, None]:
        yield Started(REF)
        await goes_on.wait()
        yield TextDelta("first")
        yield Finished("stop")

    made = tape(path, "record")
    first = asyncio.create_task(heard(made.handler(slow), request()))
    await asyncio.sleep(0.05)
    await heard(made.handler(saying(answer("second"))), request())
    goes_on.set()
    await first
    assert await texts(path, "replay", "Hi", "Hi") == ["first", "second"]


async def test_recording_again_replaces_answers_to_the_same_and_leaves_others(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.farm.jsonl"
    made = tape(path, "record")
    for text in ("old", "older"):
        await heard(made.handler(saying(answer(text))), request())
    await heard(made.handler(saying(answer("other"))), request("Ho"))
    await heard(tape(path, "record").handler(saying(answer("new"))), request())
    assert await texts(path, "replay", "Hi", "Hi", "Ho") == ["new", "new", "other"]


async def test_a_whole_answer_takes_the_place_of_one_that_was_stopped_before(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    made = tape(path, "record")
    await heard(made.handler(saying(answer("stopped"))), request(), leave_after=2)
    await heard(made.handler(saying(answer("whole"))), request())
    assert await texts(path, "replay", "Hi") == ["whole"]
    assert len(CassetteFile(path).read().lines) == 1


async def test_who_looks_again_and_again_is_recorded_once_an_outcome(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    seen = [1, 1, 1, 2, 2, 1]
    made = tape(path, "record")
    for value in seen:

        async def make(value: int = value) -> int:
            return value

        await made.value(ask("loaded"), make, int)
    assert [line.times for line in CassetteFile(path).read().lines] == [3, 2, 1]
    deck = tape(path, "replay")
    assert deck.cassette is not None
    again = []
    for unasked in (3, 2, 2, 2, 1, 1):
        await deck.cassette.open()
        assert len(deck.cassette.unasked()) == unasked
        again.append(await deck.value(ask("loaded"), nobody_makes, int))
    assert again == seen
    assert deck.cassette.unasked() == ()
    assert await deck.value(ask("loaded"), nobody_makes, int) == 1


async def test_how_long_a_call_took_is_the_same_when_it_is_replayed(tmp_path: Path) -> None:
    async def make() -> AsyncGenerator[LoadProgress, None]:
        yield LoadProgress("load", 1, 3)

    path = tmp_path / "a.farm.jsonl"
    took = []
    for mode in ("off", "record", "replay"):
        deck = tape(path, mode)
        [step async for step in deck.stream(ask("load", model=REF), make)]
        took.append(deck.took_s("load", 99.0))
    assert took[0] == 99.0
    assert took[1] == took[2] < 1


# auto


async def test_auto_replays_what_is_there_and_records_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    await recorded(path, "Hi")
    assert await texts(path, "auto", "Hi") == ["HI"]
    deck = tape(path, "auto")
    await heard(deck.handler(saying(answer("new"))), request("Ho"))
    assert await texts(path, "replay", "Hi", "Ho") == ["HI", "new"]


async def test_auto_records_as_many_answers_as_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    deck = tape(path, "auto")
    for text in ("one", "two"):
        await heard(deck.handler(saying(answer(text))), request())
    deck = tape(path, "auto")
    for text in ("-", "-", "three"):
        await heard(deck.handler(saying(answer(text))), request())
    assert await texts(path, "replay", *["Hi"] * 3) == ["one", "two", "three"]


async def test_auto_asks_again_where_the_recorded_answer_was_stopped(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    made = tape(path, "record")
    await heard(made.handler(saying(answer("stopped"))), request(), leave_after=2)
    await asyncio.sleep(0)
    assert made.cassette is not None
    await made.cassette.save()
    await heard(tape(path, "auto").handler(saying(answer("whole"))), request())
    assert await texts(path, "replay", "Hi") == ["whole"]
    assert len(CassetteFile(path).read().lines) == 1


async def test_auto_asks_again_where_the_model_is_another_one_by_now(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    await heard(tape(path, "record", Models(near="old")).handler(saying(answer("old"))), request())
    assert await texts(path, "auto", "Hi", models=Models(near="old")) == ["old"]
    assert await texts(path, "auto", "Hi", models=Models()) == ["old"]  # it cannot be told here
    deck = tape(path, "auto", Models(near="new"))
    await heard(deck.handler(saying(answer("new"))), request())
    assert await deck.digest(REF) == "new"
    assert await texts(path, "replay", "Hi") == ["new"]


# What is told of models


async def test_the_digest_is_that_of_the_model_whose_answer_was_replayed(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    models = Models(near="old")
    made = tape(path, "record", models)
    await heard(made.handler(saying(answer("1"))), request("1"))
    models.digests["near"] = "new"
    await heard(made.handler(saying(answer("2"))), request("2"))
    deck = tape(path, "replay")
    with pytest.raises(NotRecordedError, match="No answer of near:m:1 was replayed"):
        await deck.digest(REF)
    for prompt, digest in (("1", "old"), ("2", "new")):
        await heard(deck.handler(nobody), request(prompt))
        assert await deck.digest(REF) == digest


async def test_whether_a_model_ran_here_is_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    await recorded(path, "Hi")
    deck = tape(path, "replay")
    assert not deck.runs_here(REF)
    await heard(deck.handler(nobody), request())
    assert deck.runs_here(REF)
    assert not deck.runs_here(ModelRef("far", "m"))


# Time


async def test_in_real_time_events_come_when_they_came(tmp_path: Path) -> None:
    from farm_notebook.cassettes import Tape
    from farm_notebook.cassettes.scrub import Scrub

    path = tmp_path / "a.farm.jsonl"
    await heard(tape(path, "record").handler(saying(ANSWER)), request())
    (line,) = CassetteFile(path).read().lines
    waits: list[float] = []

    async def sleep(delay_s: float) -> None:
        waits.append(delay_s)

    deck = tape(path, "replay", realtime=True)
    slow = Tape(deck.settings, Models(), scrub=Scrub(), sleep=sleep)
    assert await heard(slow.handler(nobody), request()) == (ANSWER, None)
    times = [at_ms for at_ms, _ in read_events(line.events or [])]
    assert times == sorted(times)
    assert times[-1] > 0
    assert sum(waits) * 1000 == pytest.approx(line.took_ms)


# What was never asked


async def test_what_nobody_asked_for_is_known_and_can_be_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    await recorded(path, "Hi", "Ho", "Hi")
    deck = tape(path, "replay")
    await heard(deck.handler(nobody), request("Hi"))
    assert deck.cassette is not None
    unasked = [(line.ask["messages"][0]["content"], line.take) for line in deck.cassette.unasked()]
    assert sorted(unasked) == [("Hi", 2), ("Ho", 1)]
    assert await deck.cassette.drop_unasked() == 2
    assert await texts(path, "replay", "Hi") == ["HI"]
    assert len(CassetteFile(path).read().lines) == 1


async def test_recording_what_was_not_recorded_anew_counts_as_never_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    await recorded(path, "Hi", "Ho")
    deck = tape(path, "record")
    await heard(deck.handler(saying(ANSWER)), request("Hi"))
    assert deck.cassette is not None
    assert [line.ask["messages"][0]["content"] for line in deck.cassette.unasked()] == ["Ho"]


async def test_other_programs_are_told_what_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    await recorded(path, "Hi", "Hi", "Ho")
    await texts(path, "replay", "Hi", "Hi", asked_file=tmp_path / "asked")
    lines = CassetteFile(path).read().lines
    asked = [f"{line.id} {line.take}" for line in lines if line.ask["messages"][0]["content"] == "Hi"]
    assert (tmp_path / "asked").read_text().split("\n") == [*asked, ""]


# The file


async def test_a_file_that_changes_is_replayed_as_it_is_now(tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    await recorded(path, "Hi")
    deck = tape(path, "replay")
    await heard(deck.handler(nobody), request("Hi"))
    other = tmp_path / "b.farm.jsonl"
    await recorded(other, "Hi", "Ho")
    path.write_bytes(other.read_bytes())
    got, error = await heard(deck.handler(nobody), request("Ho"))
    assert (got, error) == (answer("HO"), None)


async def test_images_lie_beside_it_named_by_what_they_hold(tmp_path: Path) -> None:
    from farm_notebook.types import ChatMessage

    picture = Image(b"not really a png", "image/png")
    asked = ChatRequest(REF, (ChatMessage("user", "What is this?", (picture,)),))
    path = tmp_path / "a.farm.jsonl"
    await heard(tape(path, "record").handler(saying(ANSWER)), asked)
    (found,) = (tmp_path / "a.farm.images").iterdir()
    assert (found.name, found.read_bytes()) == (f"{picture.digest}.png", picture.data)
    assert picture.digest in path.read_text()
    assert await heard(tape(path, "replay").handler(nobody), asked) == (ANSWER, None)
    other = ChatRequest(REF, (ChatMessage("user", "What is this?", (Image(b"other", "image/png"),)),))
    _, error = await heard(tape(path, "replay").handler(nobody), other)
    assert "messages[0].images" in str(error)


async def test_that_nothing_can_be_written_is_told_before_anyone_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "a.farm.jsonl"
    _, error = await heard(tape(path, "record").handler(nobody), request())
    assert "cannot be written" in str(error)


async def test_switched_off_a_handler_is_itself(tmp_path: Path) -> None:
    handler = saying(ANSWER)
    assert tape(tmp_path / "a.farm.jsonl", "off").handler(handler) is handler


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_program_that_replays_may_have_the_error_say_how_it_records(
    tmp_path: Path, is_there: bool
) -> None:
    path = tmp_path / "story.farm.jsonl"
    if is_there:
        await recorded(path, "Hello")
    deck = tape(path, "replay", record_command="farm run story.ipynb --record")
    _, error = await heard(deck.handler(nobody), request("Goodbye"))
    assert "`farm run story.ipynb --record`" in str(error)
    assert "%farm" not in str(error)
