"""A function of the user's that is recorded is not called in a replay, and gives what it gave."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from farm_notebook.errors import CassetteError, InvalidRequestError, LoadError, NotRecordedError
from farm_notebook.farm import Farm


@dataclass(frozen=True)
class Score:
    """What a training came to."""

    loss: float
    words: tuple[str, ...] = ()


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    return tmp_path / "story.farm.jsonl"


def farm(mode: Any, cassette: Path) -> Farm:
    made = Farm(model="scripted:echo")
    made.use_cassette(mode, cassette)
    return made


def nobody() -> int:
    raise AssertionError("it was called")


def trained(farm: Farm, calls: list[str]) -> Any:
    @farm.recorded
    def train(dog: str, *, steps: int = 40) -> Score:
        calls.append(dog)
        return Score(steps / 100, (dog,))

    return train


def test_a_replay_gives_what_was_returned_and_does_not_call(cassette: Path) -> None:
    calls: list[str] = []
    train = trained(farm("record", cassette), calls)
    made = [train("Bramble"), train("Pepper", steps=2), train(dog="Bramble")]
    again = trained(farm("replay", cassette), calls)
    assert [again("Bramble"), again("Pepper", steps=2), again("Bramble", steps=40)] == made
    assert made[0] == Score(0.4, ("Bramble",))
    assert calls == ["Bramble", "Pepper", "Bramble"]


def test_its_takes_are_given_in_their_order(cassette: Path) -> None:
    sizes = iter([3, 1, 2])

    def measured() -> int:
        return next(sizes)

    measure = farm("record", cassette).recorded(measured)
    assert [measure() for _ in range(3)] == [3, 1, 2]
    again = farm("replay", cassette).recorded(measured)
    assert [again() for _ in range(3)] == [3, 1, 2]


def test_what_was_not_recorded_names_the_function_and_what_differs(cassette: Path) -> None:
    trained(farm("record", cassette), [])("Bramble")
    with pytest.raises(NotRecordedError, match=r"(?s)train\b.*recorded \"Bramble\", now \"Rex\""):
        trained(farm("replay", cassette), [])("Rex")


def test_where_nothing_is_recorded_it_is_as_it_was(cassette: Path) -> None:
    given = object()

    def give() -> object:
        return given

    assert Farm(model="scripted:echo").recorded(give)() is given
    assert not cassette.exists()


def test_it_knows_of_a_cassette_that_is_chosen_after_it_was_defined(cassette: Path) -> None:
    calls: list[str] = []
    later = Farm(model="scripted:echo")
    train = trained(later, calls)
    later.use_cassette("record", cassette)
    train("Bramble")
    later.use_cassette("replay", cassette)
    train("Bramble")
    assert calls == ["Bramble"]


def test_what_it_asks_of_models_is_not_recorded_as_well(cassette: Path) -> None:
    recorder = farm("record", cassette)

    @recorder.recorded
    def asked() -> str:
        return recorder.chat("Inside").text

    assert asked() == "Inside"
    recorder.chat("Outside")
    lines = [json.loads(line)["ask"] for line in cassette.read_text().splitlines()]
    assert sorted(line["call"] for line in lines) == ["chat", "function"]
    replayer = farm("replay", cassette)
    replayer.recorded(asked.__wrapped__)()  # type: ignore[attr-defined]
    replayer.chat("Outside")
    replayer.core.tape.check(always=True)


def test_it_runs_in_the_thread_of_its_caller(cassette: Path) -> None:
    def where() -> str:
        return threading.current_thread().name

    assert farm("record", cassette).recorded(where)() == threading.current_thread().name


def test_one_that_is_awaited_is_recorded_too(cassette: Path) -> None:
    def made(mode: str, value: int) -> Any:
        @farm(mode, cassette).recorded
        async def measured() -> int:
            await asyncio.sleep(0)
            return value

        return measured

    assert asyncio.run(made("record", 5)()) == 5
    assert asyncio.run(made("replay", 6)()) == 5


def test_an_error_of_this_package_is_replayed_and_another_one_is_not_recorded(cassette: Path) -> None:
    def made(mode: str, error: Exception) -> Any:
        @farm(mode, cassette).recorded
        def load() -> None:
            raise error

        return load

    with pytest.raises(OSError, match="disk"):
        made("record", OSError("no disk"))()
    with pytest.raises(LoadError, match="half"):
        made("record", LoadError("half of it"))()
    with pytest.raises(LoadError, match="half"):
        made("replay", LoadError("another"))()


@pytest.mark.parametrize(
    ("value", "says"),
    [((1, 2), r"\(1, 2\).*\[1, 2\].*-> tuple"), ({1, 2}, "-> set"), (object(), "cannot be .*JSON")],
)
def test_what_a_replay_could_not_give_is_refused_with_what_to_do(
    cassette: Path, value: object, says: str
) -> None:
    def give() -> Any:
        return value

    with pytest.raises(InvalidRequestError, match=says):
        farm("record", cassette).recorded(give)()


def test_an_argument_that_json_cannot_hold_is_named(cassette: Path) -> None:
    with pytest.raises(InvalidRequestError, match="its argument dog"):
        trained(farm("record", cassette), [])(object())


def test_without_a_cassette_to_replay_it_is_not_called(cassette: Path) -> None:
    replayer = farm("record", cassette)
    cassette.unlink(missing_ok=True)
    replayer.reload(cassette={"mode": "replay", "file": cassette})
    with pytest.raises(CassetteError, match="no cassette"):
        replayer.recorded(nobody)()
