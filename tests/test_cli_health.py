"""``farm health`` and ``farm route``: for people and for programs, and which exit code tells what."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import pytest

from farm_notebook.cli import main
from farm_notebook.farm import Farm
from farm_notebook.router import RouteDecision
from farm_notebook.types import ModelRef, ProviderStatus

WELL = ProviderStatus("one", True, "3 models")
ILL = ProviderStatus("two", False, "connection refused\n\x1b[2J at http://far:1", "start it: `two serve`")
DECISION = RouteDecision(
    "fast",
    ModelRef("one", "small"),
    alternates=(ModelRef("two", "large"),),
    deployments={ModelRef("one", "small"): 0.75, ModelRef("three", "small"): 0.25},
    parameters={"temperature": 0.2},
    reasons=("the alias 'fast' names it",),
    skipped={ModelRef("four", "x"): "it is switched off"},
)


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the farm was asked for. Stand-ins answer: what they find out is tested where it is found out."""
    made: list[Any] = []

    def health(_: Farm, *, refresh: bool = False) -> list[ProviderStatus]:
        made.append(refresh)
        return [WELL, ILL]

    def route(_: Farm, name: str | None = None) -> RouteDecision:
        made.append(name)
        return DECISION

    monkeypatch.setattr(Farm, "health", health)
    monkeypatch.setattr(Farm, "route", route)
    monkeypatch.setenv("FARM_ALIASES", '{"fast": "scripted:echo"}')
    return made


def farm(capsys: pytest.CaptureFixture[str], *arguments: str) -> Outcome:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return Outcome(int(ended.value.code or 0), *capsys.readouterr())


def test_each_provider_is_a_line(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = farm(capsys, "health")
    assert (code, err, asked) == (0, "", [False])
    lines = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()]
    assert lines == [
        ["provider", "state", "detail", "fix"],
        ["one", "well", "3 models"],
        [
            "two",
            "not well",
            "connection refused \N{REPLACEMENT CHARACTER}[2J at http://far:1",
            "start it: `two serve`",
        ],
    ]


def test_the_health_is_json_for_programs(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = farm(capsys, "health", "--json", "--refresh")
    assert (code, asked) == (0, [True])
    assert json.loads(out) == [
        {"name": "one", "healthy": True, "detail": "3 models", "fix": None},
        {"name": "two", "healthy": False, "detail": ILL.detail, "fix": ILL.fix},
    ]


def test_that_none_can_answer_is_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Farm, "health", lambda _, refresh: [ILL])
    assert farm(capsys, "health").code == 1
    assert farm(capsys, "health", "--json").code == 1


def test_the_way_of_a_name_is_explained(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert farm(capsys, "route", "fast") == (0, f"{DECISION}\n", "")
    assert farm(capsys, "route").code == 0
    assert asked == ["fast", None]


def test_a_name_that_is_probably_no_models_is_warned_of(
    asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = farm(capsys, "route", "fsat", "--json")
    assert code == 0
    assert json.loads(out)
    assert err.startswith("warning: ")
    assert "Did you mean the alias 'fast'?" in err


def test_the_way_is_json_for_programs(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = farm(capsys, "route", "fast", "--json")
    assert (code, json.loads(out)) == (
        0,
        {
            "name": "fast",
            "model": "one:small",
            "reasons": ["the alias 'fast' names it"],
            "alternates": ["two:large"],
            "deployments": {"one:small": 0.75, "three:small": 0.25},
            "parameters": {"temperature": 0.2},
            "skipped": {"four:x": "it is switched off"},
        },
    )
