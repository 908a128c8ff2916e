"""One entry is put into a file that a person wrote; every other line stays."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook.config.editing import save_entry, with_entry
from farm_notebook.errors import ConfigError

FILE = """# mine
model = "fast"  # the quick one

[aliases]  # names
slow = "openai:gpt-4o"
"fast" = "ollama:old"  # was it

[cache]
ttl_s = 60
"""


def test_an_entry_takes_the_place_of_its_own_line_alone() -> None:
    changed = with_entry(FILE, "aliases", "fast", "ollama:new")
    assert changed == FILE.replace('"fast" = "ollama:old"  # was it', 'fast = "ollama:new"')


def test_a_new_entry_stands_below_its_table() -> None:
    changed = with_entry(FILE, "aliases", "new", {"model": "a:b", "parameters": {"temperature": 0.2}})
    added = 'new = { model = "a:b", parameters = { temperature = 0.2 } }\n'
    assert changed == FILE.replace("[aliases]  # names\n", f"[aliases]  # names\n{added}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", '[aliases]\nx = "y"\n'),
        ('model = "a"', 'model = "a"\n\n[aliases]\nx = "y"\n'),
        ('model = "a"\r\n', 'model = "a"\r\n\r\n[aliases]\r\nx = "y"\r\n'),
        ("[cache]\nttl_s = 1\n", '[cache]\nttl_s = 1\n\n[aliases]\nx = "y"\n'),
    ],
)
def test_a_table_that_is_not_there_is_added_at_the_end(text: str, expected: str) -> None:
    assert with_entry(text, "aliases", "x", "y") == expected


@pytest.mark.parametrize(
    "text",
    [
        'aliases = { x = "old" }\n',
        'aliases.x = "old"\n',
        '[aliases.x]\nmodel = "old"\n',
        '[aliases]\nx = """\nold\n"""\n',
        '[aliases]\nx = { model = "old", fallback = [\n"a"] }\n',
        'text = """\n[aliases]\n"""\n',
    ],
)
def test_what_takes_more_than_a_line_is_left_alone(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - TOML's own errors are some, too
        with_entry(text, "aliases", "x", "y")


@given(
    st.dictionaries(st.from_regex(r"[A-Za-z_][\w.-]{0,5}", fullmatch=True), st.text(max_size=5), max_size=4),
    st.from_regex(r"[A-Za-z_][\w.-]{0,5}", fullmatch=True),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
)
def test_what_was_written_is_read_again(others: dict[str, str], key: str, value: str) -> None:
    text = ""
    for name, other in others.items():
        text = with_entry(text, "aliases", name, other)
    found = tomllib.loads(with_entry(text, "aliases", key, value))
    assert found == {"aliases": {**others, key: value}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    return made


def test_the_projects_file_is_written_or_made(folder: Path) -> None:
    nested = folder / "nested"
    nested.mkdir()
    assert save_entry(folder, "aliases", "x", "y") == folder / "farm.toml"
    assert save_entry(nested, "aliases", "z", "y") == folder / "farm.toml"
    assert tomllib.loads((folder / "farm.toml").read_text()) == {"aliases": {"x": "y", "z": "y"}}
    assert {path.name for path in folder.iterdir()} == {"nested", "farm.toml"}


def test_a_pyproject_with_our_table_is_the_projects_file(folder: Path) -> None:
    path = folder / "pyproject.toml"
    path.write_text("[project]\nname = 'x'\n\n[tool.farm]\nmodel = 'auto'\n")
    path.chmod(0o600)
    assert save_entry(folder, "aliases", "x", "y") == path
    assert path.read_text().endswith('\n[tool.farm.aliases]\nx = "y"\n')
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_changed_by_a_line_stays_and_tells_the_line(folder: Path) -> None:
    path = folder / "farm.toml"
    path.write_text('aliases = { x = "old" }\n')
    with pytest.raises(ConfigError, match=r'Put it in yourself: x = "y", in the table \[aliases\]'):
        save_entry(folder, "aliases", "x", "y")
    assert path.read_text() == 'aliases = { x = "old" }\n'


def test_a_file_that_cannot_be_written_stays_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError("no")

    path = folder / "farm.toml"
    path.write_text(FILE)
    monkeypatch.setattr("os.replace", refused)
    with pytest.raises(PermissionError):
        save_entry(folder, "aliases", "x", "y")
    assert path.read_text() == FILE
    assert [each.name for each in folder.iterdir()] == ["farm.toml"]
