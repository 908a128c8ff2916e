"""Writes a ``farm.toml`` in which every setting stands with its default, and what it does, as a comment.

It is made from the sections and their docstrings, so that it says what they say.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from textwrap import fill
from typing import Any

from farm_notebook.config.settings import FarmConfig
from farm_notebook.config.toml import as_toml
from farm_notebook.config.values import NONE, Section

__all__ = ["describe", "summary", "template"]

WIDTH = 100
HEAD = """\
Settings of farm-notebook. A line without its first # sets what it says; what stands here is the default.
Variables are stronger than this file, as in FARM_CACHE__TTL_S=60; `farm config show` tells what holds and \
where it comes from. Nothing is written "none". Keys do not belong here: a setting names the variable that \
holds one, which may stand in a file .env, or in the system's keyring (`farm config set-key VARIABLE`)."""
# What has no default to show is shown by an example.
EXAMPLES: Mapping[str, str] = {
    "routing": 'development = "ollama:llama3.2"\nproduction = "openai:gpt-4o-mini"',
    "aliases": 'fast = "ollama:llama3.2"\n'
    'careful = { model = "openai:gpt-4o", fallback = ["fast"], parameters = { temperature = 0.0 } }',
    "prices": '"groq:llama-3.3-70b-versatile" = { input = 0.59, output = 0.79 }',
    "endpoints": 'groq = { base_url = "https://api.groq.com/openai/v1", api_key_env = "GROQ_API_KEY" }',
    "cache_dir": 'cache_dir = "/data/farm-notebook"',
    "llamacpp.threads": "threads = 4",
    "limits.per": 'per = { openai = { requests_per_minute = 60 }, "openai:gpt-4o" = { concurrency = 2 } }',
}
# Of these each machine has a default of its own; what it is here is nobody else's, and a file may be shared.
FOUND: Mapping[str, str] = {
    "cache_dir": "the user's cache folder",
    "llamacpp.threads": "all physical cores but one",
}


def template() -> str:
    """The file's text. It sets nothing; each line that is commented out is the default, or an example."""
    plain = {name: field for name, field in FarmConfig.model_fields.items() if not _is_table(_default(field))}
    tables = [name for name in FarmConfig.model_fields if name not in plain]
    lines = [_comment(HEAD), "", *_settings(FarmConfig, "", plain)]
    for name in tables:
        default = _default(FarmConfig.model_fields[name])
        if isinstance(default, Section):
            lines += [
                "",
                _comment(summary(type(default))),
                f"[{name}]",
                *_settings(type(default), f"{name}."),
            ]
        else:
            lines += ["", _comment(describe(FarmConfig, name)), f"[{name}]", _off(EXAMPLES[name])]
    return "\n".join(lines) + "\n"


def summary(section: type[Section]) -> str:
    """What a section is for: its docstring up to its arguments."""
    return _plain(inspect.getdoc(section) or "").partition("\n\nArgs:")[0].replace("\n", " ")


def describe(section: type[Section], name: str) -> str:
    """What a docstring says of a setting, of the section or of one that it extends; empty where none does."""
    for kind in section.__mro__:
        text = inspect.cleandoc(kind.__doc__ or "")
        found = re.search(rf"^    {name}: (.*(?:\n {{8}}.*)*)", text, re.MULTILINE)
        if found:
            return _plain(" ".join(line.strip() for line in found[1].splitlines()))
    return ""


def _settings(section: type[Section], prefix: str, fields: Mapping[str, Any] | None = None) -> Iterator[str]:
    for name, field in (fields or section.model_fields).items():
        if text := describe(section, name):
            found = FOUND.get(prefix + name)
            yield _comment(f"{text} The default is {found}." if found else text)
        yield _off(EXAMPLES.get(prefix + name) or f"{name} = {as_toml(_default(field))}")


def _default(field: Any) -> Any:
    return field.get_default(call_default_factory=True)


def _is_table(default: Any) -> bool:
    return isinstance(default, Section | Mapping)


def _comment(text: str) -> str:
    return fill(text, WIDTH, initial_indent="## ", subsequent_indent="## ", break_on_hyphens=False)


def _off(lines: str) -> str:
    return "\n".join(f"# {line}" for line in lines.splitlines())


def _plain(text: str) -> str:
    """A docstring's words as a user of TOML reads them."""
    return re.sub(r"\bNone\b", NONE, text.replace("``", ""))
