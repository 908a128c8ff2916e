"""``%farm embed`` and ``%farm similar`` in a plain IPython shell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
from shells import Shell, loaded_shell, plain_shell

from farm_notebook.cassettes import CassetteFile
from farm_notebook.errors import AuthenticationError, InvalidRequestError
from farm_notebook.farm import Farm
from farm_notebook.notebook.embedding import BATCH
from farm_notebook.notebook.tables import Table
from farm_notebook.types import Embeddings

pytestmark = pytest.mark.slow  # a shell each

DOCS = ["cats purr", "dogs bark", "stocks fell"]


@pytest.fixture
def shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Shell]:
    monkeypatch.setenv("FARM_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("FARM_CACHE__ENABLED", "1")
    for shell in plain_shell(monkeypatch, capsys):
        loaded = loaded_shell(shell)
        loaded.ip.user_ns["docs"] = list(DOCS)
        loaded.ip.user_ns["df"] = pd.DataFrame(
            {"text": [*DOCS, None], "stars": [1, 2, 3, 4]}, index=list("abcd")
        )
        yield loaded


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str | None]]:
    """How many texts each call of the farm had, and which model it named."""
    calls: list[tuple[int, str | None]] = []
    embed = Farm.embed

    def counted(self: Farm, texts: Any, *, model: str | None = None) -> Embeddings:
        calls.append((len(texts), model))
        return embed(self, texts, model=model)

    monkeypatch.setattr(Farm, "embed", counted)
    return calls


def test_the_texts_of_a_list_are_vectors_as_the_cells_value(shell: Shell) -> None:
    result, out = shell.run("%farm embed docs --out vectors")
    assert isinstance(result.result, Embeddings)
    assert out.splitlines()[0].startswith("3 texts of docs: vectors of ")
    assert "by scripted:echo (6 tokens, " in out
    assert shell.ip.user_ns["vectors"] is result.result
    assert np.asarray(result.result).shape[0] == 3


def test_replayed_vectors_took_as_long_as_when_they_were_recorded(shell: Shell, tmp_path: Path) -> None:
    cassette = tmp_path / "story.farm.jsonl"
    shell.ip.user_ns["many"] = [f"text {number}" for number in range(BATCH + 1)]  # in two calls
    for line in (f"%farm record {cassette}", "%farm embed many"):
        shell.run(line)[0].raise_error()
    CassetteFile(cassette).change(lambda lines: [replace(line, took_ms=61_000) for line in lines])
    shell.run(f"%farm replay {cassette}")
    _, out = shell.run("%farm embed many")
    assert out.splitlines()[0].endswith("by scripted:echo (130 tokens, 122.0 s).")


def test_equal_texts_are_asked_for_once_and_many_a_batch_at_a_time(
    shell: Shell, asked: list[tuple[int, str | None]]
) -> None:
    shell.ip.user_ns["many"] = [f"text {number}" for number in range(BATCH + 3)] * 2
    result, _ = shell.run("%farm embed many")
    assert asked == [(BATCH, None), (3, "scripted:echo")]
    assert len(result.result) == 2 * (BATCH + 3)
    assert result.result.vectors[0] == result.result.vectors[BATCH + 3]


def test_an_empty_text_has_no_vector_and_is_told_by_its_name(shell: Shell) -> None:
    error, _ = shell.error("%farm embed df --column text")
    assert isinstance(error, InvalidRequestError)
    assert str(error).startswith("1 of the texts of df is empty, at 'd'.")


def test_the_nearest_texts_are_a_table_best_first(shell: Shell) -> None:
    result, out = shell.run('%farm similar "cats purr" --in docs -k 2 --out best')
    table = result.result
    assert isinstance(table, Table)
    assert table.columns == ("score", "index", "text")
    assert table.rows[0] == ("1.000", "0", "cats purr")
    assert len(table) == 2
    assert table[0].text == "cats purr"
    assert shell.ip.user_ns["best"] is table
    assert "Of 3 texts, by scripted:echo." in out


def test_a_question_needs_no_quotes_and_may_end_with_a_question_mark(shell: Shell) -> None:
    shell.ip.user_ns["what"] = "cats"
    for line in ("{what} purr --in docs", "--in docs {what} purr"):
        result, _ = shell.run(f"%farm similar {line}")
        assert result.result[0].text == "cats purr"
    result, _ = shell.run("%farm similar --in docs who barks?")
    assert len(result.result) == 3


def test_of_a_data_frame_rows_are_found_with_all_their_columns(shell: Shell) -> None:
    result, _ = shell.run('%farm similar "dogs bark" --in df --column text -k 2')
    found = result.result
    assert list(found.columns) == ["score", "text", "stars"]
    assert (found.index[0], found["stars"].iloc[0], round(found["score"].iloc[0], 6)) == ("b", 2, 1.0)
    assert "score" not in shell.ip.user_ns["df"].columns, "the frame itself is left alone"
    shell.ip.user_ns["again"] = found
    result, _ = shell.run('%farm similar "dogs bark" --in again --column text')
    assert list(result.result.columns) == ["_score", "score", "text", "stars"]


def test_what_is_empty_is_left_out_and_told(shell: Shell) -> None:
    shell.ip.user_ns["docs"] += [None, ""]
    _, out = shell.run("%farm similar cats --in docs")
    assert "Of 3 texts, by scripted:echo; 2 more are empty, and left out." in out
    shell.ip.user_ns["docs"].pop()
    _, out = shell.run("%farm similar cats --in docs")
    assert "Of 3 texts, by scripted:echo; 1 more is empty, and left out." in out


def test_the_lines_of_a_file_are_searched(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("\n".join(DOCS))
    result, _ = shell.run(f'%farm similar "dogs bark" --in {tmp_path}/lines.txt')
    assert (result.result[0].index, result.result[0].text) == (1, "dogs bark")


def test_a_long_text_is_cut_in_the_table_alone(shell: Shell) -> None:
    shell.ip.user_ns["long"] = ["x" * 1000]
    result, _ = shell.run("%farm similar x --in long")
    assert result.result.rows[0][2] == "x" * 300 + "…"
    assert len(result.result[0].text) == 1000


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("similar cats --in nothing", "'nothing' is neither a variable nor a file"),
        ("similar cats --in docs -k 0", "k=0 is out of range"),
        ("similar cats", "--in"),
        ("similar --in docs", "QUESTION"),
        ('similar "" --in docs', "The question is empty"),
        ("similar cats --in docs --out 2x", "--out '2x' is not a name"),
        ("embed docs --out 2x", "--out '2x' is not a name"),
        ("embed docs --column text", "docs is no data frame"),
    ],
)
def test_a_wrong_line_asks_no_model(
    shell: Shell, asked: list[tuple[int, str | None]], line: str, words: str
) -> None:
    error, _ = shell.error(f"%farm {line}")
    assert isinstance(error, InvalidRequestError)
    assert words in str(error)
    assert asked == []


def test_the_model_is_that_of_the_line_else_the_default_for_embeddings(
    shell: Shell, asked: list[tuple[int, str | None]]
) -> None:
    shell.run("%config FarmMagics.embedding_model = 'scripted:count-2'")
    assert "by scripted:count-2 (" in shell.run("%farm embed docs")[1]
    assert "by scripted:echo (" in shell.run("%farm embed docs -m scripted:echo")[1]
    assert [model for _, model in asked] == ["scripted:count-2", "scripted:echo"]


def test_where_the_default_does_not_embed_it_is_told_how_to_name_one(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Farm, texts: Any, *, model: str | None = None) -> Embeddings:
        raise AuthenticationError("openai:gpt-4o does not embed.", provider="openai")

    monkeypatch.setattr(Farm, "embed", refused)
    error, _ = shell.error("%farm embed docs")
    assert str(error).startswith("openai:gpt-4o does not embed. `-m NAME` names a model that embeds")
    error, _ = shell.error("%farm embed docs -m openai:gpt-4o")
    assert "-m NAME" not in str(error), "one was named"


@pytest.mark.parametrize(
    ("batches", "words"), [(0, "You stopped it."), (1, f"after {BATCH} texts; the vectors")]
)
def test_what_was_done_before_an_interrupt_is_kept_and_told(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, batches: int, words: str
) -> None:
    embed, calls = Farm.embed, list[int]()

    def interrupted(self: Farm, texts: Any, *, model: str | None = None) -> Embeddings:
        if len(calls) == batches:
            raise KeyboardInterrupt
        calls.append(len(texts))
        return embed(self, texts, model=model)

    monkeypatch.setattr(Farm, "embed", interrupted)
    shell.ip.user_ns["many"] = [f"text {number}" for number in range(3 * BATCH)]
    error, out = shell.error("%farm embed many")
    assert isinstance(error, KeyboardInterrupt)
    assert words in str(error)
    assert "Traceback" not in out
