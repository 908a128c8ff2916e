"""A fingerprint is another one when a checkpoint's files are others; there is none while they are written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="the extra huggingface is not installed")

from gguf_files import write_adapter

from farm_notebook.providers.huggingface import fingerprint as module
from farm_notebook.providers.huggingface.fingerprint import fingerprint, is_being_written

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
Change = Callable[[Path], object]


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "checkpoint"))


@pytest.fixture
def adapter(tmp_path: Path, tiny_model: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    shutil.copy(tiny_model / WEIGHTS, folder / "adapter_model.safetensors")
    return folder


def write(file: Path, content: bytes, at: int) -> None:
    with file.open("r+b") as stream:
        stream.seek(at)
        stream.write(content)


def keep_times(change: Change) -> Change:
    """The same, by one who sets the times of all files back."""

    def changed(folder: Path) -> None:
        times = {file: file.stat() for file in folder.iterdir()}
        change(folder)
        for file, before in times.items():
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    return changed


def replace_by_copy(folder: Path) -> None:
    shutil.copy2(folder / WEIGHTS, folder / "new")
    os.replace(folder / "new", folder / WEIGHTS)


def split(folder: Path, *, whole: bool = True) -> None:
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    (folder / WEIGHTS).rename(folder / first)
    if whole:
        shutil.copy(folder / first, folder / second)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"one": first, "two": second}}))


CHANGES: dict[str, Change] = {
    "weights are written anew in place": lambda folder: write(folder / WEIGHTS, b"\1", -1 % 10_000 + 50_000),
    "the first weights are, and times set back": keep_times(
        lambda folder: write(folder / WEIGHTS, b"\1" * 64, (folder / WEIGHTS).read_bytes().index(b"}}") + 64)
    ),
    "a file takes the place of the same": keep_times(replace_by_copy),
    "a file is touched": lambda folder: os.utime(folder / WEIGHTS, ns=(1, 1)),
    "the template is another": lambda folder: (folder / "chat_template.jinja").write_text("{{ messages }}"),
    "the tokenizer goes": lambda folder: (folder / "tokenizer.json").unlink(),
    "a file of the tokenizer comes": lambda folder: (folder / "vocab.txt").write_text("one\ntwo\n"),
    "the weights are split": split,
}


@pytest.mark.parametrize("case", CHANGES)
def test_it_is_another_one_when(case: str, folder: Path) -> None:
    before = fingerprint(folder)
    assert before is not None
    assert fingerprint(folder) == before
    CHANGES[case](folder)
    assert fingerprint(folder) not in (None, before)


def test_it_is_the_same_for_what_no_answer_depends_on(folder: Path) -> None:
    before = fingerprint(folder)
    (folder / "README.md").write_text("# Model")
    (folder / "optimizer.pt").write_bytes(b"0" * 100)
    (folder / "runs").mkdir()
    assert fingerprint(folder) == before


def test_a_link_that_leads_elsewhere_changes_it(folder: Path) -> None:
    other = shutil.copytree(folder, folder.parent / "step-200")
    link = folder.parent / "latest"
    link.symlink_to(folder)
    first = fingerprint(link)
    assert first == fingerprint(folder)
    link.unlink()
    link.symlink_to(other)
    assert fingerprint(link) == fingerprint(other) != first


def cut_off(folder: Path) -> None:
    os.truncate(folder / WEIGHTS, (folder / WEIGHTS).stat().st_size - 1)


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def half_an_index(folder: Path) -> None:
    split(folder)
    (folder / INDEX).write_text('{"weight_map": {')


PARTS: dict[str, Change] = {
    "nothing is there": shutil.rmtree,
    "the folder is empty": empty,
    "there are no weights yet": lambda folder: (folder / WEIGHTS).unlink(),
    "the weights are cut off": cut_off,
    "the weights are longer than they say": lambda folder: (folder / WEIGHTS).write_bytes(
        (folder / WEIGHTS).read_bytes() + b"more"
    ),
    "only the length of the header is there": lambda folder: os.truncate(folder / WEIGHTS, 8),
    "the weights are something else": lambda folder: (folder / WEIGHTS).write_text(
        "<html>404 Not Found</html>"
    ),
    "the header is no JSON": lambda folder: write(folder / WEIGHTS, b"[", 8),
    "the configuration is half written": lambda folder: (folder / "config.json").write_text('{"a": '),
    "the configuration is a list": lambda folder: (folder / "config.json").write_text("[]"),
    "there is no configuration": lambda folder: (folder / "config.json").unlink(),
    "a file that the index names is missing": lambda folder: split(folder, whole=False),
    "the index is half written": half_an_index,
}


@pytest.mark.parametrize("case", PARTS)
def test_there_is_none_while(case: str, folder: Path) -> None:
    PARTS[case](folder)
    assert fingerprint(folder) is None


def test_a_file_that_grows_has_none_until_it_is_whole(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    for size in (0, 4, 8, 100, len(content) // 2, len(content) - 1):
        (folder / WEIGHTS).write_bytes(content[:size])
        assert fingerprint(folder) is None, size
    (folder / WEIGHTS).write_bytes(content)
    assert fingerprint(folder) is not None


def test_a_file_that_goes_while_it_is_looked_at_is_no_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = os.listdir(folder)
    monkeypatch.setattr(os, "listdir", lambda place: [*names, "ghost.json"])
    assert fingerprint(folder) is None


@pytest.mark.parametrize(
    "change", [replace_by_copy, lambda folder: (folder / "adapter_config.json").write_text("{}")]
)
def test_an_adapter_has_one_too(adapter: Path, change: Change) -> None:
    before = fingerprint(adapter)
    assert before is not None
    if change is replace_by_copy:
        shutil.copy2(adapter / "adapter_model.safetensors", adapter / WEIGHTS)
    change(adapter)
    assert fingerprint(adapter) not in (None, before)
    (adapter / "adapter_model.safetensors").unlink()
    assert fingerprint(adapter) is None


def test_a_gguf_file_has_one_that_nothing_beside_it_changes(tmp_path: Path) -> None:
    file = write_adapter(tmp_path / "model.gguf", strength=1.0)
    before = fingerprint(tmp_path, file.name)
    assert before is not None
    (tmp_path / "config.json").write_text("{}")
    assert fingerprint(tmp_path, file.name) == before
    write(file, b"\1", file.stat().st_size - 1)
    assert fingerprint(tmp_path, file.name) not in (None, before)
    os.truncate(file, file.stat().st_size - 100)
    assert fingerprint(tmp_path, file.name) is None


def test_the_weights_are_not_read(folder: Path) -> None:
    size = 1 << 40
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    (folder / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header)
    try:
        os.truncate(folder / WEIGHTS, 8 + len(header) + size)  # a hole, which takes no room on the disk
    except OSError:
        pytest.skip("this file system has no files of that size")
    assert fingerprint(folder) is not None


def test_torch_is_not_needed() -> None:
    code = f"import sys, {module.__name__}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("name", [".tmpSt6Ve3", "model.safetensors.tmp", "model.safetensors.part"])
def test_a_saver_is_at_work_while_a_file_has_a_passing_name_and_was_written_to_just_now(
    folder: Path, name: str
) -> None:
    assert not is_being_written(folder)
    passing = folder / name
    passing.write_bytes(b"")
    assert is_being_written(folder)
    long_ago = passing.stat().st_mtime - 60
    os.utime(passing, (long_ago, long_ago))
    assert not is_being_written(folder), "it was left behind"
    assert not is_being_written(folder / "nowhere")
