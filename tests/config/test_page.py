"""What docs/configuration.md shows can be copied, and it names every variable that sets something."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from farm_notebook.config import load_config
from farm_notebook.config.load import find_warnings
from farm_notebook.config.secrets import find_secret
from farm_notebook.config.variables import FOREIGN

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_farm_toml_of_the_page_is_valid() -> None:
    (text,) = blocks("toml")
    Path("farm.toml").write_text(text)
    config = load_config({"environment": "production"})
    assert config.routing["production"] == "careful"
    assert config.aliases["fast"].model == "ollama:llama3.2"
    assert config.aliases["careful"].parameters.max_tokens == 500
    assert len(config.aliases["big"].deployments) == 2
    assert config.timeouts.total_s is None


def test_the_dotenv_file_of_the_page_is_valid() -> None:
    (text,) = blocks("ini")
    Path(".env").write_text(text)
    config = load_config()
    assert config.ollama.url == "http://gpu-box:11434"
    assert config.fallback.chain == ("fast", "openai:gpt-4o-mini")
    assert find_secret("OPENAI_API_KEY", config) == "..."
    assert find_warnings() == []


@pytest.mark.parametrize("name", [name for names in FOREIGN.values() for name in names])
def test_every_variable_of_others_stands_on_the_page(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_every_command_of_the_page_exists() -> None:
    from farm_notebook.cli.config_app import config

    named = set(re.findall(r"(?<!%)farm config (\S+)", PAGE.replace("`", " ")))
    assert named == {command.name for command in config.registered_commands}


def test_the_page_has_a_row_for_each_setting_with_something_said_in_it() -> None:
    rows = re.findall(r"^\| `(FARM_\w+)` \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
    assert len(rows) > 80
    assert len({name for name, _, _ in rows}) == len(rows)
    assert all(default.strip() and said.strip() for _, default, said in rows)
