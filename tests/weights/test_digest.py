"""A file's digest is right, is computed once, and survives a broken memory."""
# ruff: noqa: ASYNC240 - nothing else runs on a test's loop

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from farm_notebook.weights import digest
from farm_notebook.weights.digest import file_digest, hash_stream


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.gguf"
    path.write_bytes(os.urandom(3_000_000))
    return path


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were really read."""
    names: list[str] = []

    def counting(stream: IO[bytes], **options: Callable[[int], None]) -> str:
        names.append(Path(stream.name).name)
        return hash_stream(stream)

    monkeypatch.setattr(digest, "hash_stream", counting)
    return names


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_stream_is_hashed_copied_and_counted_in_one_pass() -> None:
    content, copy, counts = os.urandom(2_500_000), io.BytesIO(), list[int]()
    assert hash_stream(io.BytesIO(content), copy_to=copy, on_bytes=counts.append) == (
        hashlib.sha256(content).hexdigest()
    )
    assert copy.getvalue() == content
    assert sum(counts) == len(content)


async def test_the_second_time_nothing_is_read(weights: Path, tmp_path: Path, hashed: list[str]) -> None:
    cache = tmp_path / "cache"
    first = await file_digest(weights, cache)
    assert first == await file_digest(weights, cache) == sha256(weights)
    assert hashed == ["weights.gguf"]


async def test_a_link_is_known_by_what_it_points_to(weights: Path, tmp_path: Path, hashed: list[str]) -> None:
    link = tmp_path / "link.gguf"
    link.symlink_to(weights)
    assert await file_digest(weights, tmp_path) == await file_digest(link, tmp_path)
    assert hashed == ["weights.gguf"]


async def test_a_file_of_the_same_size_written_later_is_another_file(weights: Path, tmp_path: Path) -> None:
    before = await file_digest(weights, tmp_path)
    mtime_ns = weights.stat().st_mtime_ns
    weights.write_bytes(os.urandom(3_000_000))
    os.utime(weights, ns=(mtime_ns, mtime_ns + 1))
    after = await file_digest(weights, tmp_path)
    assert after == sha256(weights) != before


@pytest.mark.parametrize("corrupt", ["", "{", "[1]", "\x00\xff", '{"PATH": 3}', '{"PATH": {"sha256": 1}}'])
async def test_a_corrupt_memory_is_forgotten_and_replaced(
    weights: Path, tmp_path: Path, corrupt: str, hashed: list[str]
) -> None:
    memory = tmp_path / "digests.json"
    memory.write_text(corrupt.replace("PATH", str(weights)), encoding="latin-1")
    assert await file_digest(weights, tmp_path) == sha256(weights)
    assert await file_digest(weights, tmp_path) == sha256(weights)
    assert len(hashed) == 1
    assert json.loads(memory.read_text())[str(weights)]["sha256"] == sha256(weights)


async def test_an_unwritable_memory_costs_only_the_time(weights: Path, tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.touch()
    assert await file_digest(weights, occupied) == sha256(weights)
    (tmp_path / "cache" / "digests.json").mkdir(parents=True)
    assert await file_digest(weights, tmp_path / "cache") == sha256(weights)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["digests.json"]


async def test_many_at_once_are_all_remembered(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.gguf" for number in range(8)]
    for path in paths:
        path.write_text(path.name)
    assert await asyncio.gather(*(file_digest(path, tmp_path) for path in paths)) == list(map(sha256, paths))
    assert set(json.loads((tmp_path / "digests.json").read_text())) == set(map(str, paths))


async def test_a_deleted_file_is_forgotten(weights: Path, tmp_path: Path) -> None:
    await file_digest(weights, tmp_path)
    weights.unlink()
    other = tmp_path / "other.gguf"
    other.touch()
    await file_digest(other, tmp_path)
    assert list(json.loads((tmp_path / "digests.json").read_text())) == [str(other)]


async def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await file_digest(tmp_path / "none.gguf", tmp_path)


async def test_those_who_ask_at_the_same_time_have_the_file_read_once(
    weights: Path, tmp_path: Path, hashed: list[str]
) -> None:
    digests = await asyncio.gather(*(file_digest(weights, tmp_path / "cache") for _ in range(8)))
    assert set(digests) == {hashlib.sha256(weights.read_bytes()).hexdigest()}
    assert hashed == [weights.name]
