"""``farm cassette``: what is wrong with a file, what tells two apart, what is taken out or asked again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from farm_notebook.cassettes import CassetteFile
from farm_notebook.cassettes.requests import request_of
from farm_notebook.cli import main
from farm_notebook.errors import CassetteError
from farm_notebook.farm import Farm
from farm_notebook.types import Image


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``farm cassette`` in an empty folder."""
    for name in list(os.environ):
        if name.upper().startswith("FARM_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FARM_CACHE__ENABLED", "false")
    monkeypatch.setenv("FARM_HISTORY__ENABLED", "false")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["farm", "cassette", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return Outcome(code if isinstance(code, int) else 0, *capsys.readouterr())

    return run


def record(path: Path, *prompts: str, model: str = "scripted:echo", **options: object) -> Path:
    made = Farm(model=model)
    made.use_cassette("record", path)
    for prompt in prompts:
        made.chat(prompt, **options)  # type: ignore[arg-type]
    return path


def test_a_whole_file_is_told_in_one_line(farm: Run, tmp_path: Path) -> None:
    record(tmp_path / "a.farm.jsonl", "one", "two")
    assert farm("check", "a.farm.jsonl") == (0, "a.farm.jsonl: 2 calls (2 chat)\n", "")
    assert farm("check", "a.ipynb").out == "a.farm.jsonl: 2 calls (2 chat)\n"


def test_what_is_wrong_with_a_file_is_told_and_put_right(farm: Run, tmp_path: Path) -> None:
    path = record(tmp_path / "a.farm.jsonl", "one", "two")
    one, two = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(two + one + one + two[:-30])
    outcome = farm("check", str(path))
    assert outcome.code == 1
    assert outcome.out.splitlines() == [
        "a.farm.jsonl: 2 calls (2 chat)",
        "  The last line, 4, is torn off and was passed over.",
        "  1 of its lines stands there twice.",
    ]
    assert farm("check", str(path), "--fix").code == 0
    assert path.read_bytes() == one + two
    path.write_bytes(two + one)
    assert "another order" in farm("check", str(path)).out
    path.write_bytes(one + two.replace(b'"0/3"', b'"0/4"'))
    assert "its pieces have 4 characters, and it has 3" in farm("check", str(path)).out


def test_a_file_with_a_conflict_is_an_error_that_says_what_to_do(farm: Run, tmp_path: Path) -> None:
    (tmp_path / "a.farm.jsonl").write_text("<<<<<<< HEAD\n")
    outcome = farm("check", "a.farm.jsonl")
    assert outcome.code == 1
    assert "merge=union" in outcome.err
    assert farm("check", "b.farm.jsonl").err.startswith("error: There is no cassette")


def test_in_a_repository_it_says_how_files_are_merged(farm: Run, tmp_path: Path) -> None:
    record(tmp_path / "a.farm.jsonl", "one")
    subprocess.run(["git", "init", "-q", "."], check=True)
    assert "'*.farm.jsonl merge=union'" in farm("check", "a.farm.jsonl").err
    (tmp_path / ".gitattributes").write_text("*.farm.jsonl merge=union\n")
    assert farm("check", "a.farm.jsonl").err == ""


def test_two_files_are_told_apart_by_their_calls_and_answers(farm: Run, tmp_path: Path) -> None:
    record(tmp_path / "a.farm.jsonl", "one", "two", "three")
    shutil.copy("a.farm.jsonl", "b.farm.jsonl")
    assert farm("diff", "a.farm.jsonl", "b.farm.jsonl") == (0, "", "")
    record(tmp_path / "b.farm.jsonl", "two")  # at another time
    assert farm("diff", "a.farm.jsonl", "b.farm.jsonl") == (0, "", "")
    record(tmp_path / "b.farm.jsonl", "four")
    lines = CassetteFile(tmp_path / "b.farm.jsonl").read().lines
    kept = [line.text for line in lines if "one" not in line.text]
    text = "\n".join(kept).replace('"text", "three"', '"text", "thrEE"') + "\n"
    (tmp_path / "b.farm.jsonl").write_text(text)
    outcome = farm("diff", "a.farm.jsonl", "b.farm.jsonl")
    assert outcome.code == 1
    assert sorted(outcome.out.splitlines()) == [
        "+ chat scripted:echo 'four'",
        "- chat scripted:echo 'one'",
        "~ chat scripted:echo 'three': its text changed (60% alike; 5 characters before, 5 now)",
    ]


def test_what_was_never_asked_for_is_taken_out(farm: Run, tmp_path: Path) -> None:
    path = record(tmp_path / "a.farm.jsonl", "one", "two", images=[Image(b"\x89PNG", "image/png")])
    record(path, "three")
    asked = tmp_path / "asked"
    made = Farm(model="scripted:echo", cassette={"mode": "replay", "file": path, "asked_file": asked})
    made.chat("three")
    outcome = farm("check", "a.farm.jsonl", "--asked", "asked")
    assert outcome.code == 1
    assert sorted(outcome.out.splitlines()[1:]) == [
        "  Never asked for: chat scripted:echo 'one'",
        "  Never asked for: chat scripted:echo 'two'",
    ]
    assert farm("prune", "a.farm.jsonl").out == "a.farm.jsonl: 0 images taken out, 3 calls (3 chat) left\n"
    assert farm("prune", "a.farm.jsonl", "--asked", "asked").out == (
        "a.farm.jsonl: 2 calls and 1 images taken out, 1 call (1 chat) left\n"
    )
    assert list((tmp_path / "a.farm.images").iterdir()) == []
    assert farm("check", "a.farm.jsonl", "--asked", "asked").code == 0


SECRETS = [
    "sk-proj-0123456789abcdefghij",
    "ghp_0123456789abcdefghij0123456789abcdef",
    "AKIAIOSFODNN7EXAMPLE",
    "https://user:hunter22@example.org",
    "Authorization: Bearer abcdefgh12345678",
    'api_key = "abc123def456ghi789"',
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc",
    "-----BEGIN RSA PRIVATE KEY-----\\nMIIB\\n-----END RSA PRIVATE KEY-----",
    "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_what_may_be_a_key_is_found_in_any_file_and_not_shown(farm: Run, tmp_path: Path, secret: str) -> None:
    record(tmp_path / "a.farm.jsonl", "one", "two")
    assert farm("scan") == (0, "", "")
    text = (tmp_path / "a.farm.jsonl").read_text().replace('"one"', json.dumps(f"It is {secret}"), 1)
    (tmp_path / "a.farm.jsonl").write_text(text)
    notebook = {"cells": [{"source": ["x"]}, {"source": ["k = '", secret, "'"], "outputs": []}]}
    (tmp_path / "b.ipynb").write_text(json.dumps(notebook))
    found = farm("scan", "a.farm.jsonl", "b.ipynb")
    assert found.code == 1
    assert any(line.startswith("a.farm.jsonl, line ") for line in found.out.splitlines())
    assert any(line.startswith("b.ipynb, cell 2: ") for line in found.out.splitlines())
    assert "***" in found.out
    assert secret not in found.out
    assert "It may hold secrets" in farm("check", "a.farm.jsonl").out


def test_a_key_that_is_in_use_here_is_found_whatever_it_looks_like(
    farm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("the word is xyzzy-and-more\n")
    assert farm("scan", "notes.txt").code == 0
    monkeypatch.setenv("SOME_TOKEN", "xyzzy-and-more")
    found = farm("scan", "notes.txt")
    assert found.out == "notes.txt, line 1: a key that is in use here: the word is ***\n"


def test_digests_vectors_and_pictures_are_no_keys(farm: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.farm.jsonl"
    made = Farm(model="scripted:echo")
    made.use_cassette("record", path)
    made.embed([f"text {number}" for number in range(50)])
    made.chat("What is it?", images=[Image(bytes(range(256)), "image/png")])
    made.list_models()
    (tmp_path / "b.ipynb").write_text(
        json.dumps({"cells": [{"outputs": [{"data": {"image/png": "aB3" * 50}}]}]})
    )
    assert farm("scan", "a.farm.jsonl", "b.ipynb") == (0, "", "")


def test_what_is_recorded_is_asked_again_and_what_changed_is_told(farm: Run, tmp_path: Path) -> None:
    path = record(tmp_path / "a.farm.jsonl", "one", "two", temperature=0.5)
    made = Farm(model="scripted:sample-4")
    made.use_cassette("auto", path)
    for _ in range(2):
        made.chat("Hi", seed=3, images=[Image(b"\x89PNG", "image/png")])
    made.embed(["a"])
    made.health()
    text = path.read_text().replace('"text", "one"', '"text", "0ne"')
    path.write_text(text)
    outcome = farm("refresh", "a.farm.jsonl")
    assert outcome.code == 1
    assert outcome.out.splitlines() == [
        "~ chat scripted:echo 'one': its text changed (67% alike; 3 characters before, 3 now)",
        "5 asked again, 1 changed, 1 left as they were",
    ]
    assert len(CassetteFile(path).read().lines) == 6
    assert farm("refresh", "a.farm.jsonl", "--only", "two", "--only", "Hi").out == (
        "3 asked again, 0 changed, 3 left as they were\n"
    )


def test_a_request_out_of_which_a_secret_was_taken_is_left(farm: Run, tmp_path: Path) -> None:
    path = record(tmp_path / "a.farm.jsonl", "My key is sk-proj-0123456789abcdefghij")
    before = path.read_bytes()
    outcome = farm("refresh", "a.farm.jsonl")
    assert "A secret was taken out of chat scripted:echo 'My key is ***'" in outcome.err
    assert path.read_bytes() == before


def test_a_request_is_made_of_what_was_asked(tmp_path: Path) -> None:
    from hypothesis import given
    from hypothesis import strategies as st
    from streams import text

    from farm_notebook.cassettes.asks import ask_of_request
    from farm_notebook.types import ChatMessage, ChatRequest, ModelRef, Tool, ToolCall

    calls = st.lists(st.builds(ToolCall, text, text, text), max_size=2).map(tuple)
    messages = st.builds(
        ChatMessage,
        st.sampled_from(["user", "assistant"]),
        text,
        tool_calls=calls,
        tool_call_id=st.none() | text,
    )
    clean = text.filter(lambda each: "***" not in each)
    requests = st.builds(
        ChatRequest,
        st.builds(ModelRef, st.just("near"), clean),
        st.lists(messages, min_size=1, max_size=3).map(tuple),
        kind=st.sampled_from(["chat", "completion"]),
        temperature=st.none() | st.floats(0, 2),
        seed=st.none() | st.integers(0, 9),
        stop=st.lists(clean, max_size=2).map(tuple),
        schema=st.none() | st.just({}) | st.just({"type": "object"}),
        tools=st.lists(st.builds(Tool, clean, clean, st.just({"type": "object"})), max_size=2).map(tuple),
        extra=st.dictionaries(clean, st.integers()),
        sample=st.none() | st.integers(0, 3),
    )

    @given(requests)
    def is_the_same(request: ChatRequest) -> None:
        asked = json.loads(json.dumps(ask_of_request(request)))
        assert request_of(asked, tmp_path) == request

    is_the_same()


def test_a_request_whose_image_is_gone_is_an_error(tmp_path: Path) -> None:
    asked = {
        "call": "chat",
        "model": "near:m",
        "messages": [{"role": "user", "content": "", "images": ["image/png;sha256=abc"]}],
    }
    with pytest.raises(CassetteError, match="is not in"):
        request_of(asked, tmp_path)
