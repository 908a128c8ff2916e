"""What is offered where the cursor is on a line of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pandas as pd  # type: ignore[import-untyped]
import pytest
from IPython.core.completer import CompletionContext

import farm_notebook.farm
import farm_notebook.threads
from farm_notebook.farm import Farm
from farm_notebook.notebook.commands import COMMANDS
from farm_notebook.notebook.completion import Completer
from farm_notebook.notebook.known import KnownModels
from farm_notebook.reply import Reply
from farm_notebook.threads import Threads
from farm_notebook.types import ChatMessage


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> KnownModels:
    """Two models that were met, an alias, a default model, and nobody who may be asked."""
    farm = Farm(model="scripted:echo", aliases={"fast": "scripted:count-2"})
    monkeypatch.setattr(farm_notebook.farm.blocking, "_default", farm)

    def asked(_: Farm) -> None:
        raise AssertionError("nobody is asked while completing")

    monkeypatch.setattr(Farm, "list_models", asked)
    made = KnownModels()
    made.add(["ollama:llama3.2:1b", "ollama:qwen3"])
    return made


FILES = ["notes.md", "two words.md"]
NAMESPACE = {"city": "Paris", "names": ["a"], "_hidden": 1, "df": pd.DataFrame({"text": ["a"], "stars": [1]})}
NAMESPACE["wide"] = pd.DataFrame({"a review": ["a"]})


def offered(known: KnownModels, cell: str) -> dict[str, Any]:
    """The matcher's answer with the cursor at ``|``, else at the end."""
    text = cell.replace("|", "")
    before = text[: cell.index("|") if "|" in cell else len(text)]
    context = CompletionContext(
        token="",
        full_text=text,
        cursor_position=len(before) - before.rfind("\n") - 1,
        cursor_line=before.count("\n"),
        limit=None,
    )
    return dict(Completer(known, lambda: NAMESPACE).match(context))


def completed(known: KnownModels, cell: str) -> list[str]:
    return [each.text for each in offered(known, cell)["completions"]]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("%farm cac", ["cache"]),
        ("u = %farm us", ["usage"]),
        ("x = 1\n%farm cac", ["cache"]),
        ("%farm cac|he", ["cache"]),
        ("%farm cache ", ["stats", "clear", "on", "off"]),
        ("%farm cache o", ["on", "off"]),
        ("%farm cache on ", []),
        ("%farm config r", ["reload"]),
        ("%farm help he", ["help", "health"]),
        ("%farm usage --", ["--by", "--since", "--plot", "--help"]),
        ("%farm usage --by ", ["model", "day", "provider", "notebook"]),
        ("%farm usage --by=d", ["--by=day"]),
        ("%farm load ollama:", ["ollama:llama3.2:1b", "ollama:qwen3"]),
        ("%farm load ollama:llama3.2:", ["ollama:llama3.2:1b"]),
        ("%farm unload qw", ["ollama:qwen3"]),
        ("%farm unload al", ["all"]),
        ("%farm unwatch al", ["all"]),
        ("%farm reload ollama:q", ["ollama:qwen3"]),
        ("%farm watch ollama:q", ["ollama:qwen3"]),
        ("%farm swap ollama:q", ["ollama:qwen3"]),
        ("%farm swap ollama:qwen3 fa", ["fast"]),
        ("%farm swap ollama:qwen3 fast ", []),
        ("%farm load fast --dtype b", ["bfloat16"]),
        ("%farm load fast --p", ["--pin"]),
        ("%farm loaded --", ["--events", "--help"]),
        ("%farm model fa", ["fast"]),
        ("%farm route fa", ["fast"]),
        ("%farm history -m fa", ["fast"]),
        ("%farm history fa", []),
        ("%farm load fast ", []),
        ("%%farm_chat -m ollama:q", ["ollama:qwen3"]),
        ("%farm_chat -m fa", ["fast"]),
        ("%farm_chat --model=fa", ["--model=fast"]),
        ("%%farm_chat -t 0 --mo", ["--model", "--model-parameters"]),
        ("%%farm_chat -f m", ["markdown", "math"]),
        ("%%farm_chat -f m|\nHi", ["markdown", "math"]),
        ("%farm_chat -m fast --dr", ["--dry-run"]),
        ("%%farm_chat fa|\nHi", ["fast"]),
        ("%%farm_chat -f code fa|\nHi", ["fast"]),
        ("%%farm_code fa|\nHi", ["fast"]),
        ("%%farm_compare fast,fa|\nHi", ["fast,fast"]),
        ("%%farm_code fast fa|\nHi", []),
        ("%%farm_chat fast -f m|\nHi", ["markdown", "math"]),
        ("%%farm_chat fast --dr|\nHi", ["--dry-run"]),
        ("%%farm_chat fast fa|\nHi", []),
        ("%%farm_chat -f fa|\nHi", []),
        ("%%farm_compare -m fast -m ollama:q|\nHi", ["ollama:qwen3"]),
        ("%%farm_compare -m fast,ollama:q|\nHi", ["fast,ollama:qwen3"]),
        ("%%farm_compare fast ollama:q|\nHi", ["ollama:qwen3"]),
        ("%%farm_code -m fa|\nHi", ["fast"]),
        ("%farm panel g", ["gpu"]),
        ("%farm alias fa", ["fast"]),
        ("%farm alias fast ollama:q", ["ollama:qwen3"]),
        ("%farm help farm_ch", ["farm_chat"]),
    ],
)
def test_what_may_follow_is_completed(known: KnownModels, cell: str, expected: list[str]) -> None:
    assert completed(known, cell) == expected


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("%%farm_chat\nTell me of {ci", ["city"]),
        ("%%farm_chat -m fast\nFirst line.\nTell me of {ci|} and more", ["city"]),
        ("\n%%farm_chat\n{", ["city", "df", "names", "wide"]),
        ("%%farm_chat\nA list: {names.app", ["names.append"]),
        ("%farm_chat Where is {ci", ["city"]),
        ("%%farm_chat -s {ci|\nHi", ["city"]),
        ("%farm history {ci", ["city"]),
        ("%%farm_chat --out |\nHi", ["city", "df", "names", "wide"]),
        ("%%farm_chat --out n|\nHi", ["names"]),
        ("%%farm_chat -c d|\nHi", ["df"]),
        ("%%farm_code --context n|\nHi", ["names"]),
        ("%farm fix -c d", ["df"]),
        ("%farm embed ", ["df", "names", "wide", "notes.md", '"two words.md"']),
        ("%farm embed d", ["df"]),
        ("%farm embed names --out n", ["names"]),
        ("%farm embed df --column s", ["stars"]),
        ("%farm similar 'what?' --in d", ["df"]),
        ("%farm similar what --in=d", ["--in=df"]),
        ("%farm similar what --in df --column ", ["text", "stars"]),
        ("%farm similar what --in=df --column=t", ["--column=text"]),
        ("%farm similar --column t", []),
        ("%farm similar what --in names --column t", []),
        ("%farm embed wide --column ", ['"a review"']),
        ("%farm embed wide --column a", ['"a review"']),
        ('%farm embed wide --column "a', ['"a review"']),
        ("%%farm_chat --file t|\nHi", ['"two words.md"']),
        ("%%farm_chat --file no|\nHi", ["notes.md"]),
        ("%%farm_chat --image |\nHi", ["cat.png"]),
    ],
)
def test_variables_and_files_are_completed_where_they_are_wanted(
    known: KnownModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str, expected: list[str]
) -> None:
    for name in ("cat.png", *FILES):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert completed(known, cell) == expected


