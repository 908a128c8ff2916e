"""Repositories come from the hub over real HTTP, into a cache of the test's own.

huggingface_hub reads its variables when it is imported, so each test asks in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="the extra huggingface is not installed")

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

pytestmark = pytest.mark.slow

REPOSITORY = "farm/tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_thisisasecretandmustnotbeshown"
CHILD = """
import asyncio, json, sys
from contextlib import aclosing
from farm_notebook.config import load_config
from farm_notebook.errors import FarmError
from farm_notebook.providers.huggingface.provider import HuggingFaceProvider
from farm_notebook.types import ChatMessage, ChatRequest, ModelRef

async def main(calls, settings):
    provider = HuggingFaceProvider(load_config(settings))
    said = []
    for call in calls:
        try:
            if call == "list":
                for i in await provider.list_models():
                    said.append([i.ref.model, i.digest, i.license, i.available, i.context_tokens])
                said.append("that is all")
            elif call == "chat":
                messages = (ChatMessage("user", "What is the capital of Japan?"),)
                reply = await provider.chat(ChatRequest(ModelRef("huggingface", "farm/tiny"), messages))
                said.append(reply.text)
            elif call == "digest":
                said.append(await provider.digest("farm/tiny"))
            else:
                steps = getattr(provider, call)("farm/tiny")
                said.append([[s.stage, s.completed_bytes, s.total_bytes] async for s in steps])
        except FarmError as error:
            said.append([type(error).__name__, str(error)])
    await provider.aclose()
    print(json.dumps(said))

asyncio.run(main(*json.loads(sys.argv[1])))
"""


class Hub:
    """A server with one repository, as far as ``snapshot_download`` looks."""

    def __init__(self, server: HTTPServer, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[tuple[str, str | None]] = []
        info = {"id": REPOSITORY, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
        tree = [
            {"type": "file", "path": name, "size": len(body), "oid": self._etag(body)}
            for name, body in files.items()
        ]
        api = f"/api/models/{REPOSITORY}"
        server.expect_request(f"{api}/revision/main").respond_with_handler(self._answer(json.dumps(info)))
        server.expect_request(f"{api}/tree/{COMMIT}").respond_with_handler(self._answer(json.dumps(tree)))
        for name, body in files.items():
            path = f"/{REPOSITORY}/resolve/{COMMIT}/{name}"
            server.expect_request(path).respond_with_handler(self._answer(body))

    def _answer(self, body: bytes | str) -> Any:
        data = body.encode() if isinstance(body, str) else body

        def handler(request: Request) -> Response:
            self.asked.append((request.path, request.headers.get("Authorization")))
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{self._etag(data)}"'}
            kind = "application/json" if isinstance(body, str) else "application/octet-stream"
            return Response(data, headers=headers, content_type=kind)

        return handler

    @staticmethod
    def _etag(data: bytes) -> str:
        return hashlib.sha1(data).hexdigest()


@pytest.fixture
def files(tiny_model: Path) -> dict[str, bytes]:
    """The tiny model, and what lies in repositories beside one."""
    card = b"---\nlicense: apache-2.0\n---\n# Tiny\n"
    beside = {
        "README.md": card,
        "pytorch_model.bin": b"pickle",
        "onnx/model.safetensors": b"another",
        "run.py": b"",
    }
    return {file.name: file.read_bytes() for file in tiny_model.iterdir()} | beside


@pytest.fixture
def variables(httpserver: HTTPServer, tmp_path: Path) -> dict[str, str]:
    """For the process that asks: the hub is the test's, and so is its cache."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    return kept | {
        "HF_ENDPOINT": httpserver.url_for("").rstrip("/"),
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_DISABLE_XET": "1",
        "OMP_NUM_THREADS": "1",
    }


