"""The commented file is made from the sections, loads, and says what the defaults are."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from farm_notebook.config import FarmConfig, load_config
from farm_notebook.config.providers import LlamaCppConfig
from farm_notebook.config.template import EXAMPLES, FOUND, describe, summary, template
from farm_notebook.config.toml import as_document, as_toml
from farm_notebook.config.values import Section


def test_the_file_as_it_is_written_sets_nothing() -> None:
    Path("farm.toml").write_text(template(), "utf-8")
    assert load_config() == FarmConfig()


def test_every_line_of_it_switched_on_is_the_default() -> None:
    examples = {line for example in EXAMPLES.values() for line in example.splitlines()}
    lines = [line.removeprefix("# ") for line in template().splitlines() if not line.startswith("##")]
    Path("farm.toml").write_text("\n".join(line for line in lines if line not in examples), "utf-8")
    assert len(lines) > 80
    assert load_config() == FarmConfig()
    assert tomllib.loads(Path("farm.toml").read_text("utf-8"))["cache"]["ttl_s"] == 3600


def test_nothing_in_it_is_of_the_machine_it_was_written_on(monkeypatch: pytest.MonkeyPatch) -> None:
    text = template()
    assert str(FarmConfig().cache_dir) not in text
    monkeypatch.setenv("XDG_CACHE_HOME", "/another/home")
    assert template() == text
    assert "The default is the user's cache folder." in " ".join(text.replace("##", " ").split())


def test_a_default_that_is_found_on_each_machine_is_told_in_words() -> None:
    sections: dict[str, type[Section]] = {"": FarmConfig, "llamacpp.": LlamaCppConfig}
    found = {
        prefix + name
        for prefix, section in sections.items()
        for name, field in section.model_fields.items()
        if field.default_factory is not None
        and not isinstance(field.get_default(call_default_factory=True), dict)
    }
    assert found == FOUND.keys()
    assert found <= EXAMPLES.keys()


def test_every_example_in_it_is_valid_and_sets_something() -> None:
    Path("farm.toml").write_text(re.sub(r"^# ", "", template(), flags=re.MULTILINE), "utf-8")
    config = load_config()
    assert config.aliases["careful"].fallback == ("fast",)
    assert config.limits.per["openai"].requests_per_minute == 60
    assert config.routing.keys() == {"development", "production"}
    assert config.prices
    assert config.endpoints["groq"].api_key_env == "GROQ_API_KEY"


def settings(section: type[BaseModel]) -> Iterator[tuple[Any, str]]:
    for name, field in section.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            yield from settings(type(default))
        else:
            yield section, name


@pytest.mark.parametrize(("section", "name"), [*settings(FarmConfig)], ids=str)
def test_every_setting_is_described_in_it(section: Any, name: str) -> None:
    text = describe(section, name)
    assert text
    words = " ".join(template().replace("##", " ").split())
    assert " ".join(re.sub(r"\bNone\b", "none", text).split()) in words


def test_a_section_is_summed_up_by_what_stands_before_its_arguments() -> None:
    assert summary(type(FarmConfig().cache)).startswith("Answers that are kept, and given again")
    assert "Args" not in template()


VALUES = st.recursive(
    st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(values=st.dictionaries(st.text(), VALUES, max_size=4))
def test_what_is_written_as_toml_is_read_back_the_same(values: dict[str, Any]) -> None:
    assert tomllib.loads(f"x = {as_toml(values)}") == {"x": values}
    assert without_empty(tomllib.loads(as_document(values))) == without_empty(values)


def without_empty(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kept = {key: without_empty(inner) for key, inner in value.items()}
    return {key: inner for key, inner in kept.items() if inner != {}}


def test_what_has_no_toml_is_refused() -> None:
    assert as_toml(None) == '"none"'
    assert as_toml({Path("a")}) == '["a"]'
    with pytest.raises(TypeError, match="has no TOML"):
        as_toml(object())