def test_threads_are_those_in_which_something_was_said(
    known: KnownModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = Threads()
    threads.add("side", ChatMessage("user", "Hi"), cast(Reply, None))
    monkeypatch.setattr(farm_notebook.threads, "_default", threads)
    assert completed(known, "%%farm_chat --thread s|\nHi") == ["side"]


@pytest.mark.parametrize(
    ("cell", "fragment"),
    [
        ("%%farm_chat\nTell me of {ci", "ci"),
        ("%%farm_chat\nTell me of {names.app", "names.app"),
        ("%farm ca", "ca"),
        ("%farm load ollama:ll", "ollama:ll"),
        ("%farm ", ""),
        ("%farm usage --by=d", "--by=d"),
    ],
)
def test_what_is_typed_so_far_is_replaced_whole(known: KnownModels, cell: str, fragment: str) -> None:
    assert offered(known, cell)["matched_fragment"] == fragment


def test_every_subcommand_is_offered(known: KnownModels) -> None:
    assert completed(known, "%farm ") == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_subcommand_can_be_completed_further(known: KnownModels, name: str) -> None:
    assert "--help" in completed(known, f"%farm {name} -")


def test_devices_are_offered_where_a_model_may_be_put(known: KnownModels) -> None:
    offered_devices = completed(known, "%farm load fast --device ")
    assert offered_devices[0] == "auto"
    assert "cpu" in offered_devices
    assert completed(known, "%farm load fast --device=cp") == ["--device=cpu"]


def test_models_of_the_settings_come_first(known: KnownModels) -> None:
    names = completed(known, "%farm load ")
    assert names[:2] == ["fast", "scripted:echo"]
    assert names[-2:] == ["ollama:llama3.2:1b", "ollama:qwen3"]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "cell",
    [
        *("%farm_chat What is a ca", "%farm_chat -m fast ", "%%farm_chat\nfarm ca"),
        *("%%farm_chat\nci", "%%farm_chat\n{city}", "%%farm_chat\n{{ci", "%%farm_chat\n{nothing.of"),
        *("x = 1\nf'{ci", "%%html\n{ci", "%%farm_chats\n{ci", '%%farm_chat\nHi {"ci'),
        *("farm ca", "x = '%farmer ca", "%farm"),
    ],
)
def test_a_prompt_and_other_code_is_left_to_ipython(known: KnownModels, cell: str) -> None:
    assert completed(known, cell) == []


def test_wrong_settings_do_not_break_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_RETRY__ATTEMPTS", "none")
    monkeypatch.setattr(farm_notebook.farm.blocking, "_default", None)
    known = KnownModels()
    known.add(["met:before"])
    assert completed(known, "%farm load ") == ["met:before"]


PROGRAM = """
import sys
from IPython.core.completer import CompletionContext
from farm_notebook.notebook.completion import Completer
from farm_notebook.notebook.known import KnownModels
for line in ("%farm ca", "%farm cache s", "%farm usage --", "%farm history --", "%%farm_chat -f m"):
    found = Completer(KnownModels()).match(CompletionContext("", line, len(line), 0, None))
    assert found["completions"], line
print(*{name.partition(".")[0] for name in sys.modules})
"""


@pytest.mark.slow
def test_the_core_is_loaded_only_for_names_of_models() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "farm_notebook" in loaded
    assert not loaded & {"pydantic", "httpx2", "rich", "markdown_it"}