def ask(variables: dict[str, str], *calls: str, **settings: Any) -> list[Any]:
    """What each call on a new provider gave: progress, a text, or an error's name and words."""
    program = [sys.executable, "-c", CHILD, json.dumps([calls, settings])]
    done = subprocess.run(program, env=variables, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert done.stderr == "", "nothing may appear in the user's cell"
    said: list[Any] = json.loads(done.stdout)
    return said


def test_a_repository_is_fetched_once_and_answers(
    httpserver: HTTPServer, files: dict[str, bytes], variables: dict[str, str]
) -> None:
    hub = Hub(httpserver, files)
    before, pulled, again, listed, end, text, digest = ask(
        variables, "list", "pull_model", "pull_model", "list", "chat", "digest"
    )
    assert (before, again, end) == ("that is all", [], "that is all")
    wanted = sum(map(len, files.values())) - len(b"pickle") - len(b"another")
    assert {stage for stage, _, _ in pulled} == {"fetch"}
    assert {total for _, _, total in pulled} == {wanted}
    done = [completed for _, completed, _ in pulled]
    assert done == sorted(done)
    assert done[-1] == wanted
    assert listed == [REPOSITORY, COMMIT, "apache-2.0", True, 65_536]
    assert text == "The capital of Japan is Tokyo."
    assert digest == COMMIT
    fetched = {path.rpartition(f"{COMMIT}/")[2] for path, _ in hub.asked if "/resolve/" in path}
    assert fetched == files.keys() - {"pytorch_model.bin", "onnx/model.safetensors", "run.py"}
    # What is here is used without the hub being asked, also by the next process.
    httpserver.clear()
    loaded, text = ask(variables, "load_model", "chat")
    assert loaded[-1][1] == loaded[-1][2] == len(files["model.safetensors"])
    assert text == "The capital of Japan is Tokyo."
    assert httpserver.log == []


def test_a_load_fetches_first(
    httpserver: HTTPServer, files: dict[str, bytes], variables: dict[str, str]
) -> None:
    Hub(httpserver, files)
    (steps,) = ask(variables, "load_model")
    stages = [stage for stage, _, _ in steps]
    assert stages == sorted(stages)
    assert set(stages) == {"fetch", "load"}


@pytest.mark.parametrize("variable", ["HF_TOKEN", "HUGGINGFACE_TOKEN"])
def test_the_token_is_sent_and_never_shown(
    variable: str, httpserver: HTTPServer, files: dict[str, bytes], variables: dict[str, str]
) -> None:
    hub = Hub(httpserver, files)
    ask(variables | {variable: TOKEN}, "pull_model")
    assert {token for _, token in hub.asked} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("status", "code", "error", "words"),
    [
        (404, "RepoNotFound", "ModelNotFoundError", "no repository 'farm/tiny'"),
        (401, "RepoNotFound", "ModelNotFoundError", "HF_TOKEN"),
        (403, "GatedRepo", "AuthenticationError", "accepted its licence"),
        (404, "RevisionNotFound", "ModelNotFoundError", "'farm/tiny', but not"),
        (500, "", "FetchError", "500"),
    ],
)
def test_what_the_hub_refuses_is_told_in_our_words(
    status: int, code: str, error: str, words: str, httpserver: HTTPServer, variables: dict[str, str]
) -> None:
    headers = {"X-Error-Code": code, "X-Error-Message": f"no, not with {TOKEN}"} if code else {}
    revision = "v9" if code == "RevisionNotFound" else None
    path = f"/api/models/{REPOSITORY}/revision/{revision or 'main'}"
    httpserver.expect_request(path).respond_with_data("no", status=status, headers=headers)
    ((name, message),) = ask(
        variables | {"HF_TOKEN": TOKEN}, "pull_model", huggingface={"revision": revision}
    )
    assert name == error
    assert words in message


def test_a_hub_that_is_not_there_is_named(httpserver: HTTPServer, variables: dict[str, str]) -> None:
    variables |= {"HF_ENDPOINT": "http://127.0.0.1:1"}
    ((name, message),) = ask(variables, "pull_model")
    assert name == "FetchError"
    assert "'farm/tiny' could not be fetched from http://127.0.0.1:1" in message


@pytest.mark.parametrize("how", ["FARM_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_the_hub_is_not_asked(how: str, httpserver: HTTPServer, variables: dict[str, str]) -> None:
    results = ask(variables | {how: "1"}, "pull_model", "chat", "list")
    assert [result[0] for result in results[:2]] == ["ModelNotFoundError"] * 2
    assert how in results[0][1]
    assert results[2] == "that is all"
    assert httpserver.log == []
