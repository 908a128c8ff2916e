"""What a panel asks by itself leaves no trace in a cassette, and takes nothing from the cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from streams import REF, heard, request, saying, tape

from farm_notebook.cassettes import Cassette, Tape, ask, glancing
from farm_notebook.cassettes.checking import read_asked
from farm_notebook.errors import CassetteError, NotRecordedError
from farm_notebook.farm import Farm
from farm_notebook.types import Finished, Started, TextDelta

ASKED = ask("health")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "story.farm.jsonl"


class Provider:
    """Says another number each time."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self) -> int:
        self.asked += 1
        return self.asked


def cassette(deck: Tape) -> Cassette:
    assert deck.cassette is not None
    return deck.cassette


async def nobody() -> int:
    raise AssertionError("somebody was asked")


async def glance(deck: Tape, make: Any = nobody) -> int:
    with glancing():
        found: int = await deck.value(ASKED, make, int)
    return found


async def test_recording_a_glance_asks_and_is_not_recorded(path: Path) -> None:
    deck, provider = tape(path, "record"), Provider()
    assert [await glance(deck, provider), await deck.value(ASKED, provider, int)] == [1, 2]
    assert await glance(deck, provider) == 3
    assert [line.value for line in cassette(deck).file.read().lines] == [2]


async def test_a_stream_that_is_a_glance_is_not_recorded(path: Path) -> None:
    deck = tape(path, "record")
    handler = deck.handler(saying([Started(REF), TextDelta("a"), Finished("stop")]))
    with glancing():
        events, _ = await heard(handler, request())
    assert len(events) == 3
    assert not cassette(deck).file.read().lines


async def test_replayed_it_is_what_a_cell_was_told_last_and_takes_nothing_from_the_next(path: Path) -> None:
    deck, provider = tape(path, "record"), Provider()
    assert [await deck.value(ASKED, provider, int) for _ in range(3)] == [1, 2, 3]
    deck = tape(path, "replay", asked_file=path.with_name("asked"))
    told = [await glance(deck)]
    for _ in range(3):
        told += [await deck.value(ASKED, nobody, int), await glance(deck), await glance(deck)]
    assert told == [1, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert cassette(deck).unasked() == ()


async def test_a_glance_does_not_count_as_asked(path: Path) -> None:
    await tape(path, "record").value(ASKED, Provider(), int)
    deck = tape(path, "replay", asked_file=path.with_name("asked"))
    await glance(deck)
    assert not path.with_name("asked").exists()
    assert len(cassette(deck).unasked()) == 1
    await deck.value(ASKED, nobody, int)
    assert len(read_asked(path.with_name("asked"))) == 1


async def test_what_is_not_recorded_is_asked_of_nobody(path: Path) -> None:
    await tape(path, "record").value(ask("loaded"), Provider(), int)
    with pytest.raises(NotRecordedError, match="No call of the kind 'health'"):
        await glance(tape(path, "replay"))


async def test_without_a_cassette_there_is_nothing_to_replay_either(path: Path) -> None:
    with pytest.raises(CassetteError, match="There is no cassette"):
        await glance(tape(path, "replay"))


async def test_where_missing_calls_are_recorded_a_missing_glance_is_only_made(path: Path) -> None:
    deck, provider = tape(path, "auto"), Provider()
    assert await glance(deck, provider) == 1
    assert await deck.value(ASKED, provider, int) == 2
    assert [line.value for line in cassette(deck).file.read().lines] == [2]


def test_it_holds_through_the_farm_and_its_threads(path: Path) -> None:
    farm = Farm(model="scripted:count-2")
    farm.use_cassette("record", path)
    with glancing():
        farm.health()
        farm.list_models()
    farm.route()
    assert len(path.read_text().splitlines()) == 1
