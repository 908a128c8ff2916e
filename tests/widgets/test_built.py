"""A panel's script and stylesheet are read as they are now; where none are, the error says what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from farm_notebook.errors import ConfigError
from farm_notebook.widgets.built import built


def test_a_panel_that_is_not_built_names_the_command_that_builds_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'chat' cannot be shown.*`make widgets`"):
        built("chat", folder=tmp_path)


def test_a_panel_that_was_built_anew_is_read_anew(tmp_path: Path) -> None:
    script, stylesheet = tmp_path / "chat.js", tmp_path / "chat.css"
    stylesheet.write_text("p {}")
    for number, text in enumerate(["one", "two"]):
        script.write_text(text)
        os.utime(script, (number, number))
        assert built("chat", folder=tmp_path) == (text, "p {}")


def test_the_loader_has_no_stylesheet(tmp_path: Path) -> None:
    (tmp_path / "loader.js").write_text("one")
    assert built("loader", folder=tmp_path) == ("one", "")
