"""What a page's blocks are run in: a home of their own, a shell, and servers for the models that pages name.

The servers are on loopback. Nothing beyond this machine is reached: the way there is a proxy that is none.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import ollama_mind
import openai_double
import pytest
from ollama_double import OllamaDouble
from pytest_httpserver import HTTPServer
from shells import Shell
from werkzeug import Request, Response

from farm_notebook import providers
from farm_notebook.config import files
from farm_notebook.farm import Farm

__all__ = ["STAND_INS", "Stage", "hosts", "set_up"]

KEY = "..."  # what pages write in the place of a key
GPTS = ("gpt-4o", "gpt-4o-mini", "llama-3.3-70b-versatile", "text-embedding-3-small")
LLAMAS = {
    "llama3.2:latest": ("completion", "tools"),
    "llama3.2-vision:latest": ("completion", "vision"),
    "llava:latest": ("completion", "vision"),
    "nomic-embed-text:latest": ("embedding",),
    "qwen3:latest": ("completion", "tools", "thinking"),
}
STAND_INS = ("docker", "farm", "jupyter", "make", "pass", "pip", "pre-commit", "pytest", "python")
NOWHERE = "http://127.0.0.1:9"  # the port "discard", at which nobody listens
OURS = ("FARM_", "AI_", "OLLAMA_", "OPENAI_", "HF_", "HUGGINGFACE_", "PYTEST_")


@contextmanager
def hosts(folder: Path) -> Iterator[dict[str, str]]:
    """An Ollama and an OpenAI that have the models of the pages; the variables that lead to them.

    Args:
        folder: For Ollama's disk, and what stand-ins keep.
    """
    with pytest.MonkeyPatch.context() as patch, openai_double.running() as openai:
        patch.setattr(openai_double, "KEY", KEY)
        patch.setattr(openai_double, "MODELS", (*openai_double.MODELS, *GPTS))
        for name, capabilities in LLAMAS.items():
            patch.setitem(ollama_mind.REGISTRY, name, ollama_mind.Model(name, capabilities))
        with OllamaDouble(folder).running() as ollama:
            ollama.install(*LLAMAS)
            yield {
                "OLLAMA_HOST": ollama.url,
                "OPENAI_BASE_URL": openai.url,
                "OPENAI_API_KEY": KEY,
                "HELP_OF_PYTEST": str(folder / "help"),  # the stand-in of pytest keeps it: it takes seconds
            }


def set_up(folder: Path, models: Path, variables: dict[str, str], patch: pytest.MonkeyPatch) -> None:
    """Make a folder the home of somebody new, with the embedded model in the cache, and go there.

    Args:
        folder: An empty one.
        models: Where the embedded model is.
        variables: To be set besides.
        patch: Takes all of it back.
    """
    for name in [name for name in os.environ if name.startswith(OURS)]:
        patch.delenv(name)
    (folder / "cache").mkdir()
    (folder / "cache" / "models").symlink_to(models)
    programs = folder / "project" / ".venv" / "bin"
    programs.mkdir(parents=True)
    stand_in = f"{sys.executable} {Path(__file__).with_name('stand_in.py')}"
    for name in STAND_INS:
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {stand_in} {name} "$@"\n')
        program.chmod(0o755)
    paths = (str(programs), str(Path(sys.executable).parent), os.environ["PATH"])
    variables = variables | {
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / ".config"),
        "PATH": os.pathsep.join(paths),
        "PYTHONPATH": str(folder / "site"),  # where the stand-in of pip installs
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "COLUMNS": "100",
        "FARM_CACHE_DIR": str(folder / "cache"),
        "FARM_MODEL": "scripted:echo",
        "FARM_LLAMACPP__THREADS": "1",
        "FARM_LLAMACPP__CONTEXT_TOKENS": "2048",
        "FARM_LLAMACPP__MAX_TOKENS": "32",
        "FARM_HUGGINGFACE__DEVICE": "cpu",
        "FARM_HUGGINGFACE__MAX_TOKENS": "16",
        "NO_PROXY": "127.0.0.1,localhost",
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), NOWHERE),
    }
    for name, value in variables.items():
        patch.setenv(name, value)
    patch.chdir(folder / "project")
    patch.setattr(files, "_last_folder", None)
    patch.setattr(providers, "_registered", {})


class Stage:
    """The shell of a page, and ways to have in it what the page takes for granted.

    In a note ``before`` it is called ``stage``.

    Args:
        shell: With the extension loaded.
        gguf: A model's file.
        checkpoint: A model's folder.
        server: One that answers what it is told to.
    """

    def __init__(self, shell: Shell, gguf: Path, checkpoint: Path, server: HTTPServer) -> None:
        self.shell = shell
        shell.run("%xmode Minimal")
        self._gguf = gguf
        self._checkpoint = checkpoint
        self._server = server

    def prepare(self, code: str) -> None:
        """Run the code of a note ``before``."""
        self.shell.ip.user_ns["stage"] = self
        try:
            result, _ = self.shell.run(code)
            result.raise_error()
        finally:
            self.shell.ip.user_ns.pop("stage", None)

    def ggufs(self, *names: str) -> None:
        """Have files of a model here."""
        for name in names:
            Path(name).symlink_to(self._gguf)

    def checkpoints(self, *names: str) -> None:
        """Have folders of a model for transformers here."""
        for name in names:
            shutil.copytree(self._checkpoint, name)

    def notebook(self, name: str, *cells: str) -> None:
        """Have a notebook here that has not been run."""
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        made = [nbformat.v4.new_code_cell(cell) for cell in cells]
        nbformat.write(nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": kernel}), name)

    def server(self, path: str, answer: Callable[[Request], str]) -> str:
        """Have a server on loopback, and get its address."""
        self._server.expect_request(path).respond_with_handler(lambda request: Response(answer(request)))
        return self._server.url_for("").rstrip("/")

    def record(self, cassette: str, *prompts: str, **options: Any) -> None:
        """Have a cassette here of these questions."""
        own = Farm()
        own.use_cassette("record", cassette)
        for prompt in prompts:
            own.chat(prompt, **options)
        own.close()
